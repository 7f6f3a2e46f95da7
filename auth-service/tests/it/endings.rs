//! Taking things back: once an ending is answered, no guard accepts what it ended, and introspection says so.

use std::{sync::Arc, time::Duration};

use chassis::{
    clock::{Clock as _, SystemClock},
    grpc::client::channel,
};
use feed::{
    Credential, Variant, Verdict, WatcherId, What,
    credential::Stamp,
    driver::watching::Watching,
    grpc::ToReplicas,
    watcher::{Remember, Settings},
};
use proto::auth::v1 as wire;
use token::{AccessClaims, PrincipalKind};
use tonic::{Code, Status};

use crate::stack::{OTHER_PASSWORD, PASSWORD, Place, Stack, first_party, reason};

const AUDIENCE: &str = "https://api.example";
const LEASE: (&str, &str) = ("LATCHKEY__FEED__LEASE", "1s");

/// A guard of the stack's, with a lease.
async fn guard(stack: &Stack) -> Arc<Watching<()>> {
    guard_until(stack, std::future::pending()).await
}

/// As [`guard`], which hears nothing and says nothing from `cut` on.
async fn guard_until(stack: &Stack, cut: impl Future<Output = ()> + Send + 'static) -> Arc<Watching<()>> {
    let wall = stack.place.clock.clone();
    let clock = feed::grpc::clock(Arc::new(crate::stack::HandsOfTheTest(wall)));
    let settings = Settings {
        lease: Duration::from_secs(1),
        remember: Remember::Everything,
        variant: Variant::default(),
    };
    let guard: Arc<Watching<()>> = Watching::new(settings, WatcherId(1), clock);
    let identity = stack.place.authority.identity("gateway");
    let endpoint = format!("https://{}", stack.running.feed);
    let channel = channel(&[endpoint], &identity, "auth", &stack.lifecycle).unwrap();
    let work = Arc::clone(&guard).run(Arc::new(ToReplicas::new(&channel)), std::future::pending());
    stack.lifecycle.spawn_support("guard", async move {
        tokio::select! {
            () = work => {}
            () = cut => {}
        }
        drop(channel);
        // The stack would stop with it.
        std::future::pending::<()>().await;
    });
    while guard.view().lease_left.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    guard
}

fn credential(claims: &AccessClaims) -> Credential {
    let stamp = |id: &str, generation| Some(Stamp { id: id.into(), generation });
    Credential {
        token: Some(claims.jti.as_str().into()),
        family: claims.fam.as_deref().map(Into::into),
        subject: stamp(&claims.sub, claims.epo.subject).filter(|_| claims.kind == PrincipalKind::User),
        client: stamp(&claims.client_id, claims.epo.client),
        ..Credential::default()
    }
}

/// As an administrator.
async fn revoke_token(stack: &Stack, jti: &str) -> Result<(), Status> {
    let message = wire::RevokeTokenRequest { jti: jti.into() };
    stack.token_admin().revoke_token(stack.call().request(message)).await.map(drop)
}

async fn revoke_family(stack: &Stack, family: &str) -> Result<(), Status> {
    let message = wire::RevokeFamilyRequest { family: family.into() };
    stack.token_admin().revoke_family(stack.call().request(message)).await.map(drop)
}

struct World {
    stack: Stack,
    guard: Arc<Watching<()>>,
    alice: wire::User,
    reader: wire::ClientAuthentication,
    reports: wire::ClientAuthentication,
}

impl World {
    async fn new() -> Self {
        Self::with(&[LEASE]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let stack = Stack::start_with(settings).await;
        let guard = guard(&stack).await;
        let alice = stack.register("alice", PASSWORD).await.unwrap();
        let (_, reader) = stack.create_client("reader", &["latchkey", AUDIENCE], &[]).await.unwrap();
        let (_, reports) = stack.create_client("reports", &[AUDIENCE], &[]).await.unwrap();
        Self { stack, guard, alice, reader, reports }
    }

    /// A token of alice's: as the gateway opens it, with what else came.
    async fn login(&self) -> (String, wire::TokenSet) {
        let tokens = self.stack.login("alice", PASSWORD).await.unwrap();
        let keys = std::slice::from_ref(&self.stack.place.recipient);
        (token::open(&tokens.access_token, keys).unwrap(), tokens)
    }

    async fn client_token(&self) -> String {
        self.stack.client_token(self.reports.clone(), "", "").await.unwrap().access_token
    }

    async fn judged(&self, token: &str) -> (Option<Verdict>, bool) {
        let audience = if self.stack.verify(token, AUDIENCE).await.is_ok() { AUDIENCE } else { "latchkey" };
        let claims = self.stack.verify(token, audience).await.unwrap();
        // The guard first: introspection would give it time.
        let verdict = self.guard.judge(&credential(&claims));
        (verdict, self.stack.introspect(self.reader.clone(), token).await.unwrap().active)
    }

    async fn is_good(&self, token: &str) {
        assert_eq!(self.judged(token).await, (Some(Verdict::Live), true));
    }

    async fn is_ended(&self, token: &str, by: What) {
        assert_eq!(self.judged(token).await, (Some(Verdict::Ended(by)), false));
    }

    async fn revoke_token(&self, jti: &str) -> Result<(), Status> {
        revoke_token(&self.stack, jti).await
    }

    async fn revoke_family(&self, family: &str) -> Result<(), Status> {
        revoke_family(&self.stack, family).await
    }

    async fn revoke(&self, client: &wire::ClientAuthentication, token: &str) -> Result<(), Status> {
        let message = wire::RevokeRequest { client: Some(client.clone()), token: token.into() };
        self.stack.tokens().revoke(self.stack.call().request(message)).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn j23_a_revoked_access_token_is_refused_from_the_answer_on_and_no_other() {
    let world = World::new().await;
    let (one, other) = (world.client_token().await, world.client_token().await);
    world.revoke(&world.reader, &one).await.unwrap();
    world.is_good(&one).await;
    for _ in 0..2 {
        world.revoke(&world.reports, &one).await.unwrap();
        world.is_ended(&one, What::Token).await;
    }
    world.is_good(&other).await;
    // Opened by the gateway: only the recipient can.
    let (jws, tokens) = world.login().await;
    assert_eq!(reason(world.revoke(&first_party(), &tokens.access_token).await), "UNSUPPORTED_TOKEN_TYPE");
    world.revoke(&first_party(), &jws).await.unwrap();
    world.is_ended(&jws, What::Token).await;
    let next = world.stack.refresh(&tokens.refresh_token).await.unwrap();
    let keys = std::slice::from_ref(&world.stack.place.recipient);
    world.is_good(&token::open(&next.access_token, keys).unwrap()).await;
}

/// By the clock of the replica that is asked it has expired. By a guard's, with its leeway, it has not.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_expired_only_here_is_ended_all_the_same() {
    // The second is what clocks may differ by, with what a guard may be lenient by.
    for late in [Duration::from_secs(1), Duration::from_secs(10 * 60 + 29)] {
        let world = World::new().await;
        let token = world.client_token().await;
        let claims = world.stack.verify(&token, AUDIENCE).await.unwrap();
        let left = (claims.exp - world.stack.place.clock.now()).unsigned_abs();
        world.stack.advance(left + late);
        assert_eq!(world.guard.judge(&credential(&claims)), Some(Verdict::Live));
        world.revoke(&world.reports, &token).await.unwrap();
        assert_eq!(world.guard.judge(&credential(&claims)), Some(Verdict::Ended(What::Token)), "{late:?}");
    }
}

/// Whoever is told that nothing was to be done has waited as if something had been: also for what others are ending.
#[tokio::test(flavor = "multi_thread")]
async fn o14_what_is_not_there_waits_for_every_guard_too() {
    for kind in ["another client's", "unknown", "forged", "no token"] {
        let (deaf, cut) = tokio::sync::oneshot::channel::<()>();
        let stack = Stack::start_with(&[LEASE]).await;
        let guard = guard_until(&stack, async { drop(cut.await) }).await;
        let (_, reports) = stack.create_client("reports", &[AUDIENCE], &[]).await.unwrap();
        let token = match kind {
            "another client's" => {
                let (_, other) = stack.create_client("other", &[AUDIENCE], &[]).await.unwrap();
                stack.client_token(other, "", "").await.unwrap().access_token
            }
            "unknown" => format!("lkr_{}", "A".repeat(43)),
            "forged" => "eyJhbGciOiJFUzI1NiJ9.e30.e30".into(),
            _ => "nothing".into(),
        };
        let ending = stack.client_token(reports.clone(), "", "").await.unwrap().access_token;
        deaf.send(()).unwrap();
        while stack.running.auth.feed.view().watchers > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let revoke = async |token: String| {
            let message = wire::RevokeRequest { client: Some(reports.clone()), token };
            stack.tokens().revoke(stack.call().request(message)).await.unwrap();
            assert!(guard.view().lease_left.is_none(), "{kind}: answered under a lease");
        };
        // While one waits for the guard, which will not say that it has heard.
        tokio::join!(revoke(ending), async {
            while stack.running.auth.feed.view().remembered == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            revoke(token).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn j23_a_login_that_ended_takes_its_access_tokens_along() {
    let world = World::new().await;
    let (other, _) = world.login().await;
    // Revoked, logged out, stolen.
    let (token, tokens) = world.login().await;
    world.revoke(&first_party(), &tokens.refresh_token).await.unwrap();
    world.is_ended(&token, What::Family).await;

    let (token, _) = world.login().await;
    let claims = world.stack.verify(&token, "latchkey").await.unwrap();
    for _ in 0..2 {
        let message =
            wire::EndFamilyRequest { family: claims.fam.clone().unwrap(), subject: claims.sub.clone() };
        world.stack.tokens().end_family(world.stack.call().request(message)).await.unwrap();
        world.is_ended(&token, What::Family).await;
    }

    let (token, tokens) = world.login().await;
    let next = world.stack.refresh(&tokens.refresh_token).await.unwrap();
    let keys = std::slice::from_ref(&world.stack.place.recipient);
    let newer = token::open(&next.access_token, keys).unwrap();
    world.is_good(&newer).await;
    world.stack.advance(Duration::from_secs(11));
    assert_eq!(reason(world.stack.refresh(&tokens.refresh_token).await), "INVALID_GRANT");
    world.is_ended(&token, What::Family).await;
    world.is_ended(&newer, What::Family).await;
    world.is_good(&other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn j23_an_administrator_ends_one_token_by_its_jti_and_no_other() {
    let world = World::new().await;
    let keys = std::slice::from_ref(&world.stack.place.recipient);
    let (token, tokens) = world.login().await;
    let next = world.stack.refresh(&tokens.refresh_token).await.unwrap();
    let next = token::open(&next.access_token, keys).unwrap();
    let of_client = world.client_token().await;
    for (token, audience) in [(&token, "latchkey"), (&of_client, AUDIENCE)] {
        world.is_good(token).await;
        let jti = world.stack.verify(token, audience).await.unwrap().jti;
        for _ in 0..2 {
            world.revoke_token(&jti).await.unwrap();
            world.is_ended(token, What::Token).await;
        }
    }
    world.is_good(&next).await;
    world.is_good(&world.client_token().await).await;
    // What could be no token's is not taken for one that has been ended.
    for no_jti in ["", "jti", tokens.access_token.as_str(), "fam_0123456789abcdefghjkmnpqrs"] {
        let refused = world.revoke_token(no_jti).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{no_jti}");
        assert_eq!(reason::<()>(Err(refused)), "JTI_INVALID", "{no_jti}");
    }
}

/// Its expiry is not known here, so it is remembered for as long as any token could live: a day, whatever this replica is set to,
/// and what clocks and guards may differ by. Of a token that is known it is known when that may be forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_jti_is_remembered_for_the_longest_life() {
    let world = World::new().await;
    let (known, named) = (world.client_token().await, world.client_token().await);
    world.revoke(&world.reports, &known).await.unwrap();
    let claims = world.stack.verify(&named, AUDIENCE).await.unwrap();
    world.revoke_token(&claims.jti).await.unwrap();
    let remembered = async |count: usize| {
        let remembered = || world.stack.running.auth.feed.view().remembered;
        while remembered() > count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(remembered(), count);
    };
    remembered(2).await;
    world.stack.advance(Duration::from_secs(16 * 60 + 1));
    remembered(1).await;
    // A grant that was under way when the clocks jumped gives no lease.
    while world.guard.view().lease_left.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // As it would be judged by a guard if it were of a longer life.
    let lives_on = Credential { expired_from: None, ..credential(&claims) };
    assert_eq!(world.guard.judge(&lives_on), Some(Verdict::Ended(What::Token)));
    // Beside one that is forgotten before.
    world.revoke(&world.reports, &world.client_token().await).await.unwrap();
    remembered(2).await;
    // 1 minute of leeway and 10 of clocks, less what has passed.
    world.stack.advance(Duration::from_secs(24 * 3_600 - 5 * 60 - 30));
    remembered(1).await;
    while world.guard.view().lease_left.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.guard.judge(&lives_on), Some(Verdict::Ended(What::Token)));
    world.stack.advance(Duration::from_secs(60));
    remembered(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn j23_an_administrator_ends_one_login_by_its_family_and_no_other() {
    let world = World::new().await;
    let keys = std::slice::from_ref(&world.stack.place.recipient);
    let (other, _) = world.login().await;
    let (token, tokens) = world.login().await;
    let next = world.stack.refresh(&tokens.refresh_token).await.unwrap();
    let newer = token::open(&next.access_token, keys).unwrap();
    let family = world.stack.verify(&token, "latchkey").await.unwrap().fam.unwrap();
    for _ in 0..2 {
        world.revoke_family(&family).await.unwrap();
        world.is_ended(&token, What::Family).await;
        world.is_ended(&newer, What::Family).await;
        assert_eq!(reason(world.stack.refresh(&next.refresh_token).await), "INVALID_GRANT");
    }
    world.is_good(&other).await;
    let unknown = world.revoke_family("fam_0123456789abcdefghjkmnpqrs").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(reason::<()>(Err(unknown)), "FAMILY_NOT_FOUND");
    let jti = world.stack.verify(&token, "latchkey").await.unwrap().jti;
    for no_family in ["", "fam_", &jti, tokens.refresh_token.as_str()] {
        let refused = world.revoke_family(no_family).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{no_family}");
        assert_eq!(reason::<()>(Err(refused)), "FAMILY_INVALID", "{no_family}");
    }
}

/// Also a second call, and one that finds nothing: somebody else may be ending what it means.
#[tokio::test(flavor = "multi_thread")]
async fn an_ending_by_id_is_answered_when_no_guard_is_left_that_has_not_heard_of_it() {
    for second in ["jti", "family again", "unknown family"] {
        let stack = Stack::start_with(&[LEASE]).await;
        let (deaf, cut) = tokio::sync::oneshot::channel::<()>();
        let guard = guard_until(&stack, async { drop(cut.await) }).await;
        stack.register("alice", PASSWORD).await.unwrap();
        let tokens = stack.login("alice", PASSWORD).await.unwrap();
        let claims = stack.claims(&tokens.access_token).await;
        let family = claims.fam.unwrap();
        deaf.send(()).unwrap();
        while stack.running.auth.feed.view().watchers > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::join!(
            async {
                revoke_family(&stack, &family).await.unwrap();
                assert!(guard.view().lease_left.is_none(), "the first: answered under a lease");
            },
            async {
                while stack.running.auth.feed.view().remembered == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let answer = match second {
                    "jti" => revoke_token(&stack, &claims.jti).await,
                    "family again" => revoke_family(&stack, &family).await,
                    _ => revoke_family(&stack, "fam_0123456789abcdefghjkmnpqrs").await,
                };
                assert_eq!(answer.is_ok(), second != "unknown family", "{answer:?}");
                assert!(guard.view().lease_left.is_none(), "{second}: answered under a lease");
            }
        );
    }
}

#[tokio::test]
async fn endings_by_id_are_audited_once_with_who_did_it() {
    let stack = Stack::start().await;
    let alice = stack.register("alice", PASSWORD).await.unwrap();
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    let claims = stack.claims(&tokens.access_token).await;
    let (jti, family) = (claims.jti, claims.fam.unwrap());
    let unknown = "fam_0123456789abcdefghjkmnpqrs";
    let again = format!("family={family} ended before");
    let of_alice = Some(alice.id.as_str());
    for (id, event, outcome, reason, detail, subject) in [
        (jti.as_str(), "token.revoke", "success", None, Some(format!("jti={jti}")), None),
        ("hunter2", "token.revoke", "refused", Some("JTI_INVALID"), None, None),
        (family.as_str(), "family.revoke", "success", None, Some(format!("family={family}")), of_alice),
        (family.as_str(), "family.revoke", "success", None, Some(again), of_alice),
        (
            unknown,
            "family.revoke",
            "refused",
            Some("FAMILY_NOT_FOUND"),
            Some(format!("family={unknown}")),
            None,
        ),
        ("hunter2", "family.revoke", "refused", Some("FAMILY_INVALID"), None, None),
    ] {
        let call = stack.call().actor("usr_admin");
        let mut admin = stack.token_admin();
        let _ = match event {
            "token.revoke" => {
                admin.revoke_token(call.request(wire::RevokeTokenRequest { jti: id.into() })).await.map(drop)
            }
            _ => {
                let message = wire::RevokeFamilyRequest { family: id.into() };
                admin.revoke_family(call.request(message)).await.map(drop)
            }
        };
        let lines = crate::audit::lines(&call.request_id);
        let [line] = lines.as_slice() else { panic!("{event} {id}: {lines:?}") };
        let said = |field: &str| line.get(field).map(String::as_str);
        assert_eq!((said("event"), said("outcome"), said("reason")), (Some(event), Some(outcome), reason));
        assert_eq!((said("actor"), said("subject")), (Some("usr_admin"), subject));
        assert_eq!((said("client"), said("detail")), (subject.map(|_| "first-party"), detail.as_deref()));
    }
    assert!(!crate::audit::everything().contains("hunter2"));
}

/// The family is ended by the first call, which nobody waits for; the second finds it ended, and must not say so before.
#[tokio::test(flavor = "multi_thread")]
async fn o09_a_theft_that_was_not_confirmed_is_when_it_is_tried_again() {
    let stack = Stack::start_with(&[LEASE]).await;
    stack.register("alice", PASSWORD).await.unwrap();
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    let keys = std::slice::from_ref(&stack.place.recipient);
    let token = token::open(&tokens.access_token, keys).unwrap();
    let of_family = credential(&stack.verify(&token, "latchkey").await.unwrap());
    stack.refresh(&tokens.refresh_token).await.unwrap();
    stack.advance(Duration::from_secs(11));

    let (cut, is_cut) = tokio::sync::oneshot::channel::<()>();
    let guard = guard_until(&stack, async { drop(is_cut.await) }).await;
    assert_eq!(guard.judge(&of_family), Some(Verdict::Live));
    cut.send(()).unwrap();
    let first = stack.refresh(&tokens.refresh_token);
    let first = tokio::time::timeout(Duration::from_millis(50), first).await;
    assert!(first.is_err(), "the guard was not waited for: {first:?}");
    assert_eq!(reason(stack.refresh(&tokens.refresh_token).await), "INVALID_GRANT");
    assert_eq!(guard.judge(&of_family), None, "its lease is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn z05_whatever_voids_a_user_voids_every_token_and_later_ones_are_good() {
    let world = World::new().await;
    let (before, _) = world.login().await;
    let admin = || world.stack.user_admin();
    let call = || world.stack.call();
    let id = || world.alice.id.clone();
    let set = |status: wire::Status| wire::SetUserStatusRequest {
        id: world.alice.id.clone(),
        status: status.into(),
    };
    admin().set_user_status(call().request(set(wire::Status::Disabled))).await.unwrap();
    world.is_ended(&before, What::Subject).await;
    admin().set_user_status(call().request(set(wire::Status::Active))).await.unwrap();
    world.is_ended(&before, What::Subject).await;

    let (token, tokens) = world.login().await;
    world.is_good(&token).await;
    let message = wire::RevokeUserTokensRequest { id: id() };
    admin().revoke_user_tokens(call().request(message)).await.unwrap();
    world.is_ended(&token, What::Subject).await;
    assert_eq!(reason(world.stack.refresh(&tokens.refresh_token).await), "INVALID_GRANT");

    let (token, _) = world.login().await;
    world.is_good(&token).await;
    let message =
        wire::SetPasswordRequest { id: id(), password: OTHER_PASSWORD.into(), must_change_password: false };
    admin().set_password(call().request(message)).await.unwrap();
    world.is_ended(&token, What::Subject).await;

    let tokens = world.stack.login("alice", OTHER_PASSWORD).await.unwrap();
    let keys = std::slice::from_ref(&world.stack.place.recipient);
    let token = token::open(&tokens.access_token, keys).unwrap();
    world.stack.change_password("alice", OTHER_PASSWORD, PASSWORD).await.unwrap();
    world.is_ended(&token, What::Subject).await;

    let (token, _) = world.login().await;
    world.is_good(&token).await;
    admin().delete_user(call().request(wire::DeleteUserRequest { id: id() })).await.unwrap();
    world.is_ended(&token, What::Subject).await;
    // Who repeats it because the answer was lost waits for the same.
    let again = admin().delete_user(call().request(wire::DeleteUserRequest { id: id() })).await;
    assert_eq!(again.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn z05_whatever_voids_a_client_voids_every_token_of_it() {
    let mut world = World::new().await;
    let id = world.reports.client_id.clone();
    let token = world.client_token().await;
    let message = wire::RotateClientSecretRequest { id: id.clone() };
    let rotated = world.stack.client_admin().rotate_client_secret(world.stack.call().request(message)).await;
    world.reports.client_secret = rotated.unwrap().into_inner().client_secret;
    world.is_ended(&token, What::Client).await;

    let token = world.client_token().await;
    world.is_good(&token).await;
    let message = wire::RevokeClientTokensRequest { id: id.clone() };
    world.stack.client_admin().revoke_client_tokens(world.stack.call().request(message)).await.unwrap();
    world.is_ended(&token, What::Client).await;

    let token = world.client_token().await;
    world.is_good(&token).await;
    let message = wire::SetClientStatusRequest { id: id.clone(), status: wire::Status::Disabled.into() };
    world.stack.client_admin().set_client_status(world.stack.call().request(message)).await.unwrap();
    world.is_ended(&token, What::Client).await;
    let message = wire::SetClientStatusRequest { id: id.clone(), status: wire::Status::Active.into() };
    world.stack.client_admin().set_client_status(world.stack.call().request(message)).await.unwrap();

    let token = world.client_token().await;
    world.is_good(&token).await;
    let message = wire::DeleteClientRequest { id };
    world.stack.client_admin().delete_client(world.stack.call().request(message)).await.unwrap();
    world.is_ended(&token, What::Client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_an_ending_that_every_guard_hears_of() {
    let world = World::new().await;
    let (token, _) = world.login().await;
    let claims = world.stack.verify(&token, "latchkey").await.unwrap();
    let kid = kid_of(&token);
    let of_key = Credential { key: Some(kid.as_str().into()), ..credential(&claims) };
    assert_eq!(world.guard.judge(&of_key), Some(Verdict::Live));
    let message = wire::RevokeKeyRequest { kid };
    world.stack.key_admin().revoke_key(world.stack.call().request(message)).await.unwrap();
    assert_eq!(world.guard.judge(&of_key), Some(Verdict::Ended(What::Key)));
    let (token, _) = world.login().await;
    world.is_good(&token).await;
}

fn kid_of(jws: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    let header = BASE64_URL_SAFE_NO_PAD.decode(jws.split('.').next().unwrap()).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn endings_survive_a_restart_and_leave_when_nothing_is_alive_that_they_concern() {
    let world = World::new().await;
    let (token, other) = (world.client_token().await, world.client_token().await);
    world.revoke(&world.reports, &token).await.unwrap();
    let World { stack, reader, reports, .. } = world;
    let (place, _) = stack.stop().await;
    let stack = Stack::start_in(place, &[LEASE]).await;
    assert!(!stack.introspect(reader.clone(), &token).await.unwrap().active);
    assert!(stack.introspect(reader.clone(), &other).await.unwrap().active);
    assert_eq!(stack.running.auth.feed.view().remembered, 1);
    // 5 minutes of life, 1 of leeway and 10 of clocks that differ, counted from its expiry.
    stack.advance(Duration::from_secs(16 * 60 + 1));
    while stack.running.auth.feed.view().remembered > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!stack.introspect(reader, &token).await.unwrap().active, "it has expired long ago");
    let fresh = stack.client_token(reports.clone(), "", "").await.unwrap().access_token;
    assert!(stack.introspect(reports, &fresh).await.unwrap().active);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_the_tests_runs_between_its_jumps() {
    let place = Place::new();
    let clock = crate::stack::HandsOfTheTest(place.clock.clone());
    let (wall, boot) = (clock.now(), clock.boottime());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(clock.now(), wall);
    assert!(clock.boottime() > boot && boot <= SystemClock.boottime());
}

/// Its refresh token may be useless long before its access token is.
#[tokio::test]
async fn a_login_that_was_idle_for_too_long_to_go_on_can_still_be_ended() {
    let world = World::with(&[LEASE, ("LATCHKEY__REFRESH__IDLE", "1m")]).await;
    let (token, tokens) = world.login().await;
    world.stack.advance(Duration::from_secs(120));
    world.stack.upkeep().await;
    world.is_good(&token).await;
    world.revoke(&first_party(), &tokens.refresh_token).await.unwrap();
    world.is_ended(&token, What::Family).await;
}

/// Expired by this clock, and good for a while by the clock of whoever is behind.
#[tokio::test]
async fn a_login_whose_last_token_has_expired_only_here_can_still_be_ended() {
    let world = World::with(&[LEASE, ("LATCHKEY__REFRESH__IDLE", "1m")]).await;
    let (token, tokens) = world.login().await;
    let of_it = credential(&world.stack.verify(&token, "latchkey").await.unwrap());
    world.stack.advance(Duration::from_secs(60 + 300 + 10));
    world.stack.upkeep().await;
    world.revoke(&first_party(), &tokens.refresh_token).await.unwrap();
    assert_eq!(world.guard.judge(&of_it), Some(Verdict::Ended(What::Family)));
}

/// Nobody is logged in with the new password, and no guard goes on believing what the old one had opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_changed_without_a_login_ends_everything_all_the_same() {
    let world = World::new().await;
    let (token, _) = world.login().await;
    let mut connection = world.stack.place.database().await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON families BEGIN SELECT RAISE(ABORT, 'away'); END";
    sqlx::query(refuse).execute(&mut connection).await.unwrap();
    let changed = world.stack.change_password("alice", PASSWORD, OTHER_PASSWORD).await;
    assert_eq!(reason(changed), "NOT_CONFIRMED");
    world.is_ended(&token, What::Subject).await;
}

/// As a failover to another server may: the memory of the feed knows a later time, up to which it has forgotten, and a client that is
/// read now is none of what it may have forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_clock_is_set_back_revokes_and_introspects() {
    let world = World::new().await;
    let (one, other) = (world.client_token().await, world.client_token().await);
    let said = || world.stack.running.auth.feed.view().log_clock.unwrap().said();
    let clock = &world.stack.place.clock;
    let (at, right) = (clock.now(), said());
    for back in [Duration::from_secs(600), Duration::from_secs(3_600)] {
        let before = said();
        clock.set(at - back);
        while said() >= before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..2 {
            world.revoke(&world.reports, &one).await.unwrap();
            world.stack.introspect(world.reports.clone(), &other).await.unwrap();
            let wrong = wire::ClientAuthentication {
                client_secret: world.reader.client_secret.clone(),
                ..world.reports.clone()
            };
            assert_eq!(reason(world.revoke(&wrong, &one).await), "INVALID_CLIENT");
        }
    }
    // When it is right again what was ended meanwhile is, and nothing else.
    clock.set(at);
    while said() != right || world.guard.view().lease_left.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.is_ended(&one, What::Token).await;
    world.is_good(&other).await;
}
