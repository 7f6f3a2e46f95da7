//! J21 and J22: what is published, and that a key is seen before it signs and as long as anything that it signed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use auth_service::{domain::signing_key::KeySchedule, flows::keys::Keys, store::NewEnding};
use chassis::{clock::TestClock, entropy::TestEntropy};
use feed::Wall;
use proto::auth::v1 as wire;
use token::{AccessClaims, Algorithm, Epochs, PrincipalKind, TYP_ACCESS};

use crate::stack::{ISSUER, PASSWORD, Stack, T0};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

async fn published(stack: &Stack) -> BTreeSet<String> {
    stack.key_set().await.iter().map(|key| key.kid().as_str().to_owned()).collect()
}

async fn signs(stack: &Stack) -> String {
    stack.running.auth.keys.ring().unwrap().active().kid().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn j21_the_set_has_public_members_only() {
    let stack = Stack::start().await;
    let reply = stack
        .token_reads()
        .get_key_set(stack.call().request(wire::GetKeySetRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(reply.max_age, 300);
    let set: serde_json::Value = serde_json::from_str(&reply.jwks).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    for key in keys {
        let members: BTreeSet<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(["alg", "crv", "kid", "kty", "use", "x", "y"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn j22_a_key_is_seen_before_it_signs_and_until_its_last_token_has_expired() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    let first = signs(&stack).await;
    assert_eq!(published(&stack).await, BTreeSet::from([first.clone()]), "the first signs at once");

    stack.advance(30 * DAY - HOUR - Duration::from_secs(1));
    stack.upkeep().await;
    assert_eq!(published(&stack).await.len(), 1);
    stack.advance(Duration::from_secs(1));
    stack.upkeep().await;
    let announced = published(&stack).await;
    assert_eq!((announced.len(), signs(&stack).await), (2, first.clone()));

    stack.advance(HOUR);
    let last = stack.login("alice", PASSWORD).await.unwrap();
    let last = token::open(&last.access_token, std::slice::from_ref(&stack.place.recipient)).unwrap();
    stack.upkeep().await;
    let second = signs(&stack).await;
    assert_ne!(second, first);
    assert_eq!(published(&stack).await, announced, "the old one is still there");
    stack.advance(Duration::from_secs(299));
    stack.upkeep().await;
    stack.verify(&last, "latchkey").await.expect("valid to its end");
    stack.advance(HOUR);
    stack.upkeep().await;
    assert_eq!(published(&stack).await, BTreeSet::from([second.clone()]));

    // All of it is found again after a restart.
    let (place, _) = stack.stop().await;
    let stack = Stack::start_in(place, &[]).await;
    assert_eq!((signs(&stack).await, published(&stack).await), (second.clone(), BTreeSet::from([second])));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_algorithm_takes_over_after_it_was_announced() {
    let stack = Stack::start().await;
    let first = signs(&stack).await;
    let (mut place, _) = stack.stop().await;
    for (name, algorithm) in
        [("EdDSA", Algorithm::EdDsa), ("PS256", Algorithm::Ps256), ("RS256", Algorithm::Rs256)]
    {
        let stack = Stack::start_in(place, &[("LATCHKEY__SIGNING__ALGORITHM", name)]).await;
        let before = signs(&stack).await;
        stack.upkeep().await;
        assert_eq!(signs(&stack).await, before, "it is announced first");
        stack.advance(HOUR);
        stack.upkeep().await;
        assert_ne!(signs(&stack).await, before);
        assert_eq!(stack.running.auth.keys.ring().unwrap().active().algorithm(), algorithm);
        let (_, credentials) = stack.create_client(&name.to_ascii_lowercase(), &["api"], &[]).await.unwrap();
        let tokens = stack.client_token(credentials, "", "").await.unwrap();
        stack.verify(&tokens.access_token, "api").await.unwrap();
        place = stack.stop().await.0;
    }
    let stack = Stack::start_in(place, &[("LATCHKEY__SIGNING__ALGORITHM", "RS256")]).await;
    assert!(!published(&stack).await.contains(&first));
}

/// The key that signed was ended, and what should have followed was cut off: the announced one signs as soon as the next process
/// begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_a_key_that_signs_takes_the_one_that_was_announced() {
    let stack = Stack::start().await;
    let first = signs(&stack).await;
    stack.key_admin().rotate_key(stack.call().request(wire::RotateKeyRequest {})).await.unwrap();
    let ending = NewEnding { until: Wall::from_unix_millis(1 << 60), ..crate::store::ending(T0) };
    assert!(stack.running.auth.store.revoke_signing_key(&first, ending).await.unwrap());
    let (place, _) = stack.stop().await;
    let stack = Stack::start_in(place, &[]).await;
    assert_ne!(signs(&stack).await, first);
}

async fn states(stack: &Stack) -> Vec<(String, wire::KeyState)> {
    let reply = stack.key_reads().list_keys(stack.call().request(wire::ListKeysRequest {})).await.unwrap();
    reply.into_inner().keys.into_iter().map(|key| (key.kid.clone(), key.state())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn j22_a_forced_rotation_announces_a_key_first() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    let first = signs(&stack).await;
    let call = stack.call();
    let rotate = || async {
        let reply = stack.key_admin().rotate_key(call.request(wire::RotateKeyRequest {})).await.unwrap();
        let wire::RotateKeyResponse { key, signs_from } = reply.into_inner();
        (key.unwrap(), signs_from.unwrap())
    };
    let (next, signs_from) = rotate().await;
    assert_eq!(next.state(), wire::KeyState::Announced);
    assert_eq!(signs_from.seconds - next.moment.unwrap().seconds, 3_600);
    assert_eq!(rotate().await.0.kid, next.kid, "the second time it is the same");
    // Published before it was answered, and not yet used.
    assert_eq!(published(&stack).await, BTreeSet::from([first.clone(), next.kid.clone()]));
    stack.advance(HOUR - Duration::from_secs(1));
    stack.upkeep().await;
    assert_eq!(signs(&stack).await, first);
    let last = stack.login("alice", PASSWORD).await.unwrap();
    let last = token::open(&last.access_token, std::slice::from_ref(&stack.place.recipient)).unwrap();
    stack.advance(Duration::from_secs(1));
    stack.upkeep().await;
    assert_eq!(signs(&stack).await, next.kid);
    stack.verify(&last, "latchkey").await.expect("what the former signed is believed to its end");
    let lines = crate::audit::lines(&call.request_id);
    assert_eq!(lines.len(), 2);
    assert!(
        lines
            .iter()
            .all(|line| line["event"] == "key.rotate" && line["detail"] == format!("kid={}", next.kid))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_believed_no_more_and_another_signs_at_once() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    let stolen = signs(&stack).await;
    let old = stack.login("alice", PASSWORD).await.unwrap();
    let inner = token::open(&old.access_token, std::slice::from_ref(&stack.place.recipient)).unwrap();
    stack.verify(&inner, "latchkey").await.unwrap();
    let revoke = |kid: String| {
        let request = stack.call().request(wire::RevokeKeyRequest { kid });
        let mut keys = stack.key_admin();
        async move { keys.revoke_key(request).await }
    };
    let unknown = revoke("nobody".into()).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    for _ in 0..2 {
        revoke(stolen.clone()).await.unwrap();
        let next = signs(&stack).await;
        assert_ne!(next, stolen);
        assert_eq!(published(&stack).await, BTreeSet::from([next.clone()]));
        assert_eq!(
            states(&stack).await.into_iter().collect::<BTreeSet<_>>(),
            BTreeSet::from([(stolen.clone(), wire::KeyState::Gone), (next, wire::KeyState::Active)])
        );
        assert!(stack.verify(&inner, "latchkey").await.is_err());
    }
    // The login is not lost: its refresh token is no signed thing.
    let fresh = stack.login("alice", PASSWORD).await.unwrap();
    let fresh = token::open(&fresh.access_token, std::slice::from_ref(&stack.place.recipient)).unwrap();
    stack.verify(&fresh, "latchkey").await.unwrap();
}

/// What a thief makes of the key that signs now.
fn forged(stack: &Stack, life: Duration) -> String {
    let claims = AccessClaims {
        iss: ISSUER.to_owned(),
        aud: vec!["latchkey".to_owned()],
        sub: "usr_forged".to_owned(),
        client_id: "first-party".to_owned(),
        iat: T0,
        exp: T0 + life,
        jti: "forged".to_owned(),
        kind: PrincipalKind::User,
        name: "mallory".to_owned(),
        fam: None,
        sid: None,
        scope: String::new(),
        roles: None,
        epo: Epochs { subject: 0, client: 0 },
        pv: 0,
        amr: Vec::new(),
    };
    stack.running.auth.keys.ring().unwrap().active().sign(TYP_ACCESS, &claims).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_thief_signed_is_not_believed_again_when_the_ending_of_the_key_is_forgotten() {
    let stack = Stack::start().await;
    let (_, reader) = stack.create_client("reader", &["latchkey"], &[]).await.unwrap();
    let kid = signs(&stack).await;
    let tokens = [forged(&stack, DAY), forged(&stack, 365 * DAY)];
    // Nobody is issued the second.
    for (token, is_good) in tokens.iter().zip([true, false]) {
        assert_eq!(stack.introspect(reader.clone(), token).await.unwrap().active, is_good);
    }
    stack.key_admin().revoke_key(stack.call().request(wire::RevokeKeyRequest { kid })).await.unwrap();
    let remembered = || stack.running.auth.feed.view().remembered;
    // The longest life of a token, a minute of leeway and ten of clocks.
    for (advance, remembers) in [(13 * HOUR, true), (11 * HOUR + Duration::from_secs(11 * 60 + 1), false)] {
        assert!(remembered() > 0);
        stack.advance(advance);
        while !remembers && remembered() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for token in &tokens {
            assert!(!stack.introspect(reader.clone(), token).await.unwrap().active, "{advance:?}");
        }
    }
}

/// Its key is gone, whoever ended it and however long ago.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_remembered_for_longer_than_its_key() {
    let stack = Stack::start().await;
    let (_, reader) = stack.create_client("reader", &["latchkey"], &[]).await.unwrap();
    let token = forged(&stack, DAY);
    let rotate = wire::RotateKeyRequest {};
    stack.key_admin().rotate_key(stack.call().request(rotate)).await.unwrap();
    for (advance, is_good) in [(HOUR, true), (HOUR, false)] {
        assert!(stack.introspect(reader.clone(), &token).await.unwrap().active);
        stack.advance(advance);
        stack.upkeep().await;
        assert_eq!(stack.introspect(reader.clone(), &token).await.unwrap().active, is_good);
    }
}

/// Its machine was suspended while others rotated, until the old key was gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_away_signs_with_no_key_that_is_gone() {
    let it = crate::store::sqlite().await;
    let schedule = KeySchedule {
        algorithm: Algorithm::Es256,
        rotate_every: DAY,
        announce_for: Duration::from_secs(60),
        outlives: Duration::from_secs(60),
    };
    let clock = Arc::new(TestClock::new(T0));
    let replica = |seed| {
        let (store, clock, entropy) = (Arc::clone(&it.store), Arc::clone(&clock), TestEntropy::new(seed));
        let look_every = Duration::from_secs(10);
        Keys::new(store, clock, Arc::new(entropy), crate::stack::master_key(), schedule, look_every)
    };
    let (away, other) = (replica(1), replica(2));
    away.catch_up(T0).await.unwrap();
    let first = away.ring().unwrap().active().kid().to_owned();
    other.rotate(T0).await.unwrap();
    for minutes in 1..=2 {
        other.advance(T0 + minutes * Duration::from_secs(60)).await.unwrap();
    }
    assert!(!other.ring().unwrap().has(&first));
    // For a minute nothing is read for it.
    for (advance, has_looked) in [(60, false), (1, true)] {
        clock.advance(Duration::from_secs(advance));
        let ring = away.recent_ring(0, T0).await.unwrap();
        assert_eq!(ring.has(&first), !has_looked);
        assert_eq!(ring.active().kid() == first, !has_looked);
    }
}
