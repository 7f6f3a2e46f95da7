//! Scenarios of the feed's specification, on real processes: an auth-service that is cut off from its database, left on a primary
//! that is none any more, or stopped before it committed what it was asked to end; a gateway that acknowledges late; tokens that are made while
//! something changes. Once an ending is acknowledged no gateway lets in what ended. Where nothing else shows that it could, a
//! route that says `stale_for` does, or a database that did not wait for its standby.

mod committing;
mod flood;
mod refreshing;
mod ways;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use chassis::clock::{Clock as _, SystemClock};
use futures_util::future::join_all;
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::json;
use servers::{Postgres, Sync};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::away::{AVAILABLE, EXACT, becomes, has_lease, is_refused, is_stale, with_routes};
use crate::cable::Cable;
use crate::endings::claims;
use crate::stack::{Builder, PASSWORD, Stack, Tokens, client, eventually};
use crate::taken_back::{SHORT, acknowledged, begin, by_token, ended, log_out};

use committing::{is_open, stopped};
use flood::{NARROW, flood, keep_busy};
use refreshing::{asks_policy_through_a_cable, refreshed_while};
use ways::{to_be_cut_off, with_two_primaries};

/// gateway-0 knows auth-0 only, gateway-1 auth-1.
pub async fn apart(stack: &mut Stack) {
    for replica in 0..2 {
        stack
            .reconfigure(&format!("gateway-{replica}"), |table| {
                for section in ["peers", "feeds"] {
                    let all = table[section]["auth"]["endpoints"].as_array_mut().unwrap();
                    let only = all[replica].clone();
                    *all = vec![only];
                }
            })
            .await;
    }
}

/// Each of these gateways lets it in on either route.
pub async fn is_let_in(gateways: &[String], tokens: &Tokens) {
    for gateway in gateways {
        becomes(gateway, EXACT, tokens, 200).await;
        becomes(gateway, AVAILABLE, tokens, 200).await;
    }
}

/// A login, at a gateway whose auth-service may have to be found again.
pub async fn surely_token(gateway: &str) -> Tokens {
    let body = json!({ "identifier": "alice", "password": PASSWORD, "mode": "token" });
    eventually("a login", async || {
        let answer = client().post(format!("{gateway}/v1/login")).json(&body).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    })
    .await
}

/// Requests out of which a zero counts, and callers that make them.
const HOSTILE: usize = 3_000;
const CALLERS: usize = 100;

/// Not now and then either.
pub async fn never_lets_in(gateway: &str, tokens: &Tokens) {
    refuses(gateway, tokens, HOSTILE).await;
}

/// So many requests are told 401, or 503. Together: each may wait for somebody who says nothing.
async fn refuses(gateway: &str, tokens: &Tokens, requests: usize) {
    let (left, http, mut callers) = (Arc::new(AtomicUsize::new(requests)), client(), JoinSet::new());
    for _ in 0..CALLERS.min(requests) {
        let left = Arc::clone(&left);
        let request = http.get(format!("{gateway}{EXACT}")).bearer_auth(&tokens.access_token);
        callers.spawn(async move {
            let mut told = 0;
            while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                let status = request.try_clone().unwrap().send().await.unwrap().status();
                assert!(
                    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE),
                    "{status}"
                );
                told += 1;
            }
            told
        });
    }
    assert_eq!(callers.join_all().await.into_iter().sum::<usize>(), requests);
}

/// Its neighbours still tell it what ended.
#[tokio::test(flavor = "multi_thread")]
async fn an_auth_service_that_is_cut_off_from_its_database_grants_no_lease() {
    let server = Postgres::start(Sync::Off);
    let (_stack, ways, gateways, [stays, ends]) = to_be_cut_off(&server).await;
    ways.database.cut();
    ended(&gateways[1], &ends).await;
    never_lets_in(&gateways[0], &ends).await;
    becomes(&gateways[0], EXACT, &stays, 503).await;
    becomes(&gateways[1], EXACT, &stays, 200).await;
    ways.database.mend();
    is_refused(&gateways[0], EXACT, &ends, 401).await;
    becomes(&gateways[0], EXACT, &stays, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_service_that_hears_from_nobody_grants_no_lease() {
    let server = Postgres::start(Sync::Off);
    let (_stack, ways, gateways, [stays, ends]) = to_be_cut_off(&server).await;
    ways.database.cut();
    ways.neighbours.cut();
    ended(&gateways[1], &ends).await;
    never_lets_in(&gateways[0], &ends).await;
    is_stale(&gateways[0], &ends).await;
    ways.database.mend();
    ways.neighbours.mend();
    is_refused(&gateways[0], EXACT, &ends, 401).await;
    // Until it has a lease it serves what is stale.
    eventually("it is told", async || {
        let status = by_token(&gateways[0], AVAILABLE, &ends).await.status();
        (status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    becomes(&gateways[0], EXACT, &stays, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_service_on_a_primary_that_is_none_any_more_grants_no_lease() {
    let (stack, ends, _servers, _ways) = with_two_primaries(true).await;
    let gateways = &stack.file.gateways;
    never_lets_in(&gateways[0], &ends).await;
    is_stale(&gateways[0], &ends).await;
    is_refused(&gateways[1], EXACT, &ends, 401).await;
}

/// What is not promised, and why a standby must be waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_did_not_wait_for_its_standby_goes_on_granting() {
    let (stack, ends, _servers, _ways) = with_two_primaries(false).await;
    let gateways = &stack.file.gateways;
    becomes(&gateways[0], EXACT, &ends, 200).await;
    is_refused(&gateways[1], EXACT, &ends, 401).await;
}

/// It is its database that ends what it left open, after some seconds. Until then whoever acknowledged it would be wrong: gateway-1
/// lets it in. That gateway-0 really hears of nothing meanwhile shows where it may be stale.
#[tokio::test(flavor = "multi_thread")]
async fn an_auth_service_that_stands_still_when_it_was_asked_for_an_ending_costs_nothing_but_time() {
    let server = Postgres::start(Sync::Off);
    let mut stack = with_routes(Builder::new().settings("auth", SHORT), &server.url()).await;
    apart(&mut stack).await;
    let gateways = stack.file.gateways.clone();
    let stays = surely_token(&gateways[0]).await;
    let (ends, mut first) = eventually("it stands still before it commits", async || {
        let ends = surely_token(&gateways[0]).await;
        is_let_in(&gateways, &ends).await;
        stopped(&stack, &server, &ends).await.map(|first| (ends, first))
    })
    .await;
    let mut let_in = 0;
    eventually("it is acknowledged", async || {
        let told = acknowledged(log_out(&gateways[1], &ends).await.status());
        let status = by_token(&gateways[1], EXACT, &ends).await.status();
        if is_open(&server) {
            assert_eq!(told, None, "nothing has ended yet");
            let_in += u32::from(status == StatusCode::OK);
        }
        told
    })
    .await;
    assert_ne!(let_in, 0, "nothing was held up");
    never_lets_in(&gateways[0], &ends).await;
    never_lets_in(&gateways[1], &ends).await;
    is_stale(&gateways[0], &ends).await;
    stack.signal("auth-0", Signal::CONT);
    acknowledged(first.join_next().await.unwrap().unwrap());
    for gateway in &gateways {
        is_refused(gateway, EXACT, &ends, 401).await;
        becomes(gateway, EXACT, &stays, 200).await;
    }
}

const LEASE: Duration = Duration::from_secs(2);
/// 0.95 of a lease, and longer than a gateway waits for an auth-service that it turns to.
const LATE: Duration = Duration::from_millis(1_900);
/// As many as rule R10 has patience for.
const HELD_UP: usize = 3;
/// From when they are asked for until nothing is held up any more.
const FAST_WITHIN: Duration = Duration::from_secs(5);

/// gateway-1 hears its feed through a cable.
async fn hears_through(cable: &mut Cable, stack: &mut Stack) {
    let config = fs::read_to_string(stack.state_dir().join("config/gateway-1.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    let mut urls = Vec::new();
    for url in config["feeds"]["auth"]["endpoints"].as_array().unwrap() {
        urls.push(toml::Value::from(cable.through(url.as_str().unwrap()).await));
    }
    stack.reconfigure("gateway-1", |table| table["feeds"]["auth"]["endpoints"] = urls.into()).await;
}

/// It renews as late as it acknowledges, so that there is always a lease of its that must be waited for. The other auth-service, to
/// which it then turns, it answers too late to be given one. A round in which it had left before it held up each of them shows
/// nothing, and another is run.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_acknowledges_late_holds_up_a_few_endings_and_then_none() {
    let server = Postgres::start(Sync::Off);
    let lease = format!("[feed]\nlease = \"{}s\"\n", LEASE.as_secs());
    let mut stack = with_routes(Builder::new().settings("auth", &lease), &server.url()).await;
    let mut cable = Cable::new();
    hears_through(&mut cable, &mut stack).await;
    let mut rounds = Vec::new();
    for _ in 0..6 {
        has_lease(&stack, "gateway-1").await;
        let mut ends = Vec::new();
        for _ in 0..=HELD_UP {
            ends.push(to_be_ended(&stack).await);
        }
        cable.delay(LATE);
        // Until no lease is left that it was given before.
        sleep(LEASE * 2).await;
        let (before, asked) = (held_back(&stack).await, Instant::now());
        let took = join_all(ends.iter().take(HELD_UP).map(|ends| ending_of(&stack, ends))).await;
        rounds.push(took.clone());
        if took.iter().any(|took| *took < LATE) {
            cable.mend();
            continue;
        }
        assert_ne!(held_back(&stack).await, before, "it goes on: {took:?}");
        let (later, next) = (asked.elapsed(), ending_of(&stack, &ends[HELD_UP]).await);
        assert!(next < LATE && later + next < FAST_WITHIN, "{took:?}, and {later:?} later: {next:?}");
        for _ in 0..5 {
            let took = ending_of(&stack, &to_be_ended(&stack).await).await;
            assert!(took < LATE, "it is held up again: {took:?}");
        }
        return;
    }
    panic!("it never held them up: {rounds:?}");
}

/// How often auth-services have held its grants back.
async fn held_back(stack: &Stack) -> u64 {
    let name = "latchkey_auth_feed_misconduct_total{what=\"held_back\"}";
    stack.metric("auth-0", name).await + stack.metric("auth-1", name).await
}

/// A token that gateway-0 lets in.
async fn to_be_ended(stack: &Stack) -> Tokens {
    let tokens = stack.token("alice", PASSWORD).await;
    becomes(&stack.file.gateways[0], EXACT, &tokens, 200).await;
    tokens
}

/// How long it took to be acknowledged at gateway-0. gateway-1 does not let it in from then on.
async fn ending_of(stack: &Stack, ends: &Tokens) -> Duration {
    let [one, other] = [&stack.file.gateways[0], &stack.file.gateways[1]];
    let asked = Instant::now();
    ended(one, ends).await;
    let took = asked.elapsed();
    refuses(other, ends, 20).await;
    took
}

/// It loses its lease, and asks. Afterwards it has everything, and holds nobody up.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_feed_is_throttled_under_load_recovers_by_itself() {
    let server = Postgres::start(Sync::Off);
    let mut stack = with_routes(Builder::new().settings("auth", SHORT), &server.url()).await;
    let mut cable = Cable::new();
    hears_through(&mut cable, &mut stack).await;
    let gateways = stack.file.gateways.clone();
    let administrator = stack.token("admin", &stack.admin_password()).await;
    let (stays, mut end) = (stack.token("alice", PASSWORD).await, Vec::new());
    for _ in 0..4 {
        end.push(stack.token("alice", PASSWORD).await);
    }
    for tokens in end.iter().chain([&stays]) {
        is_let_in(&gateways, tokens).await;
    }
    cable.throttle(NARROW);
    let is_over = Arc::new(AtomicBool::new(false));
    let busy = keep_busy(&gateways[1], &stays, &is_over);
    let meanwhile = async {
        let mut without_lease = 0;
        for ends in &end {
            sleep(Duration::from_secs(1)).await;
            ended(&gateways[0], ends).await;
            never_lets_in(&gateways[1], ends).await;
            let readyz = client().get(format!("{}/readyz?verbose", stack.file.operations["gateway-1"]));
            let said = readyz.send().await.unwrap().text().await.unwrap();
            without_lease += u32::from(said.contains("not ok: auth's feed"));
        }
        without_lease
    };
    let ((), without_lease) = tokio::join!(flood(&stack, &administrator), meanwhile);
    assert_ne!(without_lease, 0, "it kept up");
    cable.mend();
    // Under that load, too.
    has_lease(&stack, "gateway-1").await;
    is_over.store(true, Relaxed);
    busy.join_all().await;
    becomes(&gateways[1], EXACT, &stays, 200).await;
    for ends in &end {
        is_refused(&gateways[1], EXACT, ends, 401).await;
    }
    eventually("an ending waits for nobody", async || {
        let ends = to_be_ended(&stack).await;
        (ending_of(&stack, &ends).await < Duration::from_millis(500)).then_some(())
    })
    .await;
}

/// One that says what was before: a round in which policy-service was asked too late shows nothing, and another is run.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_made_while_a_role_changes_has_the_role_of_after() {
    let server = Postgres::start(Sync::Off);
    let mut stack = with_routes(Builder::new(), &server.url()).await;
    let cable = asks_policy_through_a_cable(&mut stack).await;
    stack.cli(&["role", "add", "app-admin", "document:read"]);
    let gateways = stack.file.gateways.clone();
    for verb in ["add", "remove"].repeat(2) {
        let opposite = if verb == "add" { "remove" } else { "add" };
        let tokens = eventually("it is made meanwhile", async || {
            let tokens = surely_token(&gateways[0]).await;
            let change = async || drop(stack.cli(&["grant", verb, "alice", "app-admin"]));
            let made = refreshed_while(&cable, &gateways[0], &tokens, change).await;
            let made = made.filter(|made| claims_role(&stack, made) == (verb == "remove"));
            if made.is_none() {
                stack.cli(&["grant", opposite, "alice", "app-admin"]);
            }
            made
        })
        .await;
        for gateway in &gateways {
            match verb {
                "add" => becomes(gateway, "/app/admin/x", &tokens, 200).await,
                _ => is_refused(gateway, "/app/admin/x", &tokens, 403).await,
            }
        }
        // One that is made now says what is, and that it is of a later version.
        let later = surely_token(&gateways[0]).await;
        assert_eq!(claims_role(&stack, &later), verb == "add");
        let version = |tokens| claims(&stack, tokens)["pv"].as_u64().unwrap();
        assert!(version(&tokens) < version(&later), "{verb}");
    }
}

fn claims_role(stack: &Stack, tokens: &Tokens) -> bool {
    let claims = claims(stack, tokens);
    claims["roles"].as_array().unwrap().iter().any(|role| role == "app-admin")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_took_longer_to_make_than_it_lives_is_good_for_nothing() {
    let server = Postgres::start(Sync::Off);
    let builder = Builder::new().settings("auth", "[token]\naccess_lifetime = \"1s\"\n");
    let builder = builder.settings("gateway", "[token]\nleeway = \"0s\"\n");
    let mut stack = begin(builder, &server.url()).await;
    let cable = asks_policy_through_a_cable(&mut stack).await;
    let gateways = stack.file.gateways.clone();
    let made = eventually("it is made", async || {
        let tokens = surely_token(&gateways[0]).await;
        // It counts in whole seconds: so that the next but one begins while it is made.
        let into_second = SystemClock.now().millisecond();
        sleep(Duration::from_millis((1_800 - u64::from(into_second)) % 1_000)).await;
        let pause = async || sleep(Duration::from_millis(1_200)).await;
        refreshed_while(&cable, &gateways[0], &tokens, pause).await
    })
    .await;
    for gateway in &gateways {
        assert_eq!(by_token(gateway, EXACT, &made).await.status(), StatusCode::UNAUTHORIZED);
    }
    // Made without a pause it is good, for a moment.
    eventually("it is let in", async || {
        let tokens = surely_token(&gateways[0]).await;
        (by_token(&gateways[0], EXACT, &tokens).await.status() == StatusCode::OK).then_some(())
    })
    .await;
}
