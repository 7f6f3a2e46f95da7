//! One process killed at a time: what needs it answers 503 and says when to come back, nothing says 401, everything else goes
//! on; and when it is back, so is everything, without a restart of the others.

use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::stack::{Browser, PASSWORD, SOON, Stack, Tokens, client, eventually};
use crate::taken_back::AVAILABLE;

struct Story {
    stack: Stack,
    tokens: Tokens,
    browser: Browser,
}

impl Story {
    async fn begin() -> Self {
        let stack = Stack::start().await;
        stack.register("alice").await;
        stack.cli(&["role", "add", "reader", "document:read"]);
        stack.cli(&["grant", "add", "alice", "reader"]);
        let tokens = stack.token("alice", PASSWORD).await;
        let browser = stack.session("alice", PASSWORD).await;
        stack.add_routes(AVAILABLE, "/app/available/x").await;
        let story = Self { stack, tokens, browser };
        // Verified once: from here on the gateway needs nobody for this token.
        for path in ["/app/token/x", "/app/available/x"] {
            assert_eq!(story.by_token(path).await.status(), StatusCode::OK, "{path}");
        }
        story
    }

    /// Who is in by token stays in: where old answers are preferred without an end, elsewhere for the rest of a lease.
    async fn token_is_good(&self) {
        assert_eq!(self.by_token("/app/available/x").await.status(), StatusCode::OK);
        let exact = self.by_token("/app/token/x").await;
        if exact.status() != StatusCode::OK {
            assert_unavailable(&exact, "a token once the lease is over");
        }
    }

    async fn by_token(&self, path: &str) -> Response {
        self.stack.get(path).bearer_auth(&self.tokens.access_token).send().await.unwrap()
    }

    async fn by_session(&self, path: &str) -> Response {
        self.stack.get(path).header("cookie", &self.browser.cookie).send().await.unwrap()
    }

    async fn log_in(&self, mode: &str) -> Response {
        let body = json!({ "identifier": "alice", "password": PASSWORD, "mode": mode });
        self.stack.post("/v1/login", &body).send().await.unwrap()
    }

    /// Kills `process` and keeps it away; resolves when nothing answers on its port any more.
    async fn kill(&self, process: &str) {
        let operations = self.stack.file.operations[process].clone();
        self.stack.keep_away(process);
        eventually("it is gone", async || client().get(&operations).send().await.is_err().then_some(()))
            .await;
    }

    /// Lets `process` back, and waits until everything works again.
    async fn recovered(&mut self, process: &str) {
        let others = self.stack.file.pids.clone();
        self.stack.let_back(process).await;
        let story = &*self;
        eventually("everything works again", async || {
            let answers = [
                story.by_token("/app/token/x").await.status(),
                story.by_session("/app/session/x").await.status(),
                story.by_token("/app/documents/1").await.status(),
                story.log_in("token").await.status(),
                story.log_in("session").await.status(),
            ];
            for answer in answers {
                assert!(answer == 200 || answer == 503, "on the way back something answered {answer}");
            }
            answers.iter().all(|answer| *answer == 200).then_some(())
        })
        .await;
        for (name, pid) in &self.stack.file.pids {
            assert_eq!(name != process, *pid == others[name], "{name}");
        }
    }
}

fn assert_unavailable(answer: &Response, what: &str) {
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{what}");
    let retry_after = answer.headers().get("retry-after").unwrap_or_else(|| panic!("{what}: no Retry-After"));
    retry_after.to_str().unwrap().parse::<u32>().unwrap();
    assert!(!answer.headers().contains_key("set-cookie"), "{what}: nobody loses a cookie over an outage");
}

#[tokio::test]
async fn z01_without_policy_service_permissions_are_unavailable_and_tokens_work() {
    let mut story = Story::begin().await;
    let hits = story.stack.upstream_hits().await;
    story.kill("policy-0").await;
    assert_unavailable(&story.by_token("/app/documents/1").await, "a permission by token");
    assert_unavailable(&story.by_session("/app/documents/1").await, "a permission by session");
    assert_unavailable(&story.log_in("token").await, "a login by token: its roles cannot be read");
    assert_unavailable(&story.by_session("/app/admin/x").await, "a role by session");
    assert_eq!(story.stack.upstream_hits().await, hits, "nothing was let through");
    story.token_is_good().await;
    assert_eq!(story.stack.get("/app/public/x").send().await.unwrap().status(), StatusCode::OK);
    story.recovered("policy-0").await;
}

#[tokio::test]
async fn z01_without_session_service_sessions_are_unavailable_and_tokens_work() {
    let mut story = Story::begin().await;
    let hits = story.stack.upstream_hits().await;
    story.kill("session-0").await;
    assert_unavailable(&story.by_session("/app/session/x").await, "a session");
    assert_unavailable(&story.by_session("/app/any/x").await, "a session where either will do");
    assert_unavailable(&story.log_in("session").await, "a login by session");
    assert_eq!(story.stack.upstream_hits().await, hits, "nothing was let through");
    assert_eq!(story.by_token("/app/any/x").await.status(), StatusCode::OK);
    assert_eq!(story.log_in("token").await.status(), StatusCode::OK);
    story.recovered("session-0").await;
}

#[tokio::test]
async fn z01_without_auth_service_logins_are_unavailable_and_who_is_in_stays_in() {
    let mut story = Story::begin().await;
    story.kill("auth-0").await;
    assert_unavailable(&story.log_in("token").await, "a login by token");
    assert_unavailable(&story.log_in("session").await, "a login by session");
    let token = story.tokens.refresh_token.clone();
    let form = [("grant_type", "refresh_token"), ("client_id", "first-party"), ("refresh_token", &token)];
    let refresh = story.stack.request(Method::POST, "/oauth2/token").form(&form).send().await.unwrap();
    assert_unavailable(&refresh, "a refresh");
    story.token_is_good().await;
    assert_eq!(story.by_session("/app/session/x").await.status(), StatusCode::OK);
    assert_eq!(story.by_session("/app/documents/1").await.status(), StatusCode::OK);
    story.recovered("auth-0").await;
    let refresh = story.stack.request(Method::POST, "/oauth2/token").form(&form).send().await.unwrap();
    assert_eq!(refresh.status(), StatusCode::OK, "the refresh that could not be answered was not spent");
}

#[tokio::test]
async fn the_gateway_comes_back_and_knows_everybody() {
    let mut story = Story::begin().await;
    story.kill("gateway-0").await;
    story.recovered("gateway-0").await;
}

#[tokio::test]
async fn one_echo_application_is_enough() {
    let story = Story::begin().await;
    story.stack.kill("echo-0");
    let down = client().get(&story.stack.file.echo[0]);
    eventually("it is gone", async || down.try_clone().unwrap().send().await.is_err().then_some(())).await;
    // What could not be sent is sent to the other one.
    for _ in 0..20 {
        assert_eq!(story.stack.get("/app/public/x").send().await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn z01_a_process_that_hangs_costs_a_deadline_and_no_more() {
    let story = Story::begin().await;
    story.stack.signal("policy-0", rustix::process::Signal::STOP);
    // On a busy machine a thread of it may go on for a moment.
    let asked = eventually("it hangs", async || {
        let asked = tokio::time::timeout(SOON / 4, story.by_token("/app/documents/1")).await;
        let asked = asked.expect("an answer");
        (asked.status() != StatusCode::OK).then_some(asked)
    })
    .await;
    assert_unavailable(&asked, "a permission");
    story.token_is_good().await;
    story.stack.signal("policy-0", rustix::process::Signal::CONT);
    eventually("it works again", async || {
        let status = story.by_token("/app/documents/1").await.status();
        assert!(status == 200 || status == 503, "{status}");
        (status == 200).then_some(())
    })
    .await;
}
