//! The OAuth endpoints: whose refresh token it is, how far it reaches, what may be kept in caches, and what has no place in
//! a URL.

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use super::scene::{Application, application};
use crate::stack::{PASSWORD, Stack, client};

const FIRST_PARTY: (&str, &str) = ("client_id", "first-party");

fn form(stack: &Stack, path: &str, members: &[(&str, &str)]) -> RequestBuilder {
    client().post(format!("{}{path}", stack.url())).form(members)
}

fn refresh(stack: &Stack, token: &str, more: &[(&str, &str)]) -> RequestBuilder {
    let members = [&[("grant_type", "refresh_token"), ("refresh_token", token)], more].concat();
    form(stack, "/oauth2/token", &members)
}

/// RFC 6749 §5.2: the status and the `error`.
async fn error(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["error"].as_str().unwrap_or_default().to_owned())
}

async fn good(request: RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn o08_a_refresh_token_is_of_one_client() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let other = application(&stack, "other", &["--audience", "latchkey"]);
    let token = stack.token("alice", PASSWORD).await.refresh_token;
    let invalid_grant = (400, "invalid_grant".to_owned());
    let invalid_client = (401, "invalid_client".to_owned());

    let basic = refresh(&stack, &token, &[]).basic_auth(&other.id, Some(&other.secret));
    assert_eq!(error(basic).await, invalid_grant);
    let post = [("client_id", other.id.as_str()), ("client_secret", &other.secret)];
    assert_eq!(error(refresh(&stack, &token, &post)).await, invalid_grant);
    // A token that is nobody's is answered alike.
    let nobodys = format!("lkr_{}", "A".repeat(43));
    let basic = refresh(&stack, &nobodys, &[]).basic_auth(&other.id, Some(&other.secret));
    assert_eq!(error(basic).await, invalid_grant);
    // Who does not prove to be a client does not get as far.
    assert_eq!(error(refresh(&stack, &token, &[("client_id", &other.id)])).await, invalid_client);
    assert_eq!(error(refresh(&stack, &token, &[("client_id", "cli_unknown")])).await, invalid_client);
    assert_eq!(error(refresh(&stack, &token, &[])).await, invalid_client);
    let with_secret = [FIRST_PARTY, ("client_secret", &other.secret)];
    assert_eq!(error(refresh(&stack, &token, &with_secret)).await, invalid_client);

    // Nobody's attempt has cost its owner anything: it still works, and so does its successor.
    let first = good(refresh(&stack, &token, &[FIRST_PARTY])).await;
    let successor = first["refresh_token"].as_str().unwrap();
    assert_ne!(successor, token);
    let again = refresh(&stack, successor, &[]).basic_auth(&other.id, Some(&other.secret));
    assert_eq!(error(again).await, invalid_grant);
    good(refresh(&stack, successor, &[FIRST_PARTY])).await;
}

#[tokio::test]
async fn o11_a_scope_does_not_grow() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let token = stack.token("alice", PASSWORD).await.refresh_token;
    let invalid_scope = (400, "invalid_scope".to_owned());
    for scope in ["admin", "openid", "latchkey:*", "a b c", "a  b", "\"", "caf\u{e9}"] {
        let answer = error(refresh(&stack, &token, &[FIRST_PARTY, ("scope", scope)])).await;
        assert_eq!(answer, invalid_scope, "{scope:?}");
    }
    // Nothing was spent on the way, and no scope was gained.
    let tokens = good(refresh(&stack, &token, &[FIRST_PARTY])).await;
    assert_eq!(tokens["scope"].as_str().unwrap_or_default(), "");
    let successor = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(error(refresh(&stack, successor, &[FIRST_PARTY, ("scope", "admin")])).await, invalid_scope);
    good(refresh(&stack, successor, &[FIRST_PARTY])).await;

    // A client's own scope is a bound too.
    let robot = application(
        &stack,
        "robot",
        &["--audience", "https://x.example", "--scope", "x:read", "--scope", "x:list"],
    );
    let ask = |scope: &'static str| {
        let members = [("grant_type", "client_credentials"), ("scope", scope)];
        form(&stack, "/oauth2/token", &members).basic_auth(&robot.id, Some(&robot.secret))
    };
    assert_eq!(good(ask("x:read")).await["scope"], "x:read");
    assert_eq!(good(ask("x:list x:read")).await["scope"], "x:list x:read");
    assert_eq!(error(ask("x:read x:write")).await, invalid_scope);
}

fn assert_not_kept(answer: &Response, what: &str) {
    let caching = answer.headers().get("cache-control").unwrap_or_else(|| panic!("{what}: no Cache-Control"));
    assert_eq!(caching, "no-store", "{what}");
}

#[tokio::test]
async fn o16_answers_with_tokens_are_not_kept_and_bad_clients_are_told_how() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let Application { id, secret } = application(&stack, "robot", &["--audience", "https://x.example"]);
    let tokens = stack.token("alice", PASSWORD).await;
    let basic = |path: &str, members: &[(&str, &str)], secret: &str| {
        form(&stack, path, members).basic_auth(&id, Some(secret))
    };
    let credentials = [("grant_type", "client_credentials")];
    let issued = good(basic("/oauth2/token", &credentials, &secret)).await;
    let issued = [("token", issued["access_token"].as_str().unwrap())];
    let nonsense = [("token", "nonsense")];
    let unsupported = [("grant_type", "password"), ("username", "alice"), ("password", PASSWORD)];
    let login = json!({ "identifier": "alice", "password": PASSWORD, "mode": "token" });
    let wrong = json!({ "identifier": "alice", "password": "wrong", "mode": "token" });
    let table = [
        ("a client's token", basic("/oauth2/token", &credentials, &secret), 200),
        ("a refresh", refresh(&stack, &tokens.refresh_token, &[FIRST_PARTY]), 200),
        ("a login", stack.post("/v1/login", &login), 200),
        ("a refused login", stack.post("/v1/login", &wrong), 401),
        ("no such refresh token", refresh(&stack, "lkr_unknown", &[FIRST_PARTY]), 400),
        ("no grant type", basic("/oauth2/token", &[], &secret), 400),
        ("another grant type", basic("/oauth2/token", &unsupported, &secret), 400),
        ("a parameter twice", basic("/oauth2/token", &[credentials[0], credentials[0]], &secret), 400),
        ("JSON", client().post(format!("{}/oauth2/token", stack.url())).json(&json!({})), 400),
        ("introspection", basic("/oauth2/introspect", &issued, &secret), 200),
        ("introspection of nothing", basic("/oauth2/introspect", &nonsense, &secret), 200),
        ("introspection without a token", basic("/oauth2/introspect", &[], &secret), 400),
        ("revocation", basic("/oauth2/revoke", &nonsense, &secret), 200),
    ];
    for (what, request, status) in table {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{what}");
        assert_not_kept(&answer, what);
    }
    for (what, request) in [
        ("a wrong secret", basic("/oauth2/token", &credentials, "lks_wrong")),
        ("no secret", basic("/oauth2/token", &credentials, "")),
        ("nobody", form(&stack, "/oauth2/token", &credentials)),
        ("an unknown client", form(&stack, "/oauth2/token", &credentials).basic_auth("cli_x", Some("lks_x"))),
        ("a wrong secret in the form", {
            form(
                &stack,
                "/oauth2/token",
                &[credentials[0], ("client_id", &id), ("client_secret", "lks_wrong")],
            )
        }),
        ("another scheme", form(&stack, "/oauth2/token", &credentials).bearer_auth(&tokens.access_token)),
        ("introspection with a wrong secret", basic("/oauth2/introspect", &issued, "lks_wrong")),
        ("introspection by nobody", form(&stack, "/oauth2/introspect", &issued)),
        ("introspection by a public client", form(&stack, "/oauth2/introspect", &[issued[0], FIRST_PARTY])),
        ("revocation with a wrong secret", basic("/oauth2/revoke", &issued, "lks_wrong")),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
        assert_not_kept(&answer, what);
        let challenge =
            answer.headers().get("www-authenticate").unwrap_or_else(|| panic!("{what}: no challenge"));
        assert!(challenge.to_str().unwrap().starts_with("Basic realm="), "{what}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"], "invalid_client", "{what}");
    }
}

#[tokio::test]
async fn o21_tokens_do_not_belong_into_a_url() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let tokens = stack.token("alice", PASSWORD).await;
    let token = &tokens.access_token;
    let hits = stack.upstream_hits().await;
    for path in [
        "/app/token/x",
        "/app/any/x",
        "/app/public/x",
        "/app/session/x",
        "/v1/me",
        "/v1/sessions",
        "/openapi.json",
    ] {
        for query in [
            format!("access_token={token}"),
            format!("a=b&access_token={token}"),
            format!("ACCESS_TOKEN={token}"),
            format!("acces%73_token={token}"),
            format!("a=b;access_token={token}"),
            "access_token".to_owned(),
        ] {
            // By itself, and beside a good one in its place.
            for request in [
                stack.get(&format!("{path}?{query}")),
                stack.get(&format!("{path}?{query}")).bearer_auth(token),
            ] {
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}?{:.30}", query);
                assert_not_kept(&answer, path);
                let text = answer.text().await.unwrap();
                assert!(text.contains("token_in_query") && !text.contains(token.as_str()), "{path}: {text}");
            }
        }
    }
    assert_eq!(stack.upstream_hits().await, hits, "nothing reached the application");

    // The OAuth endpoints have further parameters that are secrets.
    let robot = application(&stack, "robot", &["--audience", "https://x.example"]);
    let query = format!("/oauth2/token?client_id={}&client_secret={}", robot.id, robot.secret);
    let by_query = form(&stack, &query, &[("grant_type", "client_credentials")]).send().await.unwrap();
    assert_eq!(by_query.status(), StatusCode::BAD_REQUEST);
    let query = format!(
        "/oauth2/token?grant_type=refresh_token&client_id=first-party&refresh_token={}",
        tokens.refresh_token
    );
    assert_eq!(form(&stack, &query, &[]).send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    good(refresh(&stack, &tokens.refresh_token, &[FIRST_PARTY])).await;

    let logs = stack.logs();
    for secret in [token, &tokens.refresh_token, &robot.secret] {
        assert!(!logs.contains(secret.as_str()), "a secret in a URL ended up in a log");
    }
    // A name that only looks alike is the application's own.
    let other =
        stack.get("/app/token/x?page_token=1&access_tokens=2").bearer_auth(token).send().await.unwrap();
    assert_eq!(other.status(), StatusCode::OK);
}
