//! Users and applications that log in, refresh, log out and are refused.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{Ledger, OTHER_PASSWORD};
use crate::hostile::scene::application;
use crate::stack::{PASSWORD, Stack, client};

fn login(stack: &Stack, password: &str, mode: &str) -> RequestBuilder {
    stack.post("/v1/login", &json!({ "identifier": "alice", "password": password, "mode": mode }))
}

fn refresh(stack: &Stack, token: &str) -> RequestBuilder {
    let form = [("grant_type", "refresh_token"), ("client_id", "first-party"), ("refresh_token", token)];
    stack.request(Method::POST, "/oauth2/token").form(&form)
}

fn revocation(stack: &Stack, token: &str) -> RequestBuilder {
    stack.request(Method::POST, "/oauth2/revoke").form(&[("token", token)])
}

fn by_session(request: RequestBuilder, cookie: &str) -> RequestBuilder {
    request.header("cookie", cookie).header("sec-fetch-site", "same-origin")
}

#[tokio::test]
async fn z08_audit_has_one_line_for_each_login_refresh_logout_revocation_and_refusal() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    stack.cli(&["role", "add", "reader", "document:read"]);
    let robot = application(&stack, "robot", &["--audience", "https://x.example"]);
    let browser = stack.session("alice", PASSWORD).await;
    let token = stack.token("alice", PASSWORD).await;
    let alice = stack.cli_json(&["user", "show", "alice"])["id"].clone();

    let mut ledger = Ledger::open(stack);
    macro_rules! enter {
        ($what:literal, $status:literal, [$($line:literal),*], |$stack:ident| $request:expr) => {{
            let request = { let $stack = &ledger.stack; $request };
            ledger.enter($what, request, $status, &[$($line),*]).await
        }};
    }
    let session =
        enter!("a login by session", 200, ["auth login success"], |stack| login(stack, PASSWORD, "session"));
    let cookie = session.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let tokens =
        enter!("a login by token", 200, ["auth login success"], |stack| login(stack, PASSWORD, "token"));
    let tokens: Value = tokens.json().await.unwrap();
    enter!("a wrong password", 401, ["auth login refused"], |stack| login(stack, OTHER_PASSWORD, "token"));
    let wrong = json!({ "identifier": "nobody", "password": PASSWORD });
    enter!("an unknown user", 401, ["auth login refused"], |stack| stack.post("/v1/login", &wrong));
    let credentials = [("grant_type", "client_credentials")];
    let issued = enter!("a client", 200, ["auth login success"], |stack| {
        let request = stack.request(Method::POST, "/oauth2/token").form(&credentials);
        request.basic_auth(&robot.id, Some(&robot.secret))
    });
    let issued: Value = issued.json().await.unwrap();
    enter!("a client with a wrong secret", 401, ["auth login refused"], |stack| {
        stack.request(Method::POST, "/oauth2/token").form(&credentials).basic_auth(&robot.id, Some("lks_x"))
    });

    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let renewed = enter!("a refresh", 200, ["auth refresh success"], |stack| refresh(stack, refresh_token));
    let renewed: Value = renewed.json().await.unwrap();
    enter!("its repetition", 200, ["auth refresh success"], |stack| refresh(stack, refresh_token));
    enter!("a refresh with nothing", 400, ["auth refresh refused"], |stack| refresh(stack, "lkr_x"));

    // RFC 7009. Somebody else's token is answered as one's own, and nothing ends.
    let robots = issued["access_token"].as_str().unwrap();
    enter!("revocation with a wrong secret", 401, ["gateway refusal refused"], |stack| {
        revocation(stack, robots).basic_auth(&robot.id, Some("lks_x"))
    });
    for what in ["revocation of a client's token", "once more"] {
        let request = revocation(&ledger.stack, robots).basic_auth(&robot.id, Some(&robot.secret));
        ledger.enter(what, request, 200, &["auth token.revoke success"]).await;
    }
    enter!("revocation of somebody else's login", 200, [], |stack| {
        revocation(stack, &token.refresh_token).basic_auth(&robot.id, Some(&robot.secret))
    });
    let ends = enter!("a login that is revoked", 200, ["auth login success"], |stack| login(
        stack, PASSWORD, "token"
    ));
    let ends: Value = ends.json().await.unwrap();
    let first_party = [("client_id", "first-party"), ("token", ends["refresh_token"].as_str().unwrap())];
    enter!("revocation of a login", 200, ["auth logout success"], |stack| {
        stack.request(Method::POST, "/oauth2/revoke").form(&first_party)
    });
    enter!("revocation of a login that is over", 200, [], |stack| {
        stack.request(Method::POST, "/oauth2/revoke").form(&first_party)
    });

    enter!("nobody", 401, ["gateway refusal refused"], |stack| stack.get("/app/token/x"));
    enter!("a bad token", 401, ["gateway refusal refused"], |stack| stack.get("/app/any/x").bearer_auth("x"));
    enter!("a bad cookie", 401, ["gateway refusal refused"], |stack| {
        stack.get("/app/session/x").header("cookie", "latchkey-session=x")
    });
    let access_token = &token.access_token;
    let role = enter!("no role", 403, ["gateway refusal refused"], |stack| {
        stack.get("/app/admin/x").bearer_auth(access_token)
    });
    enter!("no permission", 403, ["gateway refusal refused"], |stack| {
        stack.get("/app/documents/1").header("cookie", &browser.cookie)
    });
    enter!("another site", 403, ["gateway refusal refused"], |stack| {
        let request = stack.request(Method::POST, "/app/session/x").header("cookie", &browser.cookie);
        request.header("sec-fetch-site", "cross-site")
    });
    enter!("who am I, nobody", 401, ["gateway refusal refused"], |stack| stack.get("/v1/me"));
    enter!("logging nobody out", 401, ["gateway refusal refused"], |stack| stack
        .request(Method::POST, "/v1/logout"));
    enter!("administration by nobody", 401, ["gateway refusal refused"], |stack| {
        client().get(format!("{}/v1/admin/users", stack.internal()))
    });
    enter!("administration by a user", 403, ["gateway refusal refused"], |stack| {
        client().get(format!("{}/v1/admin/users", stack.internal())).bearer_auth(access_token)
    });

    // What is allowed, or wrong in another way, is no event.
    enter!("open", 200, [], |stack| stack.get("/app/public/x"));
    enter!("allowed by token", 200, [], |stack| stack.get("/app/token/x").bearer_auth(access_token));
    enter!("allowed by session", 200, [], |stack| stack.get("/app/session/x").header("cookie", &cookie));
    enter!("nowhere", 404, [], |stack| stack.get("/nowhere"));
    enter!("half a login", 400, [], |stack| stack.post("/v1/login", &json!({ "identifier": "alice" })));

    let change =
        json!({ "current_password": OTHER_PASSWORD, "new_password": "another rather long password" });
    enter!("a change with a wrong password", 401, ["auth password.change refused"], |stack| by_session(
        stack.post("/v1/password", &change),
        &cookie
    ));
    let change = json!({ "current_password": PASSWORD, "new_password": OTHER_PASSWORD });
    let changed = enter!(
        "a change of password, and the end of two sessions",
        200,
        ["auth password.change success", "session session.end success", "session session.end success"],
        |stack| by_session(stack.post("/v1/password", &change), &cookie)
    );
    let cookie = changed.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let other =
        enter!("another login", 200, ["auth login success"], |stack| login(stack, OTHER_PASSWORD, "session"));
    let other: Value = other.json().await.unwrap();
    let one = format!("/v1/sessions/{}", other["session"]["id"].as_str().unwrap());
    enter!("ending another of one's own", 204, ["session logout success"], |stack| {
        by_session(stack.request(Method::DELETE, &one), &cookie)
    });
    enter!("logout by session", 204, ["session logout success"], |stack| {
        by_session(stack.request(Method::POST, "/v1/logout"), &cookie)
    });
    enter!("logout once more: nothing ends", 204, [], |stack| {
        by_session(stack.request(Method::POST, "/v1/logout"), &cookie)
    });
    let tokens = enter!("a login by token", 200, ["auth login success"], |stack| login(
        stack,
        OTHER_PASSWORD,
        "token"
    ));
    let tokens: Value = tokens.json().await.unwrap();
    enter!("logout by token", 204, ["auth logout success"], |stack| {
        stack.request(Method::POST, "/v1/logout").bearer_auth(tokens["access_token"].as_str().unwrap())
    });
    enter!("a refresh after that", 400, ["auth refresh refused"], |stack| {
        refresh(stack, tokens["refresh_token"].as_str().unwrap())
    });
    enter!("a refresh after the password was changed", 400, ["auth refresh refused"], |stack| {
        refresh(stack, renewed["refresh_token"].as_str().unwrap())
    });

    let refused = role.headers()["x-request-id"].to_str().unwrap().to_owned();
    let changed = changed.headers()["x-request-id"].to_str().unwrap().to_owned();
    let all = ledger.close().await;
    let line = &all[&refused][0];
    assert_eq!((&line["subject"], &line["reason"]), (&alice, &json!("role_required")), "{line}");
    assert_eq!((&line["route"], &line["address"]), (&json!("/app/admin/*"), &json!("127.0.0.1")));
    assert!(all[&changed].iter().all(|line| line["subject"] == alice), "{:?}", all[&changed]);
}
