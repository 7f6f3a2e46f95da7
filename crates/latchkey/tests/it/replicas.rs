//! Two of everything on one database: what one replica does the others know, and what the database's absence does.

mod sessions;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::json;
use servers::{Postgres, Sync};

use crate::stack::{Browser, Builder, PASSWORD, Stack, Tokens, client, eventually};
use crate::taken_back::AVAILABLE;

struct Story {
    stack: Stack,
    tokens: Tokens,
    browser: Browser,
}

impl Story {
    async fn begin(database: &str) -> Story {
        let stack = Builder::new().arguments(&["--replicas", "2", "--database", database]).start().await;
        stack.register("alice").await;
        stack.cli(&["role", "add", "reader", "document:read"]);
        stack.cli(&["grant", "add", "alice", "reader"]);
        let tokens = stack.token("alice", PASSWORD).await;
        let browser = stack.session("alice", PASSWORD).await;
        Story { stack, tokens, browser }
    }

    fn by_token(&self, gateway: &str, path: &str) -> RequestBuilder {
        client().get(format!("{gateway}{path}")).bearer_auth(&self.tokens.access_token)
    }

    fn by_session(&self, gateway: &str, path: &str) -> RequestBuilder {
        client().get(format!("{gateway}{path}")).header("cookie", &self.browser.cookie)
    }

    async fn log_in(&self, gateway: &str, mode: &str) -> StatusCode {
        let body = json!({ "identifier": "alice", "password": PASSWORD, "mode": mode });
        client().post(format!("{gateway}/v1/login")).json(&body).send().await.unwrap().status()
    }

    /// Every way in, on every gateway.
    async fn everything(&self) -> Vec<StatusCode> {
        let mut all = Vec::new();
        for gateway in &self.stack.file.gateways {
            for asked in [
                self.by_token(gateway, "/app/token/x"),
                self.by_session(gateway, "/app/session/x"),
                self.by_token(gateway, "/app/documents/1"),
                self.by_session(gateway, "/app/documents/1"),
            ] {
                all.push(asked.send().await.unwrap().status());
            }
            all.push(self.log_in(gateway, "token").await);
            all.push(self.log_in(gateway, "session").await);
        }
        all
    }

    async fn everything_works(&self) {
        let all = self.everything().await;
        assert!(all.iter().all(|status| *status == 200), "{all:?}");
    }

    /// On the way back nobody is refused.
    async fn everything_works_again(&self) {
        eventually("everything works again", async || {
            let all = self.everything().await;
            assert!(all.iter().all(|status| matches!(status.as_u16(), 200 | 503)), "{all:?}");
            all.iter().all(|status| *status == 200).then_some(())
        })
        .await;
    }
}

fn assert_two_of_everything(stack: &Stack) {
    let file = &stack.file;
    assert_eq!((file.gateways.len(), file.internal.len()), (2, 2));
    for service in ["auth", "session", "policy"] {
        assert_eq!(file.services[service].len(), 2, "{service}");
    }
    for name in ["auth-1", "session-1", "policy-1", "gateway-1"] {
        assert!(file.pids.contains_key(name) && file.operations.contains_key(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_good_on_every_gateway_and_endings_hold_on_every_gateway() {
    let server = Postgres::start(Sync::Off);
    let story = Story::begin(&server.url()).await;
    assert_two_of_everything(&story.stack);
    story.everything_works().await;
    let [one, other] = [&story.stack.file.gateways[0], &story.stack.file.gateways[1]];
    let logged_out = client()
        .post(format!("{other}/v1/logout"))
        .header("cookie", &story.browser.cookie)
        .header("origin", other)
        .send()
        .await
        .unwrap();
    assert_eq!(logged_out.status(), StatusCode::NO_CONTENT);
    for gateway in [one, other] {
        let refused = story.by_session(gateway, "/app/session/x").send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{gateway}");
    }
    let lost = story.by_session(one, "/app/session/x").send().await.unwrap();
    assert_eq!(lost.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_machine_replicas_share_sqlite_files_too() {
    let story = Story::begin("sqlite").await;
    assert_two_of_everything(&story.stack);
    story.everything_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_nobody_is_refused_and_with_it_everything_is_back() {
    let mut server = Postgres::start(Sync::On);
    let story = Story::begin(&server.url()).await;
    story.stack.add_routes(AVAILABLE, "/app/available/x").await;
    story.everything_works().await;
    let pids = story.stack.file.pids.clone();
    server.kill();
    for gateway in &story.stack.file.gateways {
        let known = story.by_token(gateway, "/app/available/x").send().await.unwrap();
        assert_eq!(known.status(), StatusCode::OK, "where old answers are preferred a token needs nobody");
        // For the rest of the lease.
        let known = story.by_token(gateway, "/app/token/x").send().await.unwrap().status();
        assert!(matches!(known.as_u16(), 200 | 503), "{known}");
    }
    for gateway in &story.stack.file.gateways {
        for asked in
            [story.by_session(gateway, "/app/session/x"), story.by_token(gateway, "/app/documents/1")]
        {
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(answer.headers().contains_key("retry-after"));
        }
        for mode in ["token", "session"] {
            assert_eq!(story.log_in(gateway, mode).await, StatusCode::SERVICE_UNAVAILABLE, "{mode}");
        }
    }
    server.restart();
    story.everything_works_again().await;
    assert_eq!(story.stack.file.pids, pids, "nobody had to be started again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_dies_costs_no_session_and_no_token() {
    let server = Postgres::start(Sync::Off);
    let mut story = Story::begin(&server.url()).await;
    story.everything_works().await;
    for process in ["auth-0", "session-1", "policy-0"] {
        story.stack.kill(process);
        story.everything_works_again().await;
        story.stack.replaced(process).await;
    }
    story.everything_works_again().await;
}
