//! Logging in: what comes of it, and how often it may be tried.

use std::{sync::Arc, time::Duration};

use proto::auth::v1 as wire;
use token::{Algorithm, Expect};
use tonic::Code;

use crate::{
    audit,
    stack::{ADDRESS, ISSUER, OTHER_PASSWORD, PASSWORD, Stack, T0, login_request, reason},
    store::at_once,
};

const ELSEWHERE: &str = "198.51.100.7";

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_token_is_encrypted_and_says_who_it_is() {
    let stack = Stack::start().await;
    let user = stack.register("Alice", PASSWORD).await.unwrap();
    assert_eq!((user.username.as_str(), user.status()), ("Alice", wire::Status::Active));
    stack.policy.grant(&user.id, &["app-admin", "editor"], 7);
    let tokens = stack.login("aLICE", PASSWORD).await.unwrap();
    assert_eq!((tokens.expires_in, tokens.scope.as_str()), (300, ""));
    assert!(token::is_jwe(&tokens.access_token));
    assert!(tokens.refresh_token.starts_with("lkr_") && tokens.refresh_token.len() == 47);
    let claims = stack.claims(&tokens.access_token).await;
    assert_eq!(
        (claims.sub.as_str(), claims.client_id.as_str(), claims.name.as_str()),
        (user.id.as_str(), "first-party", "Alice")
    );
    assert_eq!((claims.iss.as_str(), claims.aud), (ISSUER, vec!["latchkey".to_owned()]));
    assert_eq!((claims.iat, claims.exp), (T0, T0 + Duration::from_secs(300)));
    assert_eq!(claims.roles, Some(vec!["app-admin".to_owned(), "editor".to_owned()]));
    assert_eq!((claims.pv, claims.epo.subject, claims.epo.client), (7, 0, 0));
    assert_eq!((claims.amr, claims.sid), (vec!["pwd".to_owned()], None));
    assert!(claims.fam.unwrap().starts_with("fam_"));
    assert_eq!(claims.jti.len(), 26);
    assert_eq!(stack.policy.asked(), [(proto::policy::v1::SubjectKind::User, user.id)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_session_is_a_proof_for_session_service_alone() {
    let stack = Stack::start().await;
    let user = stack.register("alice", PASSWORD).await.unwrap();
    let proof = stack.login_proof("alice", PASSWORD).await.unwrap();
    let expect = Expect::new(ISSUER, "session", [Algorithm::Es256], Duration::ZERO).unwrap();
    let keys = stack.key_set().await;
    let claims = token::verify_proof(&proof, &keys, &expect, T0).unwrap();
    assert_eq!((claims.sub.as_str(), claims.name.as_str()), (user.id.as_str(), "alice"));
    assert_eq!((claims.iat, claims.exp, claims.auth_time), (T0, T0 + Duration::from_secs(30), T0));
    assert_eq!((claims.amr, claims.epo.subject), (vec!["pwd".to_owned()], 0));
    assert!(token::verify_proof(&proof, &keys, &expect, T0 + Duration::from_secs(30)).is_err());
    assert!(stack.verify(&proof, "session").await.is_err(), "no access token");
    assert_ne!(stack.login_proof("alice", PASSWORD).await.unwrap(), proof);
    assert!(stack.policy.asked().is_empty(), "a session asks for roles itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn p06_right_passwords_at_once_all_get_in() {
    let stack = Arc::new(Stack::start().await);
    stack.register("alice", PASSWORD).await.unwrap();
    let logins = at_once(20, |_| {
        let stack = Arc::clone(&stack);
        async move { stack.login("alice", PASSWORD).await.map(drop) }
    })
    .await;
    assert!(logins.iter().all(Result::is_ok), "{logins:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_policy_service_there_is_no_token_and_no_refusal() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    let before = stack.login("alice", PASSWORD).await.unwrap();
    stack.policy.set_down(true);
    for _ in 0..10 {
        assert_eq!(stack.login("alice", PASSWORD).await.unwrap_err().code(), Code::Unavailable);
    }
    let status = stack.refresh(&before.refresh_token).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(chassis::status::retry_after(&status).is_some());
    stack.login_proof("alice", PASSWORD).await.expect("needs no roles");
    stack.policy.set_down(false);
    stack.login("alice", PASSWORD).await.unwrap();
    stack.advance(Duration::from_secs(3_600));
    stack.refresh(&before.refresh_token).await.expect("nothing was spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_gets_nothing() {
    let stack = Stack::start().await;
    let user = stack.register("alice", PASSWORD).await.unwrap();
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    let set = async |status: wire::Status| {
        let message = wire::SetUserStatusRequest { id: user.id.clone(), status: status.into() };
        stack.user_admin().set_user_status(stack.call().request(message)).await.unwrap()
    };
    set(wire::Status::Disabled).await;
    assert_eq!(reason(stack.login("alice", PASSWORD).await), "INVALID_CREDENTIALS");
    assert_eq!(reason(stack.refresh(&tokens.refresh_token).await), "INVALID_GRANT");
    set(wire::Status::Active).await;
    assert_eq!(reason(stack.refresh(&tokens.refresh_token).await), "INVALID_GRANT", "void for good");
    let again = stack.login("alice", PASSWORD).await.unwrap();
    assert_eq!(stack.claims(&again.access_token).await.epo.subject, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_is_open_or_closed() {
    let stack = Stack::start_with(&[("LATCHKEY__REGISTRATION__OPEN", "false")]).await;
    assert_eq!(reason(stack.register("alice", PASSWORD).await), "REGISTRATION_CLOSED");
    let stack = Stack::start().await;
    stack.register("Alice", PASSWORD).await.unwrap();
    assert_eq!(reason(stack.register("ALICE", PASSWORD).await), "USERNAME_TAKEN");
    assert_eq!(reason(stack.register("a\nb", PASSWORD).await), "USERNAME_INVALID");
    assert_eq!(reason(stack.register(&"x".repeat(65), PASSWORD).await), "USERNAME_INVALID");
    assert_eq!(reason(stack.register("", PASSWORD).await), "USERNAME_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn p06_a_burst_gets_no_more_tries_than_the_limit() {
    let stack = std::sync::Arc::new(Stack::start().await);
    stack.register("alice", PASSWORD).await.unwrap();
    stack.register("bob", PASSWORD).await.unwrap();
    for name in ["alice", "unknown"] {
        stack.place.kdf.take();
        let outcomes = at_once(60, |number| {
            let stack = std::sync::Arc::clone(&stack);
            async move { reason(stack.login(name, &format!("wrong password number {number}")).await) }
        })
        .await;
        let count = |reason: &str| outcomes.iter().filter(|outcome| *outcome == reason).count();
        assert_eq!(
            (count("INVALID_CREDENTIALS"), count("TOO_MANY_ATTEMPTS")),
            (5, 55),
            "{name}: {outcomes:?}"
        );
        assert_eq!(stack.place.kdf.take().len(), 5, "{name}: what is refused is not hashed");
    }
    // The owner elsewhere and other users are not concerned.
    stack.login_from("alice", PASSWORD, ELSEWHERE).await.unwrap();
    stack.login("bob", PASSWORD).await.unwrap();
    // Never a lock: once the delay is over the right password works here too, and forgets what was.
    let status = stack.login("alice", PASSWORD).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(chassis::status::retry_after(&status), Some(Duration::from_secs(1)));
    stack.advance(Duration::from_secs(1));
    stack.login("alice", PASSWORD).await.unwrap();
    for _ in 0..5 {
        assert_eq!(reason(stack.login("alice", OTHER_PASSWORD).await), "INVALID_CREDENTIALS");
    }
    assert_eq!(reason(stack.login("alice", PASSWORD).await), "TOO_MANY_ATTEMPTS");
}

#[tokio::test(flavor = "multi_thread")]
async fn p06_delays_double_and_survive_a_restart() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    for _ in 0..4 {
        assert_eq!(reason(stack.login("alice", OTHER_PASSWORD).await), "INVALID_CREDENTIALS");
    }
    let mut delay = Duration::from_secs(1);
    for _ in 0..12 {
        assert_eq!(reason(stack.login("alice", OTHER_PASSWORD).await), "INVALID_CREDENTIALS");
        let status = stack.login("alice", PASSWORD).await.unwrap_err();
        assert_eq!(chassis::status::retry_after(&status), Some(delay));
        stack.advance(delay);
        delay = (delay * 2).min(Duration::from_secs(900));
    }
    assert_eq!(reason(stack.login("alice", OTHER_PASSWORD).await), "INVALID_CREDENTIALS");
    let (place, _) = stack.stop().await;
    let stack = Stack::start_in(place, &[]).await;
    assert_eq!(reason(stack.login("alice", PASSWORD).await), "TOO_MANY_ATTEMPTS");
    // Counters expire.
    stack.advance(Duration::from_secs(900 + 3_600));
    for _ in 0..5 {
        assert_eq!(reason(stack.login("alice", OTHER_PASSWORD).await), "INVALID_CREDENTIALS");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p06_changing_a_password_is_no_way_around() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    for _ in 0..5 {
        let wrong = stack.change_password("alice", "wrong wrong wrong wrong", OTHER_PASSWORD).await;
        assert_eq!(reason(wrong), "INVALID_CREDENTIALS");
    }
    assert_eq!(reason(stack.login("alice", PASSWORD).await), "TOO_MANY_ATTEMPTS");
    assert_eq!(reason(stack.change_password("alice", PASSWORD, OTHER_PASSWORD).await), "TOO_MANY_ATTEMPTS");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_login_leaves_one_line_without_secrets() {
    let stack = Stack::start().await;
    let user = stack.register("alice", PASSWORD).await.unwrap();
    for (identifier, password, outcome, why) in [
        ("alice", PASSWORD, "success", None),
        ("alice", OTHER_PASSWORD, "refused", Some("INVALID_CREDENTIALS")),
        ("a password typed into the wrong field", OTHER_PASSWORD, "refused", Some("INVALID_CREDENTIALS")),
    ] {
        let call = stack.call();
        let login = login_request(identifier, password, wire::LoginMode::Token, ADDRESS);
        let _ = stack.logins().login(call.request(login)).await;
        let lines = audit::lines(&call.request_id);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let field = |name: &str| lines[0].get(name).map(String::as_str);
        assert_eq!((field("event"), field("outcome"), field("reason")), (Some("login"), Some(outcome), why));
        assert_eq!(field("subject"), (identifier == "alice").then_some(user.id.as_str()));
        assert_eq!(field("address"), Some(ADDRESS));
    }
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    let all = audit::everything();
    let secrets =
        [PASSWORD, OTHER_PASSWORD, "typed into the wrong field", &tokens.refresh_token, &tokens.access_token];
    for secret in secrets {
        assert!(!all.contains(secret));
    }
}
