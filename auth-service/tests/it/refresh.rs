//! O08 to O12: refresh tokens, their rotation, and what becomes of stolen ones.

use std::{collections::HashSet, sync::Arc, time::Duration};

use proto::auth::v1 as wire;

use crate::{
    audit,
    stack::{OTHER_PASSWORD, PASSWORD, Place, Stack, first_party, reason},
    store::at_once,
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

async fn logged_in(env: crate::stack::Env<'_>) -> (Arc<Stack>, wire::TokenSet) {
    let stack = Arc::new(Stack::start_with(env).await);
    stack.register("alice", PASSWORD).await.unwrap();
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    (stack, tokens)
}

/// `count` refreshes of one token at once.
async fn burst(stack: &Arc<Stack>, count: usize, token: &str) -> Vec<Result<wire::TokenSet, tonic::Status>> {
    at_once(count, |_| {
        let (stack, token) = (Arc::clone(stack), token.to_owned());
        async move { stack.refresh(&token).await }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_replaces_the_token_within_its_family() {
    let (stack, tokens) = logged_in(&[]).await;
    let first = stack.claims(&tokens.access_token).await;
    stack.advance(600 * SECOND);
    let user = first.sub.clone();
    stack.policy.grant(&user, &["editor"], 9);
    let next = stack.refresh(&tokens.refresh_token).await.unwrap();
    assert_ne!(next.refresh_token, tokens.refresh_token);
    let claims = stack.claims(&next.access_token).await;
    assert_eq!((claims.fam, claims.sub, claims.epo), (first.fam, first.sub, first.epo));
    assert_eq!((claims.roles, claims.pv), (Some(vec!["editor".to_owned()]), 9), "roles are read anew");
    assert_ne!(claims.jti, first.jti);
    assert_eq!(claims.iat, first.iat + 600 * SECOND);
}

#[tokio::test(flavor = "multi_thread")]
async fn o08_a_token_of_another_client() {
    let (stack, tokens) = logged_in(&[]).await;
    let (_, other) = stack.create_client("reports", &[], &[]).await.unwrap();
    assert_eq!(reason(stack.refresh_as(other.clone(), &tokens.refresh_token, "").await), "INVALID_GRANT");
    let spent = stack.refresh(&tokens.refresh_token).await.unwrap();
    stack.advance(11 * SECOND);
    // Not even its spent token is any of the other's business: the family lives.
    assert_eq!(reason(stack.refresh_as(other.clone(), &tokens.refresh_token, "").await), "INVALID_GRANT");
    stack.refresh(&spent.refresh_token).await.unwrap();
    let wrong = wire::ClientAuthentication { client_secret: "lks_wrong".into(), ..other };
    assert_eq!(reason(stack.refresh_as(wrong, &tokens.refresh_token, "").await), "INVALID_CLIENT");
    let with_secret = wire::ClientAuthentication { client_secret: "anything".into(), ..first_party() };
    assert_eq!(reason(stack.refresh_as(with_secret, &spent.refresh_token, "").await), "INVALID_CLIENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn o09_reuse_after_the_window_ends_the_family() {
    let (stack, first) = logged_in(&[]).await;
    let (_, reader) = stack.create_client("reader", &[], &[]).await.unwrap();
    let second = stack.refresh(&first.refresh_token).await.unwrap();
    stack.advance(20 * SECOND);
    let third = stack.refresh(&second.refresh_token).await.unwrap();
    let inner = token::open(&third.access_token, std::slice::from_ref(&stack.place.recipient)).unwrap();
    assert!(stack.introspect(reader.clone(), &inner).await.unwrap().active);

    let call = stack.call();
    let message = wire::RefreshRequest {
        client: Some(first_party()),
        refresh_token: first.refresh_token.clone(),
        scope: String::new(),
    };
    assert_eq!(reason(stack.tokens().refresh(call.request(message)).await), "INVALID_GRANT");
    let lines = audit::lines(&call.request_id);
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0]["event"].as_str(), lines[0]["reason"].as_str()), ("refresh", "THEFT"), "{lines:?}");

    for token in [&first.refresh_token, &second.refresh_token, &third.refresh_token] {
        assert_eq!(reason(stack.refresh(token).await), "INVALID_GRANT", "both parties are out");
    }
    assert!(!stack.introspect(reader, &inner).await.unwrap().active);
    stack.login("alice", PASSWORD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_fifty_at_once_get_one_successor() {
    let (stack, tokens) = logged_in(&[]).await;
    let outcomes = burst(&stack, 50, &tokens.refresh_token).await;
    let answers: Vec<wire::TokenSet> = outcomes.into_iter().map(Result::unwrap).collect();
    let successors: HashSet<&str> = answers.iter().map(|tokens| tokens.refresh_token.as_str()).collect();
    assert_eq!((answers.len(), successors.len()), (50, 1));
    let mut ids = HashSet::new();
    for tokens in &answers {
        ids.insert(stack.claims(&tokens.access_token).await.jti);
    }
    assert_eq!(ids.len(), 50, "each has an access token of its own");

    // Still the same near the end of the window, and theft past it.
    stack.advance(10 * SECOND - Duration::from_millis(1));
    assert_eq!(stack.refresh(&tokens.refresh_token).await.unwrap().refresh_token, answers[0].refresh_token);
    stack.refresh(&answers[0].refresh_token).await.expect("one live chain");
    stack.advance(Duration::from_millis(1));
    assert_eq!(reason(stack.refresh(&tokens.refresh_token).await), "INVALID_GRANT");
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_without_grace_one_wins_and_the_family_ends() {
    let (stack, tokens) = logged_in(&[("LATCHKEY__REFRESH__GRACE", "0s")]).await;
    let outcomes = burst(&stack, 50, &tokens.refresh_token).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 49));
    for outcome in lost {
        assert_eq!(reason(outcome), "INVALID_GRANT");
    }
    let successor = won.into_iter().next().unwrap().unwrap().refresh_token;
    assert_eq!(reason(stack.refresh(&successor).await), "INVALID_GRANT", "the family has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_a_retry_survives_a_restart_and_the_wiping_does_not() {
    let (stack, tokens) = logged_in(&[]).await;
    let first = stack.refresh(&tokens.refresh_token).await.unwrap();
    let (place, _) = Arc::into_inner(stack).unwrap().stop().await;
    let stack = Stack::start_in(place, &[]).await;
    stack.upkeep().await;
    let again = stack.refresh(&tokens.refresh_token).await.unwrap();
    assert_eq!(again.refresh_token, first.refresh_token);
    assert!(successors(&stack.place).await == 1);
    stack.advance(10 * SECOND);
    stack.upkeep().await;
    assert_eq!(successors(&stack.place).await, 0, "wiped when the window closed");
}

async fn count(place: &Place, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&mut place.database().await).await.unwrap()
}

async fn successors(place: &Place) -> i64 {
    count(place, "SELECT COUNT(*) FROM refresh_tokens WHERE successor IS NOT NULL").await
}

/// What keeps rows of one kind from being swept keeps no others.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_fails_stops_no_other() {
    let (stack, _) = logged_in(&[]).await;
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    let tokens = stack.refresh(&tokens.refresh_token).await.unwrap();
    assert_eq!(reason(stack.login("alice", OTHER_PASSWORD).await), "INVALID_CREDENTIALS");
    let mut database = stack.place.database().await;
    for statement in [
        "CREATE TRIGGER stuck BEFORE DELETE ON families BEGIN SELECT RAISE(ABORT, 'stuck'); END",
        "UPDATE families SET expires_at = 0 WHERE id NOT IN \
         (SELECT family FROM refresh_tokens WHERE spent_at IS NOT NULL)",
        "UPDATE refresh_tokens SET expires_at = 0 WHERE spent_at IS NOT NULL",
        "UPDATE login_throttle SET expires_at = 0",
    ] {
        sqlx::query(statement).execute(&mut database).await.unwrap();
    }
    let auth = &stack.running.auth;
    let sweep = || auth_service::flows::sweep::sweep(auth, auth.clock.now(), 100);
    sweep().await.unwrap_err();
    let counts = async || {
        let families = count(&stack.place, "SELECT COUNT(*) FROM families").await;
        let tokens = count(&stack.place, "SELECT COUNT(*) FROM refresh_tokens").await;
        (families, tokens, count(&stack.place, "SELECT COUNT(*) FROM login_throttle").await)
    };
    assert_eq!(counts().await, (2, 1, 0));
    sqlx::query("DROP TRIGGER stuck").execute(&mut database).await.unwrap();
    sweep().await.unwrap();
    assert_eq!(counts().await, (1, 1, 0));
    stack.refresh(&tokens.refresh_token).await.expect("the one that is left lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn o11_a_wider_scope_spends_nothing() {
    let (stack, tokens) = logged_in(&[]).await;
    assert_eq!(
        reason(stack.refresh_as(first_party(), &tokens.refresh_token, "admin").await),
        "INVALID_SCOPE"
    );
    assert_eq!(reason(stack.refresh_as(first_party(), &tokens.refresh_token, "a  b").await), "INVALID_SCOPE");
    stack.advance(60 * SECOND);
    stack.refresh(&tokens.refresh_token).await.expect("it was not spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn o12_idle_time_and_absolute_age_end_it() {
    let (stack, tokens) = logged_in(&[]).await;
    // Used every 13 days it lives until the 90th, and not a moment longer.
    let mut token = tokens.refresh_token;
    for _ in 0..6 {
        stack.advance(13 * DAY);
        token = stack.refresh(&token).await.unwrap().refresh_token;
    }
    stack.advance(12 * DAY - SECOND);
    token = stack.refresh(&token).await.unwrap().refresh_token;
    stack.advance(SECOND);
    assert_eq!(reason(stack.refresh(&token).await), "INVALID_GRANT");

    let idle = stack.login("alice", PASSWORD).await.unwrap().refresh_token;
    stack.advance(14 * DAY - SECOND);
    let fresh = stack.refresh(&idle).await.unwrap().refresh_token;
    stack.advance(14 * DAY);
    assert_eq!(reason(stack.refresh(&fresh).await), "INVALID_GRANT");
    stack.upkeep().await;
    assert_eq!(reason(stack.refresh(&fresh).await), "INVALID_GRANT");
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_ends_the_family_and_no_other() {
    let (stack, tokens) = logged_in(&[]).await;
    let other = stack.login("alice", PASSWORD).await.unwrap();
    let claims = stack.claims(&tokens.access_token).await;
    let end = async |family: &str, subject: &str| {
        let call = stack.call();
        let message = wire::EndFamilyRequest { family: family.into(), subject: subject.into() };
        stack.tokens().end_family(call.request(message)).await.unwrap();
        audit::lines(&call.request_id).len()
    };
    let family = claims.fam.unwrap();
    assert_eq!(end(&family, "usr_0123456789abcdefghjkmnpqrs").await, 0, "another subject's is left alone");
    assert_eq!(end("nonsense", &claims.sub).await, 0);
    let next = stack.refresh(&tokens.refresh_token).await.unwrap();
    assert_eq!(end(&family, &claims.sub).await, 1);
    assert_eq!(end(&family, &claims.sub).await, 0, "once");
    assert_eq!(
        reason(stack.refresh(&tokens.refresh_token).await),
        "INVALID_GRANT",
        "not even within the window"
    );
    assert_eq!(reason(stack.refresh(&next.refresh_token).await), "INVALID_GRANT");
    stack.refresh(&other.refresh_token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_no_token() {
    let (stack, tokens) = logged_in(&[]).await;
    let altered = format!("{}A", &tokens.refresh_token[..46]);
    let altered = if altered == tokens.refresh_token { format!("{}B", &altered[..46]) } else { altered };
    for token in ["", "lkr_", "nonsense", &altered, &tokens.access_token, &"lkr_".repeat(10_000)] {
        assert_eq!(reason(stack.refresh(token).await), "INVALID_GRANT");
    }
    stack.refresh(&tokens.refresh_token).await.unwrap();
}
