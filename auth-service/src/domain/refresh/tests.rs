use super::{
    super::{
        client::{Audience, ClientKind, ClientName},
        username::Username,
    },
    *,
};

const T0: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const POLICY: RefreshPolicy = RefreshPolicy {
    idle: Duration::from_secs(1_000),
    absolute: Duration::from_secs(10_000),
    grace: Duration::from_secs(10),
};
const MS: Duration = Duration::from_millis(1);

fn user() -> User {
    User {
        id: UserId::parse("usr_0123456789abcdefghjkmnpqrs").unwrap(),
        username: Username::parse("alice").unwrap(),
        status: Status::Active,
        must_change_password: false,
        epoch: 3,
        created_at: T0,
    }
}

fn client() -> Client {
    Client {
        id: ClientId::first_party(),
        name: ClientName::parse("first-party").unwrap(),
        status: Status::Active,
        audiences: vec![Audience::parse("latchkey").unwrap()],
        scopes: Scope::default(),
        kind: ClientKind::Public,
        epoch: 1,
        created_at: T0,
    }
}

fn standing() -> Standing {
    Standing {
        link: Link { digest: Digest::from_bytes([1; 32]), expires_at: T0 + POLICY.idle, use_: Use::Unspent },
        family: Family {
            id: FamilyId::parse("fam_0123456789abcdefghjkmnpqrs").unwrap(),
            subject: user().id,
            client: client().id,
            epochs: Epochs { subject: 3, client: 1 },
            scope: Scope::default(),
            audience: "latchkey".into(),
            amr: vec!["pwd".into()],
            created_at: T0,
            expires_at: T0 + POLICY.absolute,
            ended: false,
        },
        user: Some(user()),
        client: Some(client()),
    }
}

#[test]
fn judge() {
    use Death::*;
    use Verdict::*;
    let spent = |at: OffsetDateTime| {
        move |s: &mut Standing| s.link.use_ = Use::Spent { at, successor: Some(b"sealed".to_vec()) }
    };
    type Change = Box<dyn Fn(&mut Standing)>;
    let cases: Vec<(&str, Change, OffsetDateTime, Verdict)> = vec![
        ("fresh", Box::new(|_| {}), T0, Rotate),
        ("just before idle", Box::new(|_| {}), T0 + POLICY.idle - MS, Rotate),
        ("idle", Box::new(|_| {}), T0 + POLICY.idle, Dead(Idle)),
        (
            "absolute",
            Box::new(|s| s.link.expires_at = T0 + POLICY.absolute * 2),
            T0 + POLICY.absolute,
            Dead(Expired),
        ),
        ("ended", Box::new(|s| s.family.ended = true), T0, Dead(Ended)),
        ("user gone", Box::new(|s| s.user = None), T0, Dead(Subject)),
        (
            "user disabled",
            Box::new(|s| s.user.as_mut().unwrap().status = Status::Disabled),
            T0,
            Dead(Subject),
        ),
        ("password changed", Box::new(|s| s.user.as_mut().unwrap().epoch = 4), T0, Dead(Subject)),
        ("client gone", Box::new(|s| s.client = None), T0, Dead(Client)),
        ("client raised", Box::new(|s| s.client.as_mut().unwrap().epoch = 2), T0, Dead(Client)),
        (
            "spent, in the window",
            Box::new(spent(T0)),
            T0 + POLICY.grace - MS,
            Repeat { successor: b"sealed".to_vec() },
        ),
        ("spent, window closed", Box::new(spent(T0)), T0 + POLICY.grace, Theft),
        ("spent, wiped", Box::new(|s| s.link.use_ = Use::Spent { at: T0, successor: None }), T0 + MS, Theft),
        (
            "spent, clock went back",
            Box::new(spent(T0 + POLICY.idle)),
            T0,
            Repeat { successor: b"sealed".to_vec() },
        ),
        (
            "spent, family ended",
            Box::new(move |s| {
                spent(T0)(s);
                s.family.ended = true;
            }),
            T0,
            Dead(Ended),
        ),
    ];
    for (name, change, now, verdict) in cases {
        let mut standing = standing();
        change(&mut standing);
        assert_eq!(standing.judge(&ClientId::first_party(), &POLICY, now), verdict, "{name}");
    }
}

#[test]
fn o08_of_another_client() {
    let other = ClientId::parse("cli_0123456789abcdefghjkmnpqrs").unwrap();
    assert_eq!(standing().judge(&other, &POLICY, T0), Verdict::Dead(Death::OtherClient));
    let mut spent = standing();
    spent.link.use_ = Use::Spent { at: T0, successor: None };
    let verdict = spent.judge(&other, &POLICY, T0 + POLICY.grace);
    assert_eq!(verdict, Verdict::Dead(Death::OtherClient), "another client cannot end a family");
}

#[test]
fn o10_without_grace_every_repetition_is_theft() {
    let strict = RefreshPolicy { grace: Duration::ZERO, ..POLICY };
    let mut spent = standing();
    spent.link.use_ = Use::Spent { at: T0, successor: None };
    assert_eq!(spent.judge(&ClientId::first_party(), &strict, T0), Verdict::Theft);
}

#[test]
fn o12_idle_never_outlives_the_family() {
    assert_eq!(POLICY.idle_until(T0 + POLICY.absolute, T0), T0 + POLICY.idle);
    assert_eq!(POLICY.idle_until(T0 + POLICY.absolute, T0 + POLICY.absolute - MS), T0 + POLICY.absolute);
}
