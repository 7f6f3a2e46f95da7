//! What traffic sees when something is away, where tokens are concerned: the table of the README, row by row, and that nothing
//! which has ended is let in by whoever was away.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::json;
use servers::{Postgres, Sync};
use tokio::time::{Instant, sleep};

use crate::cable::Cable;
use crate::outages::readme::{self, says};
use crate::stack::{Builder, PASSWORD, Stack, Tokens, client, eventually};
use crate::taken_back::{SHORT, acknowledged, begin, by_token, ended, log_in, log_out};

/// Beside those that are there: one that prefers old answers, one that tells no roles.
const ROUTES: &str = "
[[route]]
path = \"/app/available/*\"
accept = [\"token\"]
upstream = \"echo\"
stale_for = \"10m\"

[[route]]
path = \"/app/unnamed/*\"
accept = [\"token\"]
upstream = \"echo\"
identity = \"none\"
";
/// Nobody is to be waited for long who stands still.
const IMPATIENT: &str = "[limits]\ncheck_timeout = \"1s\"\n";
pub const EXACT: &str = "/app/token/x";
pub const AVAILABLE: &str = "/app/available/x";

pub async fn with_routes(builder: Builder, database: &str) -> Stack {
    let stack = begin(builder.settings("gateway", IMPATIENT), database).await;
    stack.add_routes(ROUTES, AVAILABLE).await;
    stack
}

/// Served or told to come back, until it is `wanted`.
pub async fn becomes(gateway: &str, path: &str, tokens: &Tokens, wanted: u16) {
    eventually(&format!("{path} is {wanted}"), async || {
        let answer = by_token(gateway, path, tokens).await;
        let status = answer.status().as_u16();
        assert!(matches!(status, 200 | 503), "{path}: {status}");
        assert!(status == 200 || answer.headers().contains_key("retry-after"), "{path} does not say when");
        (status == wanted).then_some(())
    })
    .await;
}

/// Never let in, and refused as soon as it can be told.
pub async fn is_refused(gateway: &str, path: &str, tokens: &Tokens, wanted: u16) {
    eventually(&format!("{path} is {wanted}"), async || {
        let status = by_token(gateway, path, tokens).await.status().as_u16();
        assert!(status == wanted || status == 503, "{path}: {status}");
        (status == wanted).then_some(())
    })
    .await;
}

pub async fn is_stale(gateway: &str, tokens: &Tokens) {
    let answer = by_token(gateway, AVAILABLE, tokens).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-latchkey-stale"], "true");
}

fn all(stack: &Stack, service: &str, signal: Signal) {
    for replica in 0..2 {
        stack.signal(&format!("{service}-{replica}"), signal);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_policy_service_what_tells_roles_waits_and_tokens_end_as_usual() {
    let (exact, ending) = ("200 for 3.75 s to 5 s, then 503", "tokens: as usual; roles: 503");
    says(readme::NO_POLICY_SERVICE, [exact, "200, marked", ending, "by token 503"]);
    let server = Postgres::start(Sync::Off);
    let stack = with_routes(Builder::new().settings("policy", SHORT), &server.url()).await;
    stack.cli(&["role", "add", "app-admin", "document:read"]);
    stack.cli(&["grant", "add", "alice", "app-admin"]);
    let (tokens, ends) = (stack.token("alice", PASSWORD).await, stack.token("alice", PASSWORD).await);
    let gateways = stack.file.gateways.clone();
    let with_roles = [EXACT, "/app/admin/x", "/app/documents/1"];
    for gateway in &gateways {
        for path in with_roles.into_iter().chain([AVAILABLE, "/app/unnamed/x"]) {
            becomes(gateway, path, &tokens, 200).await;
        }
    }
    all(&stack, "policy", Signal::STOP);
    for gateway in &gateways {
        for path in with_roles {
            becomes(gateway, path, &tokens, 503).await;
        }
        is_stale(gateway, &tokens).await;
        becomes(gateway, "/app/unnamed/x", &tokens, 200).await;
        assert_eq!(
            client().get(format!("{gateway}/app/public/x")).send().await.unwrap().status(),
            StatusCode::OK
        );
        assert_eq!(log_in(gateway).await, StatusCode::SERVICE_UNAVAILABLE, "no token without its roles");
    }
    ended(&gateways[0], &ends).await;
    for gateway in &gateways {
        for path in [AVAILABLE, "/app/unnamed/x"] {
            is_refused(gateway, path, &ends, 401).await;
        }
    }
    let taken = stack.latchkey(&["grant", "remove", "alice", "app-admin"]);
    assert!(!taken.status.success(), "nobody is told that a role was taken back");

    all(&stack, "policy", Signal::CONT);
    for gateway in &gateways {
        for path in with_roles {
            becomes(gateway, path, &tokens, 200).await;
        }
    }
    // What was asked for and not acknowledged may have been done: asked again, it is.
    eventually("the role is taken back", async || {
        let again = stack.latchkey(&["grant", "remove", "alice", "app-admin"]);
        let is_gone = stack.cli_json(&["grant", "list", "--role", "app-admin"]) == json!([]);
        (again.status.success() || is_gone).then_some(())
    })
    .await;
    for gateway in &gateways {
        is_refused(gateway, "/app/admin/x", &tokens, 403).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auth_service_a_gateway_that_starts_then_serves_nothing_stale() {
    let server = Postgres::start(Sync::Off);
    let stack = with_routes(Builder::new().settings("auth", SHORT), &server.url()).await;
    let (tokens, browser) = (stack.token("alice", PASSWORD).await, stack.session("alice", PASSWORD).await);
    let gateways = stack.file.gateways.clone();
    for gateway in &gateways {
        becomes(gateway, AVAILABLE, &tokens, 200).await;
    }
    all(&stack, "auth", Signal::STOP);
    for gateway in &gateways {
        becomes(gateway, EXACT, &tokens, 503).await;
        is_stale(gateway, &tokens).await;
        eventually("sessions, which ask nobody there, are served", async || {
            let session = client().get(format!("{gateway}/app/session/x")).header("cookie", &browser.cookie);
            let status = session.send().await.unwrap().status().as_u16();
            assert!(matches!(status, 200 | 503), "{status}");
            (status == 200).then_some(())
        })
        .await;
    }
    // It has never known what had ended.
    stack.kill("gateway-1");
    eventually("it is gone", async || client().get(&gateways[1]).send().await.is_err().then_some(())).await;
    let mut answers = 0;
    eventually("it is there again and answers", async || {
        let request = client().get(format!("{}{AVAILABLE}", gateways[1])).bearer_auth(&tokens.access_token);
        let answer = request.send().await.ok()?;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        answers += 1;
        (answers == 10).then_some(())
    })
    .await;
    is_stale(&gateways[0], &tokens).await;
    all(&stack, "auth", Signal::CONT);
    for gateway in &gateways {
        for path in [AVAILABLE, EXACT] {
            becomes(gateway, path, &tokens, 200).await;
        }
    }
    ended(&gateways[0], &tokens).await;
    for gateway in &gateways {
        is_refused(gateway, AVAILABLE, &tokens, 401).await;
    }
}

/// gateway-1 reaches auth-service through a cable only.
async fn with_cable(stack: &mut Stack) -> Cable {
    let mut cable = Cable::new();
    let config = fs::read_to_string(stack.state_dir().join("config/gateway-1.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    let mut through = Vec::new();
    for section in ["peers", "feeds"] {
        let mut urls = Vec::new();
        for url in config[section]["auth"]["endpoints"].as_array().unwrap() {
            urls.push(toml::Value::from(cable.through(url.as_str().unwrap()).await));
        }
        through.push((section, urls));
    }
    stack
        .reconfigure("gateway-1", |table| {
            for (section, urls) in through {
                table[section]["auth"]["endpoints"] = urls.into();
            }
        })
        .await;
    cable
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_cut_off_is_the_only_one_that_waits() {
    says(readme::CUT_OFF, ["there 503 after 5 s at most", "200, marked", "up to 5 s, for 5 s", "there 503"]);
    let server = Postgres::start(Sync::Off);
    let mut stack = with_routes(Builder::new().settings("auth", SHORT), &server.url()).await;
    let cable = with_cable(&mut stack).await;
    let (tokens, ends) = (stack.token("alice", PASSWORD).await, stack.token("alice", PASSWORD).await);
    let [whole, cut] = [&stack.file.gateways[0], &stack.file.gateways[1]];
    for gateway in [whole, cut] {
        becomes(gateway, EXACT, &tokens, 200).await;
        becomes(gateway, AVAILABLE, &ends, 200).await;
    }
    cable.cut();
    becomes(cut, EXACT, &tokens, 503).await;
    is_stale(cut, &tokens).await;
    assert_eq!(log_in(cut).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        log_out(cut, &ends).await.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "nobody is told that it ended"
    );
    becomes(whole, EXACT, &tokens, 200).await;
    assert_eq!(log_in(whole).await, StatusCode::OK);
    ended(whole, &ends).await;
    // What `stale_for` says: it does not know.
    is_stale(cut, &ends).await;
    assert_eq!(by_token(cut, EXACT, &ends).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    cable.mend();
    becomes(cut, EXACT, &tokens, 200).await;
    for path in [EXACT, AVAILABLE] {
        is_refused(cut, path, &ends, 401).await;
    }
}

/// The default, and how long after that whoever had not moved would have none.
pub const LEASE: Duration = Duration::from_secs(5);
const LONGER: Duration = Duration::from_secs(7);

/// Of both in turn: a gateway that has moved from the one watches the other when that stands still.
#[tokio::test(flavor = "multi_thread")]
async fn one_auth_service_that_stands_still_costs_no_token() {
    let server = Postgres::start(Sync::Off);
    let stack = with_routes(Builder::new(), &server.url()).await;
    let gateways = stack.file.gateways.clone();
    for still in ["auth-0", "auth-1"] {
        let (stays, ends) = (stack.token("alice", PASSWORD).await, stack.token("alice", PASSWORD).await);
        for gateway in &gateways {
            becomes(gateway, EXACT, &stays, 200).await;
            becomes(gateway, EXACT, &ends, 200).await;
        }
        stack.signal(still, Signal::STOP);
        let (stopped, is_ended) = (Instant::now(), AtomicBool::new(false));
        let calls = async {
            let (mut asked, mut lost, mut stale) = (0, 0, 0);
            while asked < 400 || stopped.elapsed() < LONGER || !is_ended.load(Ordering::Relaxed) {
                for gateway in &gateways {
                    for path in [EXACT, AVAILABLE] {
                        let answer = by_token(gateway, path, &stays).await;
                        asked += 1;
                        lost += u32::from(answer.status() != StatusCode::OK);
                        stale += u32::from(answer.headers().contains_key("x-latchkey-stale"));
                    }
                }
            }
            (asked, lost, stale)
        };
        let ending = async {
            ended(&gateways[0], &ends).await;
            is_ended.store(true, Ordering::Relaxed);
        };
        let ((asked, lost, stale), ()) = tokio::join!(calls, ending);
        assert_eq!((lost, stale), (0, 0), "of {asked}, while {still} stood still for longer than {LEASE:?}");
        stack.signal(still, Signal::CONT);
        for gateway in ["gateway-0", "gateway-1"] {
            has_lease(&stack, gateway).await;
        }
        for gateway in &gateways {
            is_refused(gateway, EXACT, &ends, 401).await;
            becomes(gateway, EXACT, &stays, 200).await;
            eventually("a login", async || (log_in(gateway).await == StatusCode::OK).then_some(())).await;
        }
    }
}

/// Of both services, by its own figure: it is ready, as its probe says, with none.
pub async fn has_lease(stack: &Stack, gateway: &str) {
    let leases =
        ["auth", "policy"].map(|service| format!("\nlatchkey_gateway_{service}_feed_lease_seconds "));
    eventually("it has its leases", async || {
        let metrics = stack.metrics(gateway).await;
        let left = |lease: &String| metrics.split_once(lease)?.1.lines().next()?.trim().parse::<f64>().ok();
        leases.iter().all(|lease| left(lease).is_some_and(|left| left > 0.0)).then_some(())
    })
    .await;
}

/// The first is given up by its caller, who asks again at once: the second finds nothing left to end, and must wait all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_ending_that_is_repeated_waits_for_a_gateway_that_is_cut_off() {
    let server = Postgres::start(Sync::Off);
    let lease = "[feed]\nlease = \"6s\"\n";
    let mut stack = begin(Builder::new().settings("auth", lease), &server.url()).await;
    let cable = with_cable(&mut stack).await;
    let [whole, cut] = [stack.file.gateways[0].clone(), stack.file.gateways[1].clone()];
    // A round whose lease is over before anything is asked again shows nothing, and another is run.
    eventually("what is let in meanwhile shows that it waits", async || {
        let ends = stack.token("alice", PASSWORD).await;
        has_lease(&stack, "gateway-1").await;
        becomes(&cut, EXACT, &ends, 200).await;
        cable.cut();
        let first = client().post(format!("{whole}/v1/logout")).bearer_auth(&ends.access_token);
        let first = first.timeout(Duration::from_millis(300)).send().await;
        if first.is_ok_and(|answer| answer.status() == StatusCode::NO_CONTENT) {
            // It had lost its lease before.
            assert_ne!(by_token(&cut, EXACT, &ends).await.status(), StatusCode::OK);
            cable.mend();
            return None;
        }
        let is_acknowledged = AtomicBool::new(false);
        let repeats = async {
            ended(&whole, &ends).await;
            is_acknowledged.store(true, Ordering::SeqCst);
        };
        // A hundred requests more once it is acknowledged.
        let hammers = async {
            let (mut let_in, mut late, mut further) = (0, 0, 0);
            while further < 100 {
                let is_late = is_acknowledged.load(Ordering::SeqCst);
                further += u32::from(is_late);
                match by_token(&cut, EXACT, &ends).await.status().as_u16() {
                    200 if is_late => late += 1,
                    200 => let_in += 1,
                    status => assert!(matches!(status, 401 | 503), "{status}"),
                }
            }
            (let_in, late)
        };
        let ((), (let_in, late)) = tokio::join!(repeats, hammers);
        assert_eq!(late, 0, "beside {let_in} before it was acknowledged");
        cable.mend();
        (let_in > 0).then_some(())
    })
    .await;
}

/// Whoever acknowledges must wait for the lease of whoever granted it, not for his own.
#[tokio::test(flavor = "multi_thread")]
async fn leases_of_two_lengths_in_one_deployment_are_each_waited_for() {
    let server = Postgres::start(Sync::Off);
    let mut stack = begin(Builder::new(), &server.url()).await;
    const SHORTER: Duration = Duration::from_secs(2);
    for (replica, lease) in [("auth-0", "2s"), ("auth-1", "5s")] {
        stack
            .reconfigure(replica, |table| {
                let feed = table["feed"].as_table_mut().unwrap();
                feed.insert("lease".to_owned(), lease.into());
            })
            .await;
    }
    // Who grants is the long one, who is asked to end is the short one.
    for (gateway, section, replica) in [("gateway-1", "feeds", 1), ("gateway-0", "peers", 0)] {
        stack
            .reconfigure(gateway, |table| {
                let all = table[section]["auth"]["endpoints"].as_array_mut().unwrap();
                let only = all[replica].clone();
                *all = vec![only];
            })
            .await;
    }
    has_lease(&stack, "gateway-1").await;
    let gateways = stack.file.gateways.clone();
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let ends = stack.token("alice", PASSWORD).await;
        for gateway in &gateways {
            becomes(gateway, EXACT, &ends, 200).await;
        }
        stack.signal("gateway-1", Signal::STOP);
        let asked = Instant::now();
        ended(&gateways[0], &ends).await;
        longest = longest.max(asked.elapsed());
        stack.signal("gateway-1", Signal::CONT);
        is_refused(&gateways[1], EXACT, &ends, 401).await;
    }
    // Who waited for a lease of his own length would have been back by then. In a later round gateway-1 may have none again yet.
    assert!(longest > SHORTER + SHORTER / 2, "{longest:?}");
}

/// A few times; `cargo xtask faults L04 --count 1000` does it often.
#[tokio::test(flavor = "multi_thread")]
async fn an_auth_service_that_starts_in_the_moment_of_an_ending_does_not_bring_it_back() {
    let server = Postgres::start(Sync::Off);
    let mut stack = begin(Builder::new(), &server.url()).await;
    let gateways = stack.file.gateways.clone();
    // What nobody ends is let in throughout: it is not the death that refuses.
    let stays = stack.token("alice", PASSWORD).await;
    for (round, victim) in ["auth-0", "auth-1", "auth-0"].into_iter().enumerate() {
        let ends = stack.token("alice", PASSWORD).await;
        for gateway in &gateways {
            becomes(gateway, EXACT, &ends, 200).await;
        }
        let dies = async {
            sleep(Duration::from_millis(5 * round as u64)).await;
            stack.kill(victim);
        };
        tokio::join!(dies, again_and_again(&gateways[round % 2], &ends));
        for gateway in &gateways {
            is_refused(gateway, EXACT, &ends, 401).await;
        }
        stack.replaced(victim).await;
        for gateway in &gateways {
            is_refused(gateway, EXACT, &ends, 401).await;
            becomes(gateway, EXACT, &stays, 200).await;
        }
    }
}

/// As [`ended`], also where the answer is lost with whoever was to give it.
async fn again_and_again(gateway: &str, tokens: &Tokens) {
    eventually("it is acknowledged", async || {
        let request = client().request(Method::POST, format!("{gateway}/v1/logout"));
        acknowledged(request.bearer_auth(&tokens.access_token).send().await.ok()?.status())
    })
    .await;
}
