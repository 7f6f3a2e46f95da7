//! Scenarios of the feed's specification, on real processes: an auth-service that is cut off from its database, left on a primary
//! that is none any more, or stopped when it was asked to end something; a gateway that acknowledges late; tokens that are made while
//! something changes. Once an ending is acknowledged no gateway lets in what ended. Where nothing else shows that it could, a
//! route that says `stale_for` does, or a database that did not wait for its standby.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use chassis::clock::{Clock as _, SystemClock};
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

/// auth-0's way to its database, and the others' way to ask it whether an ending holds there.
struct Ways {
    database: Cable,
    neighbours: Cable,
}

impl Ways {
    async fn of_auth_0(stack: &mut Stack, server: &Postgres) -> Ways {
        let (mut database, mut neighbours) = (Cable::new(), Cable::new());
        let here = format!("127.0.0.1:{}", server.port());
        let through = database.through(&format!("tcp://{here}")).await;
        let store = server.url().replace(&here, through.trim_start_matches("tcp://"));
        let config = fs::read_to_string(stack.state_dir().join("config/gateway-0.toml")).unwrap();
        let config: toml::Table = config.parse().unwrap();
        let feed = config["feeds"]["auth"]["endpoints"][0].as_str().unwrap();
        let feed = neighbours.through(feed).await;
        stack
            .reconfigure("auth-0", |table| {
                table["store"]["url"] = store.into();
                table["feed"].as_table_mut().unwrap().insert("advertise".to_owned(), feed.into());
            })
            .await;
        Ways { database, neighbours }
    }
}

/// A stack whose auth-0 can be cut off, its gateways, and two tokens that both of them let in.
async fn to_be_cut_off(server: &Postgres) -> (Stack, Ways, Vec<String>, [Tokens; 2]) {
    let mut stack = with_routes(Builder::new().settings("auth", SHORT), &server.url()).await;
    let ways = Ways::of_auth_0(&mut stack, server).await;
    apart(&mut stack).await;
    let tokens = [stack.token("alice", PASSWORD).await, stack.token("alice", PASSWORD).await];
    let gateways = stack.file.gateways.clone();
    for token in &tokens {
        is_let_in(&gateways, token).await;
    }
    (stack, ways, gateways, tokens)
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

/// A stack whose auth-services have a database of their own, whose standby became a primary that auth-1 has gone to. auth-0
/// does not know and is not told. Also a token that both gateways had let in, and that auth-1 has said to have ended.
async fn with_two_primaries(is_waited_for: bool) -> (Stack, Tokens, [Postgres; 3], Ways) {
    let (shared, deposed) = (Postgres::start(Sync::Off), Postgres::start(Sync::Off));
    let store = format!("[store]\nurl = \"{}\"\n", deposed.url());
    let builder = Builder::new().settings("auth", &format!("{SHORT}{store}"));
    let mut stack = with_routes(builder, &shared.url()).await;
    let ways = Ways::of_auth_0(&mut stack, &deposed).await;
    apart(&mut stack).await;
    let promoted = deposed.standby(is_waited_for);
    let ends = stack.token("alice", PASSWORD).await;
    let gateways = stack.file.gateways.clone();
    is_let_in(&gateways, &ends).await;
    ways.neighbours.cut();
    promoted.follows(&deposed);
    promoted.promote();
    let config = stack.state_dir().join("config/auth-1.toml");
    let moved = fs::read_to_string(&config).unwrap().replace(&deposed.url(), &promoted.url());
    fs::write(&config, moved).unwrap();
    // Asked to stop it would first say so in a database that answers nothing.
    stack.kill("auth-1");
    stack.replaced("auth-1").await;
    ended(&gateways[1], &ends).await;
    (stack, ends, [shared, deposed, promoted], ways)
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

/// Each round a little later. That gateway-0 really hears of nothing meanwhile shows where it may be stale.
#[tokio::test(flavor = "multi_thread")]
async fn an_auth_service_that_stands_still_when_it_was_asked_for_an_ending_costs_nothing_but_time() {
    let server = Postgres::start(Sync::Off);
    let mut stack = with_routes(Builder::new().settings("auth", SHORT), &server.url()).await;
    apart(&mut stack).await;
    let gateways = stack.file.gateways.clone();
    let mut stale = 0;
    for round in 0..4 {
        let ends = surely_token(&gateways[0]).await;
        is_let_in(&gateways, &ends).await;
        let (gateway, its) = (gateways[0].clone(), ends.clone());
        let mut first = JoinSet::new();
        first.spawn(async move { log_out(&gateway, &its).await.status() });
        sleep(Duration::from_millis(2 * round)).await;
        stack.signal("auth-0", Signal::STOP);
        ended(&gateways[1], &ends).await;
        never_lets_in(&gateways[0], &ends).await;
        never_lets_in(&gateways[1], &ends).await;
        stale += u32::from(by_token(&gateways[0], AVAILABLE, &ends).await.status() == StatusCode::OK);
        stack.signal("auth-0", Signal::CONT);
        acknowledged(first.join_next().await.unwrap().unwrap());
        for gateway in &gateways {
            is_refused(gateway, EXACT, &ends, 401).await;
        }
    }
    assert_ne!(stale, 0, "it heard of each before it stood still");
}

const LEASE: Duration = Duration::from_secs(4);
/// More than a quarter of a lease, from which on it counts, and than a gateway waits for an auth-service that it turns to.
const LATE: Duration = Duration::from_secs(2);
/// So many steps until it is as late as that: all at once would look like silence.
const STEPS: u32 = 20;

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

/// What it may hold up: three, and what is ended before its last lease is over. The other auth-service, to which it then turns, it
/// answers too late to be given one. On a machine that is too slow it gives its connection up before anything is held up: then it
/// begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_acknowledges_late_holds_up_a_few_endings_and_then_none() {
    let server = Postgres::start(Sync::Off);
    let lease = format!("[feed]\nlease = \"{}s\"\n", LEASE.as_secs());
    let mut stack = with_routes(Builder::new().settings("auth", &lease), &server.url()).await;
    let mut cable = Cable::new();
    hears_through(&mut cable, &mut stack).await;
    // What counts against it is remembered for a minute, also from one round to the next.
    let mut took = Vec::new();
    for round in 1..=3 {
        has_lease(&stack, "gateway-1").await;
        for step in 1..=STEPS {
            cable.delay(LATE * step / STEPS);
            sleep(LEASE / 10).await;
        }
        while held_back(&stack).await == 0 && took.len() < 6 * round {
            took.push(ending_of(&stack).await);
        }
        if held_back(&stack).await == 0 {
            cable.mend();
            continue;
        }
        assert!(took.iter().filter(|took| **took > LATE / 2).count() >= 3, "{took:?}");
        sleep(LEASE).await;
        for _ in 0..5 {
            let took = ending_of(&stack).await;
            assert!(took < LATE / 2, "it is held up again: {took:?}");
        }
        return;
    }
    panic!("it was never held back: {took:?}");
}

/// How often auth-services have held its grants back.
async fn held_back(stack: &Stack) -> u64 {
    let name = "latchkey_auth_feed_misconduct_total{what=\"held_back\"}";
    stack.metric("auth-0", name).await + stack.metric("auth-1", name).await
}

/// How long it took to be acknowledged at gateway-0. gateway-1 does not let it in from then on.
async fn ending_of(stack: &Stack) -> Duration {
    let ends = stack.token("alice", PASSWORD).await;
    let gateways = &stack.file.gateways;
    becomes(&gateways[0], EXACT, &ends, 200).await;
    let asked = Instant::now();
    ended(&gateways[0], &ends).await;
    let took = asked.elapsed();
    refuses(&gateways[1], &ends, 20).await;
    took
}

/// Bytes a second, and endings: many more than fit through.
const NARROW: u32 = 512;
const FLOOD: u32 = 1_000;
const AT_ONCE: usize = 64;
/// Callers of a gateway that is to be busy.
const BUSY: usize = 16;

/// An ending that is acknowledged, of a token that nobody has.
async fn ending_of_nothing(url: String, administrator: String) {
    let http = client();
    loop {
        let answer = http.delete(&url).bearer_auth(&administrator).send().await.unwrap();
        if acknowledged(answer.status()).is_some() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn flood(stack: &Stack, administrator: &Tokens) {
    let mut under_way = JoinSet::new();
    for number in 0..FLOOD {
        if under_way.len() == AT_ONCE {
            under_way.join_next().await.unwrap().unwrap();
        }
        let url = format!("{}/v1/admin/tokens/{number:026}", stack.internal());
        under_way.spawn(ending_of_nothing(url, administrator.access_token.clone()));
    }
    under_way.join_all().await;
}

/// Requests with a token that stays good, each caller's one after another, until it is over and each is let in.
fn keep_busy(gateway: &str, tokens: &Tokens, is_over: &Arc<AtomicBool>) -> JoinSet<()> {
    let (http, mut callers) = (client(), JoinSet::new());
    for _ in 0..BUSY {
        let request = http.get(format!("{gateway}{EXACT}")).bearer_auth(&tokens.access_token);
        let is_over = Arc::clone(is_over);
        callers.spawn(async move {
            let mut status = StatusCode::SERVICE_UNAVAILABLE;
            while !is_over.load(Relaxed) || status != StatusCode::OK {
                status = request.try_clone().unwrap().send().await.unwrap().status();
                assert!(matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE), "{status}");
            }
        });
    }
    callers
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
            without_lease += u32::from(said.contains("no lease"));
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
        (ending_of(&stack).await < Duration::from_millis(500)).then_some(())
    })
    .await;
}

/// auth-0 hears policy-service through a cable, and gateway-0 has its tokens from auth-0.
async fn asks_policy_through_a_cable(stack: &mut Stack) -> Cable {
    let mut cable = Cable::new();
    let config = fs::read_to_string(stack.state_dir().join("config/auth-0.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    let mut urls = Vec::new();
    for url in config["peers"]["policy"]["endpoints"].as_array().unwrap() {
        urls.push(toml::Value::from(cable.through(url.as_str().unwrap()).await));
    }
    stack.reconfigure("auth-0", |table| table["peers"]["policy"]["endpoints"] = urls.into()).await;
    apart(stack).await;
    cable
}

/// Refreshes over a cable whose answers are held back while `meanwhile` is done. `None`: it took so long that auth-service gave up.
async fn refreshed_while(
    cable: &Cable,
    gateway: &str,
    tokens: &Tokens,
    meanwhile: impl AsyncFnOnce(),
) -> Option<Tokens> {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "first-party"),
        ("refresh_token", &tokens.refresh_token),
    ];
    let request = client().post(format!("{gateway}/oauth2/token")).form(&form).send();
    cable.mute();
    let change = async {
        // It asks for the roles as they are before the change.
        sleep(Duration::from_millis(200)).await;
        meanwhile().await;
        cable.mend();
    };
    let (answer, ()) = tokio::join!(request, change);
    answer.unwrap().error_for_status().ok()?.json().await.ok()
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
