//! Tokens that were taken back: refused by every gateway once that is answered, whatever is away. Holds the table of the README.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::{Method, Response, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use servers::{Postgres, Sync};

use crate::outages::readme::{self, says};
use crate::stack::{Builder, PASSWORD, Stack, Tokens, client, eventually};

/// A lease that is over soon.
pub const SHORT: &str = "[feed]\nlease = \"1s\"\n";
/// A route that prefers old answers.
pub const AVAILABLE: &str = "\n[[route]]\npath = \"/app/available/*\"\naccept = [\"token\"]\nupstream = \"echo\"\nstrip_prefix = \"/app\"\nstale_for = \"10m\"\n";

pub async fn begin(builder: Builder, database: &str) -> Stack {
    let stack = builder.arguments(&["--replicas", "2", "--database", database]).start().await;
    stack.register("alice").await;
    stack
}

pub async fn by_token(gateway: &str, path: &str, tokens: &Tokens) -> Response {
    client().get(format!("{gateway}{path}")).bearer_auth(&tokens.access_token).send().await.unwrap()
}

pub async fn log_in(gateway: &str) -> StatusCode {
    let body = json!({ "identifier": "alice", "password": PASSWORD, "mode": "token" });
    client().post(format!("{gateway}/v1/login")).json(&body).send().await.unwrap().status()
}

async fn refresh(gateway: &str, tokens: &Tokens) -> StatusCode {
    let token = tokens.refresh_token.as_str();
    let form = [("grant_type", "refresh_token"), ("client_id", "first-party"), ("refresh_token", token)];
    client().post(format!("{gateway}/oauth2/token")).form(&form).send().await.unwrap().status()
}

pub async fn log_out(gateway: &str, tokens: &Tokens) -> Response {
    let request = client().request(Method::POST, format!("{gateway}/v1/logout"));
    request.bearer_auth(&tokens.access_token).send().await.unwrap()
}

async fn code(answer: Response) -> String {
    let problem: Value = answer.json().await.unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

/// `Some` where an ending is acknowledged. One that is not everywhere yet (202), or not done (503), is to be repeated.
pub fn acknowledged(status: StatusCode) -> Option<()> {
    match status {
        StatusCode::NO_CONTENT => Some(()),
        StatusCode::ACCEPTED | StatusCode::SERVICE_UNAVAILABLE => None,
        other => panic!("{other}"),
    }
}

pub async fn ended(gateway: &str, tokens: &Tokens) {
    eventually("it is acknowledged", async || acknowledged(log_out(gateway, tokens).await.status())).await;
}

#[test]
fn what_is_not_everywhere_is_no_acknowledgement() {
    assert_eq!(acknowledged(StatusCode::NO_CONTENT), Some(()));
    assert_eq!(acknowledged(StatusCode::ACCEPTED), None);
    assert_eq!(acknowledged(StatusCode::SERVICE_UNAVAILABLE), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn j23_once_logging_out_is_answered_no_gateway_accepts_the_token() {
    let server = Postgres::start(Sync::Off);
    let stack = begin(Builder::new(), &server.url()).await;
    let gateways = &stack.file.gateways;
    let other = stack.token("alice", PASSWORD).await;
    for round in 0..20 {
        let tokens = stack.token("alice", PASSWORD).await;
        for gateway in gateways {
            assert_eq!(by_token(gateway, "/app/token/x", &tokens).await.status(), StatusCode::OK);
        }
        ended(&gateways[round % 2], &tokens).await;
        for gateway in gateways {
            let refused = by_token(gateway, "/app/token/x", &tokens).await;
            assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "round {round}");
            assert_eq!(code(refused).await, "token_invalid");
        }
    }
    assert_eq!(by_token(&gateways[0], "/app/token/x", &other).await.status(), StatusCode::OK);
    // Everything of a user, who may come back; then the user.
    let cookie = stack.session("alice", PASSWORD).await.cookie;
    stack.cli(&["user", "revoke", "alice"]);
    for gateway in gateways {
        assert_eq!(by_token(gateway, "/app/token/x", &other).await.status(), StatusCode::UNAUTHORIZED);
        let by_cookie =
            client().get(format!("{gateway}/app/session/x")).header("cookie", &cookie).send().await;
        assert_eq!(by_cookie.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    let other = stack.token("alice", PASSWORD).await;
    assert_eq!(by_token(&gateways[1], "/app/token/x", &other).await.status(), StatusCode::OK);
    stack.cli(&["user", "set", "alice", "--disable"]);
    for gateway in gateways {
        assert_eq!(by_token(gateway, "/app/token/x", &other).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_auth_service_that_dies_costs_no_token_and_delays_an_ending_by_a_lease_at_most() {
    says(readme::ONE_AUTH_SERVICE, ["200", "200", "up to 5 s, for up to 10 s", "one retry"]);
    let server = Postgres::start(Sync::Off);
    let stack = begin(Builder::new(), &server.url()).await;
    stack.add_routes(AVAILABLE, "/app/available/x").await;
    let gateways = stack.file.gateways.clone();
    let (tokens, ends) = (stack.token("alice", PASSWORD).await, stack.token("alice", PASSWORD).await);
    for gateway in &gateways {
        assert_eq!(by_token(gateway, "/app/token/x", &ends).await.status(), StatusCode::OK);
    }
    stack.keep_away("auth-0");
    // As long as the ending waits for the leases that the dead one gave, and for a number of calls at least.
    let is_ended = AtomicBool::new(false);
    let calls = async {
        let mut answers = Vec::new();
        while answers.len() < 200 || !is_ended.load(Ordering::Relaxed) {
            for gateway in &gateways {
                answers.push(by_token(gateway, "/app/token/x", &tokens).await.status().as_u16());
                let available = by_token(gateway, "/app/available/x", &tokens).await;
                assert!(!available.headers().contains_key("x-latchkey-stale"));
                answers.push(available.status().as_u16());
            }
        }
        answers
    };
    let ending = async {
        ended(&gateways[0], &ends).await;
        is_ended.store(true, Ordering::Relaxed);
    };
    let (answers, ()) = tokio::join!(calls, ending);
    let lost = answers.iter().filter(|status| **status != 200).count();
    assert_eq!(lost, 0, "of {}: each has moved to the other long before its lease is over", answers.len());
    for gateway in &gateways {
        assert_eq!(by_token(gateway, "/app/token/x", &ends).await.status(), StatusCode::UNAUTHORIZED);
        for is_refresh in [false, true] {
            let once = async || {
                if is_refresh { refresh(gateway, &tokens).await } else { log_in(gateway).await }
            };
            let first = once().await;
            assert!(matches!(first, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE), "{first}");
            assert!(first == StatusCode::OK || once().await == StatusCode::OK, "one retry is not enough");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stands_still_accepts_nothing_that_ended_meanwhile_when_it_goes_on() {
    let others = "its own clients";
    says(readme::NO_GATEWAY, [others, others, "up to 5 s, for 5 s", others]);
    let server = Postgres::start(Sync::Off);
    let stack = begin(Builder::new().settings("auth", SHORT), &server.url()).await;
    let gateways = stack.file.gateways.clone();
    let ends = stack.token("alice", PASSWORD).await;
    for gateway in &gateways {
        assert_eq!(by_token(gateway, "/app/token/x", &ends).await.status(), StatusCode::OK);
    }
    let stays = stack.token("alice", PASSWORD).await;
    stack.signal("gateway-1", Signal::STOP);
    assert_eq!(by_token(&gateways[0], "/app/token/x", &stays).await.status(), StatusCode::OK);
    assert_eq!(log_in(&gateways[0]).await, StatusCode::OK);
    ended(&gateways[0], &ends).await;
    // A request that waits for it in the kernel is answered when it goes on.
    let waits = by_token(&gateways[1], "/app/token/x", &ends);
    let goes_on = async {
        tokio::task::yield_now().await;
        stack.signal("gateway-1", Signal::CONT);
    };
    let (answer, ()) = tokio::join!(waits, goes_on);
    assert!(matches!(answer.status().as_u16(), 401 | 503), "{}", answer.status());
    for gateway in &gateways {
        eventually("it is refused", async || {
            let status = by_token(gateway, "/app/token/x", &ends).await.status().as_u16();
            assert!(matches!(status, 401 | 503), "{status}");
            (status == 401).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auth_services_database_exact_routes_wait_for_it_and_others_say_that_they_are_stale() {
    let exact = "200 for 3.75 s to 5 s, then 503";
    says(readme::NO_AUTH_SERVICE, [exact, "200, marked `X-Latchkey-Stale`", "503", "503"]);
    let mut server = Postgres::start(Sync::On);
    let stack = begin(Builder::new().settings("auth", SHORT), &server.url()).await;
    let gateways = stack.file.gateways.clone();
    let tokens = stack.token("alice", PASSWORD).await;
    stack.add_routes(AVAILABLE, "/app/available/x").await;
    for gateway in &gateways {
        for path in ["/app/token/x", "/app/available/x"] {
            let answer = by_token(gateway, path, &tokens).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert!(!answer.headers().contains_key("x-latchkey-stale"));
        }
    }
    server.kill();
    for gateway in &gateways {
        eventually("the lease is over", async || {
            let answer = by_token(gateway, "/app/token/x", &tokens).await;
            assert!(matches!(answer.status().as_u16(), 200 | 503), "{}", answer.status());
            (answer.status() == 503 && answer.headers().contains_key("retry-after")).then_some(())
        })
        .await;
        let answer = by_token(gateway, "/app/available/x", &tokens).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["x-latchkey-stale"], "true");
        assert_eq!(
            client().get(format!("{gateway}/app/public/x")).send().await.unwrap().status(),
            StatusCode::OK
        );
        let refused = log_out(gateway, &tokens).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "nobody is told that it ended");
        assert_eq!(log_in(gateway).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refresh(gateway, &tokens).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    server.restart();
    for gateway in &gateways {
        eventually("the lease is back", async || {
            let answer = by_token(gateway, "/app/token/x", &tokens).await;
            assert!(matches!(answer.status().as_u16(), 200 | 503), "{}", answer.status());
            (answer.status() == 200).then_some(())
        })
        .await;
        let answer = by_token(gateway, "/app/available/x", &tokens).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
    ended(&gateways[0], &tokens).await;
    for gateway in &gateways {
        assert_eq!(by_token(gateway, "/app/available/x", &tokens).await.status(), StatusCode::UNAUTHORIZED);
    }
}

/// Both kinds of routes, for the token that was issued before; by a grant of one's own, by a group, and by a group of a group.
#[tokio::test(flavor = "multi_thread")]
async fn z05_a_role_holds_on_every_gateway_once_its_change_is_answered() {
    let server = Postgres::start(Sync::Off);
    let stack = begin(Builder::new(), &server.url()).await;
    stack.cli(&["role", "add", "app-admin", "document:read"]);
    stack.cli(&["group", "add", "staff"]);
    let tokens = stack.token("alice", PASSWORD).await;
    let (given, taken) = (StatusCode::OK, StatusCode::FORBIDDEN);
    let changes = [
        ("grant add alice app-admin", given),
        ("grant remove alice app-admin", taken),
        ("group add company", taken),
        ("grant add company app-admin --group", taken),
        ("group set company --add alice", given),
        ("group set company --remove alice", taken),
        ("group set staff --add alice", taken),
        ("group set company --add staff --group", given),
        ("group set company --remove staff --group", taken),
        ("group set company --add staff --group", given),
        ("group set staff --remove alice", taken),
        ("group set staff --add alice", given),
        ("grant remove company app-admin --group", taken),
        ("grant add company app-admin --group", given),
        ("group remove company", taken),
        ("group set staff --remove alice", taken),
    ];
    for (change, expected) in changes.repeat(3) {
        stack.cli(&change.split(' ').collect::<Vec<_>>());
        for gateway in &stack.file.gateways {
            for path in ["/app/admin/x", "/app/documents/1"] {
                let status = by_token(gateway, path, &tokens).await.status();
                assert_eq!(status, expected, "{change} {path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_takes_its_own_token_back() {
    let stack = Stack::start().await;
    let made = stack.cli_json(&["client", "add", "reports", "--audience", "latchkey"]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let form = [("grant_type", "client_credentials")];
    let token = || async {
        let request = stack.request(Method::POST, "/oauth2/token").basic_auth(id, Some(secret)).form(&form);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    };
    let (one, other) = (token().await, token().await);
    let call = |token: &str| stack.get("/app/token/x").bearer_auth(token).send();
    assert_eq!(call(&one).await.unwrap().status(), StatusCode::OK);
    let revoke = stack.request(Method::POST, "/oauth2/revoke").basic_auth(id, Some(secret));
    let revoked = revoke.form(&[("token", one.as_str())]).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::OK);
    assert_eq!(call(&one).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(call(&other).await.unwrap().status(), StatusCode::OK);
    let introspect = stack.request(Method::POST, "/oauth2/introspect").basic_auth(id, Some(secret));
    let told: Value = introspect.form(&[("token", one.as_str())]).send().await.unwrap().json().await.unwrap();
    assert_eq!(told, json!({ "active": false }));
}
