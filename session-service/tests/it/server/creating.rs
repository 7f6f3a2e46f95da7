use prost_types::Timestamp;
use tonic::Code;

use crate::stack::{START, Stack, create, not_found, opened, refused, secs};

fn proof_invalid() -> (Code, String) {
    (Code::Unauthenticated, "PROOF_INVALID".to_owned())
}

fn after(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: START.unix_timestamp() + seconds, nanos: 0 })
}

#[tokio::test]
async fn a_session_is_what_its_proof_says() {
    let stack = Stack::start().await;
    let mut request = create(stack.proof("usr_1"));
    request.user_agent = "é".repeat(200);
    let (session, secret) = opened(stack.gateway().create(request).await.unwrap());
    assert_eq!(session.subject, "usr_1");
    assert_eq!(session.username, "alice");
    assert_eq!(session.epoch, 3);
    assert_eq!(session.methods, ["pwd"]);
    assert_eq!(session.client_address, "192.0.2.1");
    assert_eq!(session.user_agent, "é".repeat(128), "256 bytes, cut between characters");
    assert_eq!(session.authenticated_at, after(0));
    assert_eq!(session.created_at, after(0));
    assert_eq!(session.last_active_at, after(0));
    assert_eq!(session.idle_expires_at, after(30 * 60));
    assert_eq!(session.absolute_expires_at, after(12 * 3600));
    assert!(session.id.starts_with("ses_") && session.id.len() == 30, "{}", session.id);
    assert_eq!(secret.len(), 43, "256 bits");
    assert_eq!(stack.gateway().resolve(&secret).await.unwrap().session.unwrap(), session);
}

#[tokio::test]
async fn s02_secrets_and_ids_differ_and_come_from_the_given_source() {
    let stack = Stack::start().await;
    let (one, first) = stack.log_in("usr_1").await;
    let (two, second) = stack.log_in("usr_1").await;
    assert_ne!(first, second);
    assert_ne!(one.id, two.id);
    // The same seed draws the same: there is no other source.
    let twin = Stack::start().await;
    assert_eq!(twin.log_in("usr_1").await.1, first);
}

#[tokio::test]
async fn a_proof_makes_one_session() {
    let stack = Stack::start().await;
    let proof = stack.proof("usr_1");
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (gateway, proof) = (stack.gateway(), proof.clone());
        calls.spawn(async move { gateway.create(create(proof)).await });
    }
    let (made, refusals): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for refusal in refusals {
        assert_eq!(refused(refusal), proof_invalid());
    }
}

#[tokio::test]
async fn forged_expired_and_foreign_proofs_make_none() {
    let stack = Stack::start().await;
    let claims = |change: fn(&mut token::ProofClaims)| {
        let mut claims = stack.issuer.claims("usr_1", START);
        change(&mut claims);
        claims
    };
    let sign = |change| stack.issuer.sign(&claims(change));
    let mut altered = stack.proof("usr_1");
    altered.pop();
    let stranger = crate::issuer::Issuer::new();
    for (what, proof) in [
        ("empty", String::new()),
        ("a secret", "A".repeat(43)),
        ("altered", altered),
        ("a stranger's", stranger.sign(&claims(|_| ()))),
        ("expired", sign(|claims| claims.exp = START - secs(30))),
        ("another audience", sign(|claims| claims.aud = vec!["latchkey".to_owned()])),
        ("another issuer", sign(|claims| claims.iss = "https://login.example/".to_owned())),
        ("an access token", stack.issuer.sign_as("at+jwt", &claims(|_| ()))),
        ("huge", "A".repeat(100_000)),
    ] {
        assert_eq!(refused(stack.gateway().create(create(proof)).await), proof_invalid(), "{what}");
    }
}

#[tokio::test]
async fn a_proof_is_good_until_its_expiry_and_the_leeway() {
    let stack = Stack::start().await;
    let (early, late) = (stack.proof("usr_1"), stack.proof("usr_1"));
    stack.clock.advance(secs(59));
    stack.gateway().create(create(early)).await.unwrap();
    stack.clock.advance(secs(1));
    assert_eq!(refused(stack.gateway().create(create(late)).await), proof_invalid());
}

#[tokio::test]
async fn s03_a_planted_secret_never_becomes_a_session_and_the_former_one_ends() {
    let stack = Stack::start().await;
    let gateway = stack.gateway();
    let planted = "A".repeat(43);
    let mut request = create(stack.proof("usr_1"));
    request.former_secret = planted.clone();
    let (_, first) = opened(gateway.create(request).await.unwrap());
    assert_ne!(first, planted);
    assert_eq!(refused(gateway.resolve(&planted).await), not_found());

    let mut request = create(stack.proof("usr_1"));
    request.former_secret = first.clone();
    let (_, second) = opened(gateway.create(request).await.unwrap());
    assert_ne!(first, second);
    assert_eq!(refused(gateway.resolve(&first).await), not_found());
    gateway.resolve(&second).await.unwrap();

    let mut request = create(stack.proof("usr_1"));
    request.former_secret = "'; DROP TABLE sessions; --".to_owned();
    gateway.create(request).await.unwrap();
}

#[tokio::test]
async fn s11_the_limit_ends_the_oldest() {
    let stack = Stack::start_with(&[("sessions.limit", "3")]).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (gateway, proof) = (stack.gateway(), stack.proof("usr_1"));
        calls.spawn(async move { opened(gateway.create(create(proof)).await.unwrap()).1 });
    }
    let mut live = 0;
    for secret in calls.join_all().await {
        live += usize::from(stack.gateway().resolve(&secret).await.is_ok());
    }
    assert_eq!(live, 3);
}

#[tokio::test]
async fn s11_the_limit_can_refuse_and_the_proof_stays_good() {
    let stack = Stack::start_with(&[("sessions.limit", "1"), ("sessions.at_limit", "refuse")]).await;
    let gateway = stack.gateway();
    let (_, first) = stack.log_in("usr_1").await;
    let request = create(stack.proof("usr_1"));
    let limit = (Code::ResourceExhausted, "SESSION_LIMIT".to_owned());
    assert_eq!(refused(gateway.create(request.clone()).await), limit);
    gateway.resolve(&first).await.unwrap();
    assert!(gateway.log_out(&first).await.unwrap());
    gateway.create(request).await.unwrap();
}
