//! Changing one's password where something is wrong: what was sent, or a service that is away halfway through.

use reqwest::Response;
use serde_json::{Value, json};

use crate::stack::{Browser, Builder, PASSWORD, Stack, eventually};

const OTHER_PASSWORD: &str = "granite lemon window cello";
/// Failures without a delay (`[throttle]`).
const FREE: usize = 5;

async fn change(stack: &Stack, browser: &Browser, current: &str, new: &str) -> Response {
    let body = json!({ "current_password": current, "new_password": new });
    let request = stack.post("/v1/password", &body).header("cookie", &browser.cookie);
    request.header("sec-fetch-site", "same-origin").send().await.unwrap()
}

async fn hashes(stack: &Stack) -> u64 {
    stack.metric("auth-0", "latchkey_auth_hashing_runs_total").await
}

/// To know the new password is not to know the present one, even where they are the same; and a try is one try.
#[tokio::test]
async fn p07_the_present_password_as_the_new_one_proves_nothing() {
    // Long enough for everything that is to happen before the delay is over.
    let stack = Builder::new().settings("auth", "[throttle]\nfirst_delay = \"10m\"\n").start().await;
    stack.register("alice").await;
    let browser = stack.session("alice", PASSWORD).await;
    let tokens = stack.token("alice", PASSWORD).await;
    let before = hashes(&stack).await;
    for number in 0..FREE {
        let answer = change(&stack, &browser, "wrong wrong wrong wrong", PASSWORD).await;
        assert!(!answer.headers().contains_key("set-cookie"));
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await.unwrap();
        assert_eq!((status, &problem["code"]), (401, &json!("invalid_credentials")), "{number}: {problem}");
        let about = eventually("it is written down", async || {
            let logs = stack.logs();
            let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let about: Vec<_> = lines
                .filter(|line| line["target"] == "audit" && line["request_id"] == problem["request_id"])
                .collect();
            (!about.is_empty()).then_some(about)
        })
        .await;
        let [line] = about.as_slice() else { panic!("{about:?}") };
        assert_eq!((&line["event"], &line["outcome"]), (&json!("password.change"), &json!("refused")));
    }
    assert_eq!(hashes(&stack).await - before, FREE as u64, "one run each");
    let answer = change(&stack, &browser, "wrong wrong wrong wrong", PASSWORD).await;
    assert_eq!(answer.status(), 429, "each counted, and counted once");

    let session = stack.get("/app/session/x").header("cookie", &browser.cookie).send().await.unwrap();
    assert_eq!(session.status(), 200, "nothing was ended");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "first-party"),
        ("refresh_token", &tokens.refresh_token),
    ];
    let refresh = stack.request(reqwest::Method::POST, "/oauth2/token").form(&form).send().await.unwrap();
    assert_eq!(refresh.status(), 200, "here too");
}

#[tokio::test]
async fn stopped_halfway_it_says_so_and_is_repeated_with_the_new_password() {
    let mut stack = Stack::start().await;
    stack.register("alice").await;
    let browser = stack.session("alice", PASSWORD).await;
    let token = stack.token("alice", PASSWORD).await.access_token;
    stack.kill("session-0");
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER_PASSWORD });
    let answer = stack.post("/v1/password", &body).bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let problem: Value = answer.json().await.unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("The password has been changed"), "{detail}");

    stack.replaced("session-0").await;
    let session = async || {
        let answer = stack.get("/app/session/x").header("cookie", &browser.cookie).send().await.unwrap();
        answer.status().as_u16()
    };
    eventually("session-service is asked again", async || (session().await == 200).then_some(())).await;
    let again = stack.post("/v1/password", &body).bearer_auth(&token).send().await.unwrap();
    assert_eq!(again.status(), 401, "what the old password had opened by token is over already");
    let token = stack.token("alice", OTHER_PASSWORD).await.access_token;
    let again = stack.post("/v1/password", &body).bearer_auth(&token).send().await.unwrap();
    assert_eq!(again.status(), 401, "the old password is the present one no more");
    let body = json!({ "current_password": OTHER_PASSWORD, "new_password": OTHER_PASSWORD });
    let again = stack.post("/v1/password", &body).bearer_auth(&token).send().await.unwrap();
    assert_eq!(again.status(), 200);
    assert_eq!(session().await, 401, "and what the old one had opened is over");
}
