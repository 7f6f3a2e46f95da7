//! A login by token is over once logging out was acknowledged, however old the token that it was done with.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::stack::{Builder, PASSWORD, Stack, eventually};

/// Access tokens that are over in a moment.
async fn begin() -> Stack {
    let builder = Builder::new()
        .settings("auth", "[token]\naccess_lifetime = \"1s\"\n")
        .settings("gateway", "[token]\nleeway = \"0s\"\n");
    let stack = builder.start().await;
    stack.register("alice").await;
    stack
}

/// What a browser keeps of an answer: `name=value` and the attributes, the token's and the refresh token's.
fn kept(answer: &Response) -> [(String, String); 2] {
    let lines = answer.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let cookies: Vec<_> = lines.map(|line| line.split_once("; ").unwrap()).collect();
    ["latchkey-token=", "latchkey-refresh="].map(|name| {
        let (cookie, attributes) = cookies.iter().find(|(cookie, _)| cookie.starts_with(name)).unwrap();
        ((*cookie).to_owned(), (*attributes).to_owned())
    })
}

async fn log_in(stack: &Stack) -> [(String, String); 2] {
    let body = json!({ "identifier": "alice", "password": PASSWORD, "mode": "token", "deliver": "cookie" });
    let answer = stack.post("/v1/login", &body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    kept(&answer)
}

fn by_cookie(request: RequestBuilder, cookie: &str) -> RequestBuilder {
    request.header("cookie", cookie).header("sec-fetch-site", "same-origin")
}

async fn log_out(stack: &Stack, cookie: &str) -> Response {
    by_cookie(stack.request(Method::POST, "/v1/logout"), cookie).send().await.unwrap()
}

async fn refresh(stack: &Stack, cookie: &str) -> Response {
    by_cookie(stack.request(Method::POST, "/v1/refresh"), cookie).send().await.unwrap()
}

async fn code(answer: Response) -> String {
    let problem: Value = answer.json().await.unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

async fn expired(stack: &Stack, request: impl Fn(RequestBuilder) -> RequestBuilder) {
    eventually("the token has expired", async || {
        let answer = request(stack.get("/app/token/x")).send().await.unwrap();
        match answer.status().as_u16() {
            200 => None,
            _ => {
                assert_eq!(code(answer).await, "token_expired");
                Some(())
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_login_of_an_expired_cookie_is_over() {
    let stack = begin().await;
    let [(token, keeps_token), (refresh_token, keeps_refresh)] = log_in(&stack).await;
    let age = |attributes: &str| attributes.rsplit("; ").next().unwrap().to_owned();
    assert_eq!(age(&keeps_token), age(&keeps_refresh), "the browser can log out as long as it can refresh");
    assert!(age(&keeps_token).starts_with("Max-Age="), "{keeps_token}");

    expired(&stack, |request| request.header("cookie", &token)).await;
    assert_eq!(log_out(&stack, &token).await.status(), 204);
    let answer = refresh(&stack, &refresh_token).await;
    assert_eq!((answer.status().as_u16(), code(answer).await.as_str()), (401, "refresh_token_invalid"));
    assert_eq!(log_out(&stack, &token).await.status(), 204, "once more: it is over, as was wanted");
}

#[tokio::test]
async fn the_login_of_an_expired_bearer_token_is_over() {
    let stack = begin().await;
    let tokens = stack.token("alice", PASSWORD).await;
    expired(&stack, |request| request.bearer_auth(&tokens.access_token)).await;
    let answer = stack.request(Method::POST, "/v1/logout").bearer_auth(&tokens.access_token);
    assert_eq!(answer.send().await.unwrap().status(), 204);
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "first-party"),
        ("refresh_token", &tokens.refresh_token),
    ];
    let answer = stack.request(Method::POST, "/oauth2/token").form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn a_cookie_that_does_not_verify_acknowledges_nothing() {
    let stack = begin().await;
    let [(token, _), (refresh_token, _)] = log_in(&stack).await;
    let answer = log_out(&stack, &format!("{token}A")).await;
    assert!(!answer.headers().contains_key("set-cookie"), "the browser keeps what leads to the login's end");
    assert_eq!((answer.status().as_u16(), code(answer).await.as_str()), (401, "token_invalid"));

    let answer = refresh(&stack, &refresh_token).await;
    assert_eq!(answer.status(), 200, "the login goes on, and nobody was told otherwise");
    let [(token, _), (refresh_token, _)] = kept(&answer);
    assert_eq!(log_out(&stack, &token).await.status(), 204);
    assert_eq!(refresh(&stack, &refresh_token).await.status(), 401);
}
