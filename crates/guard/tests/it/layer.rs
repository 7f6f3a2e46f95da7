//! The layer in front of a service, against the issuer that users' own tests have.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    http::{Request, Response},
};
use latchkey_guard::{
    CheckFailed, Guard, Principal,
    testing::{Issuer, Token},
};
use tower::{Layer as _, ServiceExt as _, service_fn};

/// What is behind the guard says whom it serves, and counts.
#[derive(Clone, Default)]
struct Behind {
    reached: Arc<AtomicUsize>,
}

impl Behind {
    async fn call(&self, guard: &Guard, request: Request<Body>) -> Response<Body> {
        let reached = Arc::clone(&self.reached);
        let service = service_fn(move |request: Request<Body>| {
            reached.fetch_add(1, Ordering::SeqCst);
            let principal = request.extensions().get::<Arc<Principal>>().cloned();
            let answer = Response::builder().extension(principal.unwrap()).body(Body::from("reached"));
            async move { Ok::<_, Infallible>(answer.unwrap()) }
        });
        guard.layer().layer(service).oneshot(request).await.unwrap()
    }

    fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

fn request(authorization: &[&str]) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    for value in authorization {
        request.headers_mut().append("authorization", value.parse().unwrap());
    }
    request
}

fn bearer(token: &str) -> Request<Body> {
    request(&[&format!("Bearer {token}")])
}

fn grpc(mut request: Request<Body>, content_type: &str) -> Request<Body> {
    request.headers_mut().insert("content-type", content_type.parse().unwrap());
    request
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn what_is_behind_it_is_reached_with_a_principal_and_only_so() {
    let (issuer, behind) = (Issuer::new("reports"), Behind::default());
    let guard = issuer.guard().await;
    let token = issuer.token(Token::user("usr_1").name("alice").scope("read").session("ses_1"));
    for uses in 1..=3 {
        let answer = behind.call(&guard, bearer(&token)).await;
        assert_eq!(answer.status(), 200);
        let principal = answer.extensions().get::<Arc<Principal>>().unwrap();
        assert_eq!((&*principal.id, &*principal.name, &*principal.scope), ("usr_1", "alice", "read"));
        assert_eq!(principal.session.as_deref(), Some("ses_1"));
        assert_eq!(principal.roles, None, "roles of a token may be old, and are not handed on");
        assert_eq!(behind.reached(), uses);
    }
    assert_eq!(guard.tokens().counts().verified, 1, "the others were from memory");
}

#[tokio::test]
async fn what_is_wrong_with_a_credential_is_said_as_rfc_6750_says_it() {
    let (issuer, behind) = (Issuer::new("reports"), Behind::default());
    let guard = issuer.guard().await;
    let good = issuer.token(Token::user("usr_1"));
    let elsewhere = issuer.token(Token::user("usr_1").audience("billing"));
    let short = issuer.token(Token::user("usr_1").lifetime(Duration::from_secs(1)));
    let stranger = Issuer::new("reports").token(Token::user("usr_1"));
    let ended = issuer.token(Token::user("usr_1"));
    assert_eq!(behind.call(&guard, bearer(&ended)).await.status(), 200);
    issuer.end(&ended);
    issuer.advance(Duration::from_secs(2));
    let reached = behind.reached();
    for (request, status, said) in [
        (request(&[]), 401, "Bearer"),
        (request(&["Basic eA=="]), 401, "Bearer"),
        (request(&["Bearer "]), 401, "Bearer"),
        (
            request(&[&format!("Bearer {good}"), &format!("Bearer {good}")]),
            400,
            "Bearer error=\"invalid_request\"",
        ),
        (bearer("nonsense"), 401, "Bearer error=\"invalid_token\", error_description=\"malformed\""),
        (bearer(&format!("{good}A")), 401, "Bearer error=\"invalid_token\""),
        (bearer(&elsewhere), 401, "Bearer error=\"invalid_token\""),
        (bearer(&short), 401, "Bearer error=\"invalid_token\", error_description=\"expired\""),
        (bearer(&stranger), 401, "Bearer error=\"invalid_token\""),
        (bearer(&ended), 401, "Bearer error=\"invalid_token\", error_description=\"ended\""),
    ] {
        let asked = format!("{:?}", request.headers());
        let answer = behind.call(&guard, request).await;
        assert_eq!(answer.status(), status, "{asked}");
        let challenge = header(&answer, "www-authenticate");
        assert!(challenge.starts_with(said), "{asked}: {challenge}");
        assert_eq!(challenge == "Bearer", said == "Bearer", "{asked}: {challenge}");
        assert!(!challenge.contains(&good[..16]), "no token is quoted");
    }
    assert_eq!(behind.reached(), reached, "nobody was let through");
    assert_eq!(behind.call(&guard, bearer(&good)).await.status(), 200);
}

#[tokio::test]
async fn what_nobody_knows_is_neither_allowed_nor_invalid() {
    let (issuer, behind) = (Issuer::new("reports"), Behind::default());
    let guard = issuer.guard().await;
    let (known, ended) = (issuer.token(Token::user("usr_1")), issuer.token(Token::user("usr_2")));
    assert_eq!(behind.call(&guard, bearer(&known)).await.status(), 200);
    issuer.end(&ended);
    issuer.cut_off();
    let new = issuer.token(Token::user("usr_3"));
    for token in [&known, &ended, &new] {
        let answer = behind.call(&guard, bearer(token)).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (503, "1"));
        assert_eq!(header(&answer, "www-authenticate"), "");
    }
    // A credential that is none needs nobody to say so.
    assert_eq!(behind.call(&guard, request(&[])).await.status(), 401);
    assert_eq!(behind.reached(), 1);
    issuer.reconnect();
    assert_eq!(behind.call(&guard, bearer(&known)).await.status(), 200);
    assert_eq!(behind.call(&guard, bearer(&ended)).await.status(), 401);

    let starting = issuer.guard_without_keys();
    let answer = behind.call(&starting, bearer(&known)).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (503, "1"));
}

#[tokio::test]
async fn grpc_is_answered_as_grpc() {
    let (issuer, behind) = (Issuer::new("reports"), Behind::default());
    let guard = issuer.guard().await;
    let good = issuer.token(Token::client("cli_1"));
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
        let answer = behind.call(&guard, grpc(bearer("nonsense"), content_type)).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "grpc-status")), (200, "16"));
        assert_eq!(header(&answer, "content-type"), "application/grpc");
        assert!(!header(&answer, "grpc-message").is_empty());
    }
    let answer = behind.call(&guard, grpc(request(&[]), "application/grpc")).await;
    assert_eq!(header(&answer, "grpc-status"), "16");
    let answer = behind.call(&guard, grpc(bearer(&good), "application/grpc")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "grpc-status")), (200, ""));
    issuer.cut_off();
    let answer = behind.call(&guard, grpc(bearer(&good), "application/grpc")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "grpc-status")), (200, "14"));
    // Its clients read the HTTP status.
    let answer = behind.call(&guard, grpc(bearer(&good), "application/grpc-web")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "grpc-status")), (503, ""));
    assert_eq!(behind.reached(), 1);
}

#[tokio::test]
async fn what_somebody_may_do_is_asked_and_no_answer_is_not_a_no() {
    let issuer = Issuer::new("reports");
    let guard = issuer.guard().await;
    let alice = guard.verify(&issuer.token(Token::user("usr_1"))).await.unwrap();
    let check = |resource| guard.check(&alice, "report:read", resource);
    assert!(!check(Some(("report", "42"))).await.unwrap());
    issuer.allow("usr_1", "report:read", Some(("report", "42")));
    assert!(check(Some(("report", "42"))).await.unwrap());
    assert!(!check(Some(("report", "43"))).await.unwrap());
    assert!(!check(None).await.unwrap());
    issuer.allow("usr_1", "report:read", None);
    assert!(check(Some(("report", "43"))).await.unwrap());
    issuer.cut_off();
    assert!(matches!(check(None).await, Err(CheckFailed::Unavailable(_))));
}
