//! A role that changes while a token lives: docs/decisions/0002-roles-in-tokens.md says what happens, and this holds it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::stack::{PASSWORD, Stack};

async fn by_token(stack: &Stack, token: &str) -> [u16; 2] {
    let mut statuses = [0, 0];
    for (status, path) in statuses.iter_mut().zip(["/app/admin/x", "/app/documents/1"]) {
        *status = stack.get(path).bearer_auth(token).send().await.unwrap().status().as_u16();
    }
    statuses
}

async fn by_session(stack: &Stack, cookie: &str) -> [u16; 2] {
    let mut statuses = [0, 0];
    for (status, path) in statuses.iter_mut().zip(["/app/admin/x", "/app/documents/1"]) {
        *status = stack.get(path).header("cookie", cookie).send().await.unwrap().status().as_u16();
    }
    statuses
}

/// The roles that the application is told.
async fn told(stack: &Stack, token: &str) -> Value {
    let echo: Value =
        stack.get("/app/token/x").bearer_auth(token).send().await.unwrap().json().await.unwrap();
    echo["headers"].get("x-latchkey-roles").map_or(json!(""), |roles| roles[0].clone())
}

#[tokio::test]
async fn roles_granted_and_taken_after_issue() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    stack.cli(&["role", "add", "app-admin", "app:administer", "document:read"]);
    let before = stack.token("alice", PASSWORD).await;
    let cookie = stack.session("alice", PASSWORD).await.cookie;
    assert_eq!(by_token(&stack, &before.access_token).await, [403, 403]);
    assert_eq!(by_session(&stack, &cookie).await, [403, 403]);
    let refreshed = async |refresh_token: &str| -> (String, String) {
        let form =
            [("grant_type", "refresh_token"), ("client_id", "first-party"), ("refresh_token", refresh_token)];
        let answer = stack.request(Method::POST, "/oauth2/token").form(&form).send().await.unwrap();
        let tokens: Value = answer.json().await.unwrap();
        let text = |member: &str| tokens[member].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned();
        (text("access_token"), text("refresh_token"))
    };

    stack.cli(&["grant", "add", "alice", "app-admin"]);
    // At once, for the token that was issued before.
    assert_eq!(by_token(&stack, &before.access_token).await, [200, 200]);
    assert_eq!(by_session(&stack, &cookie).await, [200, 200]);
    assert_eq!(told(&stack, &before.access_token).await, "app-admin");
    let (granted, next) = refreshed(&before.refresh_token).await;
    assert_eq!(by_token(&stack, &granted).await, [200, 200], "the next token has it");
    assert_eq!(told(&stack, &granted).await, "app-admin");
    let anew = stack.token("alice", PASSWORD).await.access_token;
    assert_eq!(by_token(&stack, &anew).await, [200, 200]);

    stack.cli(&["grant", "remove", "alice", "app-admin"]);
    for token in [&granted, &anew] {
        assert_eq!(by_token(&stack, token).await, [403, 403], "its own roles are of the past");
        assert_eq!(told(&stack, token).await, "");
    }
    assert_eq!(by_session(&stack, &cookie).await, [403, 403]);
    let me: Value = stack.get("/v1/me").bearer_auth(&granted).send().await.unwrap().json().await.unwrap();
    assert_eq!((&me["roles"], &me["permissions"]), (&json!([]), &json!([])), "what one holds now: {me}");
    let (taken, _) = refreshed(&next).await;
    assert_eq!(by_token(&stack, &taken).await, [403, 403], "and the next one is without");

    // The role itself redefined, and removed: the same rule.
    stack.cli(&["grant", "add", "alice", "app-admin"]);
    let holds = stack.token("alice", PASSWORD).await.access_token;
    stack.cli(&["role", "set", "app-admin", "app:administer"]);
    assert_eq!(by_token(&stack, &holds).await, [200, 403]);
    assert_eq!(by_session(&stack, &cookie).await, [200, 403]);
    stack.cli(&["role", "remove", "app-admin"]);
    assert_eq!(by_token(&stack, &holds).await, [403, 403]);
    assert_eq!(by_session(&stack, &cookie).await, [403, 403]);
}
