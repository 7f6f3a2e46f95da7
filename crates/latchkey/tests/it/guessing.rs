//! Guessing a password over many gateways and auth-services at once, one of which dies meanwhile: no more tries than one alone
//! would give (P06). What one of each does is in `hostile::throttle`.

use futures_util::{StreamExt as _, stream};
use reqwest::StatusCode;
use serde_json::json;
use servers::{Postgres, Sync};

use crate::stack::{Builder, PASSWORD, client, eventually};

const ATTACKER: &str = "203.0.113.7";
const HOME: &str = "198.51.100.9";
/// Wrong passwords, half of them before everything runs again.
const GUESSES: usize = 1_000;
const AT_ONCE: usize = 40;
/// Failures without a delay (`[throttle]`).
const FREE: usize = 5;
const REPLICAS: usize = 2;

async fn log_in(gateway: &str, user: &str, password: &str, from: &str) -> StatusCode {
    let body = json!({ "identifier": user, "password": password, "mode": "token" });
    let request = client().post(format!("{gateway}/v1/login")).json(&body).header("x-forwarded-for", from);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    assert_eq!(
        matches!(status.as_u16(), 429 | 503),
        answer.headers().contains_key("retry-after"),
        "{status}"
    );
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_a_thousand_guesses_over_replicas_of_which_one_restarts_get_no_more_tries_than_the_limit() {
    let server = Postgres::start(Sync::Off);
    let mut stack = Builder::new()
        .arguments(&["--replicas", "2", "--database", &server.url()])
        .settings("gateway", "trusted_proxies = [\"127.0.0.1\"]\n")
        // Long enough for everything that is to happen before the delay is over.
        .settings("auth", "[throttle]\nfirst_delay = \"1h\"\nmax_delay = \"1h\"\n")
        .start()
        .await;
    let gateways = stack.file.gateways.clone();
    assert_eq!((gateways.len(), stack.file.services["auth"].len()), (REPLICAS, REPLICAS));
    stack.register("alice").await;
    stack.register("bob").await;

    let guess = |number: usize| {
        let (gateway, password) = (&gateways[number % REPLICAS], format!("wrong password number {number}"));
        async move { log_in(gateway, "alice", &password, ATTACKER).await.as_u16() }
    };
    let mut answers = Vec::new();
    let mut guesses = stream::iter((0..GUESSES / 2).map(guess)).buffer_unordered(AT_ONCE);
    while let Some(answer) = guesses.next().await {
        answers.push(answer);
        if answers.len() == GUESSES / 4 {
            stack.kill("auth-0");
        }
    }
    drop(guesses);
    stack.replaced("auth-0").await;
    answers.extend(
        stream::iter((GUESSES / 2..GUESSES).map(guess)).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await,
    );

    let counted = |wanted: u16| answers.iter().filter(|answer| **answer == wanted).count();
    let (tried, delayed, unavailable) = (counted(401), counted(429), counted(503));
    assert_eq!(tried + delayed + unavailable, GUESSES, "{answers:?}");
    assert!((FREE..=FREE + REPLICAS).contains(&tried), "{tried} tries");
    // Those whose auth-service died, and no others.
    assert!(unavailable <= 2 * AT_ONCE, "{unavailable} unavailable");
    for gateway in &gateways {
        for (who, password, from, wanted) in [
            ("alice", PASSWORD, ATTACKER, 429),
            ("alice", PASSWORD, HOME, 200),
            ("bob", PASSWORD, ATTACKER, 200),
        ] {
            // The one that came back may be found a moment later by whoever asks.
            let status = eventually("it is answered", async || {
                let status = log_in(gateway, who, password, from).await;
                (status != StatusCode::SERVICE_UNAVAILABLE).then_some(status)
            })
            .await;
            assert_eq!(status, wanted, "{who} from {from}");
        }
    }
}
