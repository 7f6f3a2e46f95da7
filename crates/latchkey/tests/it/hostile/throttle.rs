//! Guessing passwords, one after another or all at once.

use futures_util::future::join_all;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::stack::{Builder, PASSWORD, Stack, eventually};

const ATTACKER: &str = "203.0.113.7";
const HOME: &str = "198.51.100.9";
const HASHES: &str = "latchkey_auth_hashing_runs_total";
/// Failures without a delay (`[throttle]`).
const FREE: u64 = 5;

/// A stack that believes this machine what addresses it forwards for.
async fn begin(more: &[(&str, &str)]) -> Stack {
    let builder = Builder::new().settings("gateway", "trusted_proxies = [\"127.0.0.1\"]\n");
    let builder = more.iter().fold(builder, |builder, (service, toml)| builder.settings(service, toml));
    let stack = builder.start().await;
    stack.register("alice").await;
    stack.register("bob").await;
    stack
}

fn attempt(stack: &Stack, user: &str, password: &str, from: &str) -> RequestBuilder {
    let body = json!({ "identifier": user, "password": password, "mode": "token" });
    stack.post("/v1/login", &body).header("x-forwarded-for", from)
}

async fn log_in(stack: &Stack, user: &str, password: &str, from: &str) -> u16 {
    attempt(stack, user, password, from).send().await.unwrap().status().as_u16()
}

/// How often each status came. Whoever is told to come back is told when.
async fn counted(answers: Vec<Response>) -> [usize; 2] {
    let mut counts = [0, 0];
    for answer in answers {
        match answer.status().as_u16() {
            401 => counts[0] += 1,
            429 => {
                let wait = answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
                assert!((1..=900).contains(&wait), "{wait}");
                counts[1] += 1;
            }
            other => panic!("{other}: {}", answer.text().await.unwrap()),
        }
    }
    counts
}

#[tokio::test]
async fn throttle_a_burst_gets_no_more_tries_than_the_limit() {
    // Long enough for everything that is to happen before the delay is over.
    let stack = begin(&[("auth", "[throttle]\nfirst_delay = \"1m\"\n")]).await;
    for user in ["alice", "nobody"] {
        let before = stack.metric("auth-0", HASHES).await;
        let burst = (0..60).map(|number| {
            let attempt = attempt(&stack, user, &format!("wrong password number {number}"), ATTACKER);
            async move { attempt.send().await.unwrap() }
        });
        let [tried, refused] = counted(join_all(burst).await).await;
        assert_eq!((tried, refused), (5, 55), "{user}");
        let hashed = stack.metric("auth-0", HASHES).await - before;
        assert_eq!(hashed, FREE, "{user}: what is refused costs no hash");
    }
    // The guesser's luck is out; the owner elsewhere and everybody else notice nothing.
    assert_eq!(log_in(&stack, "alice", PASSWORD, ATTACKER).await, 429);
    assert_eq!(log_in(&stack, "Alice", PASSWORD, ATTACKER).await, 429, "however the name is spelled");
    assert_eq!(log_in(&stack, "alice", PASSWORD, HOME).await, 200);
    assert_eq!(log_in(&stack, "bob", PASSWORD, ATTACKER).await, 200);
    // A success elsewhere does not set the guesser free, nor does an address that it makes up.
    assert_eq!(log_in(&stack, "alice", PASSWORD, ATTACKER).await, 429);
    assert_eq!(log_in(&stack, "alice", PASSWORD, &format!("{HOME}, {ATTACKER}")).await, 429);
    // Changing the password is no way around.
    let change = json!({
        "identifier": "alice", "current_password": PASSWORD, "new_password": "granite lemon window cello",
    });
    let answer =
        stack.post("/v1/password", &change).header("x-forwarded-for", ATTACKER).send().await.unwrap();
    assert_eq!(answer.status(), 429);
}

#[tokio::test]
async fn throttle_is_a_delay_and_no_lock() {
    let stack = begin(&[]).await;
    for _ in 0..FREE {
        assert_eq!(log_in(&stack, "alice", "wrong wrong wrong wrong", ATTACKER).await, 401);
    }
    let answer = attempt(&stack, "alice", PASSWORD, ATTACKER).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "1");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "too_many_attempts");
    // Asking again does not make it longer.
    eventually("the right password works again", async || {
        match log_in(&stack, "alice", PASSWORD, ATTACKER).await {
            200 => Some(()),
            status => {
                assert_eq!(status, 429);
                None
            }
        }
    })
    .await;
    // And what was, is forgotten.
    for _ in 0..FREE {
        assert_eq!(log_in(&stack, "alice", "wrong wrong wrong wrong", ATTACKER).await, 401);
    }
}

#[tokio::test]
async fn throttle_is_not_evaded_by_addresses_that_are_made_up() {
    // Nobody is trusted to forward: what a client writes about its address counts for nothing.
    let stack = Builder::new().settings("auth", "[throttle]\nfirst_delay = \"1m\"\n").start().await;
    stack.register("alice").await;
    for number in 0..FREE {
        let from = format!("192.0.2.{number}");
        assert_eq!(log_in(&stack, "ALICE", "wrong wrong wrong wrong", &from).await, 401);
    }
    assert_eq!(log_in(&stack, "alice", PASSWORD, HOME).await, 429);
}

#[tokio::test]
async fn throttle_survives_a_restart() {
    let mut stack = begin(&[("auth", "[throttle]\nfirst_delay = \"10m\"\n")]).await;
    for _ in 0..FREE {
        assert_eq!(log_in(&stack, "alice", "wrong wrong wrong wrong", ATTACKER).await, 401);
    }
    stack.kill("auth-0");
    stack.replaced("auth-0").await;
    let status = eventually("auth-service is asked again", async || {
        let status = log_in(&stack, "alice", PASSWORD, ATTACKER).await;
        (status != 503).then_some(status)
    })
    .await;
    assert_eq!(status, 429);
    assert_eq!(log_in(&stack, "alice", PASSWORD, HOME).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttle_a_flood_of_logins_leaves_everything_else_alone() {
    const LOGINS: usize = 300;
    // A queue that a slow machine works off before anybody's patience ends.
    let stack = begin(&[("auth", "[hashing]\nthreads = 1\nqueue = 32\n")]).await;
    let token = stack.token("alice", PASSWORD).await.access_token;
    let cookie = stack.session("alice", PASSWORD).await.cookie;
    let flood = (0..LOGINS).map(|number| {
        let attempt = attempt(&stack, &format!("user-{number}"), "wrong wrong wrong wrong", HOME);
        async move { attempt.send().await.unwrap() }
    });
    let flood = join_all(flood);
    tokio::pin!(flood);
    let mut rounds = 0;
    let answers = loop {
        let others = async {
            for (what, request) in [
                ("open", stack.get("/app/public/x")),
                ("by token", stack.get("/app/token/x").bearer_auth(&token)),
                ("by session", stack.get("/app/session/x").header("cookie", &cookie)),
                ("who am I", stack.get("/v1/me").bearer_auth(&token)),
                ("the key set", stack.get("/.well-known/jwks.json")),
            ] {
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), 200, "{what}, round {rounds}");
            }
        };
        tokio::select! {
            biased;
            answers = &mut flood => break answers,
            () = others => rounds += 1,
        }
    };
    assert!(rounds > 0, "something else was asked meanwhile");
    let mut turned_away = 0;
    for answer in &answers {
        if answer.status() == 429 {
            turned_away += 1;
            let wait = answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
        } else {
            assert_eq!(answer.status(), 401);
        }
    }
    let hashed = LOGINS - turned_away;
    // One in the works and 32 waiting, and whatever found a place that had become free.
    assert!(hashed >= 33 && turned_away > 0, "{hashed} hashed, {turned_away} turned away");
    for answer in answers.into_iter().filter(|answer| answer.status() == 429) {
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "hashing_busy");
    }
    // Who was turned away was not counted as having failed: nobody has to wait for what was never tried.
    assert_eq!(log_in(&stack, "alice", PASSWORD, HOME).await, 200);
}
