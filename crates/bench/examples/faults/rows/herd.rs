//! F29: many more logins than can be hashed. Those who are in must not notice.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use servers::{Postgres, Sync};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::{Care, Clients, DEADLINE, GRACE, LOGIN_DEADLINE, Repeat};
use crate::figures::{Window, judge, p99};
use crate::ledger::{Entry, Ledger, Op};
use crate::observe::Plan;
use crate::outcome::{Control, Outcome};
use crate::stack::Setup;
use crate::world::{PASSWORD, World, is_of_another};

const HERD: usize = 500;
/// One password's memory, and what the process may hold besides.
const HASH_MB: u64 = 19;
const BESIDES_MB: u64 = 100;
/// Hashes that one core does in a second.
const HASHES: f64 = 59.0;

struct Seen {
    entries: Vec<Entry>,
    window: Window,
    rss_mb: u64,
    panics: u64,
}

pub async fn of_logins(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let cores = std::thread::available_parallelism()?.get();
    // As auth-service has it by itself.
    let threads = cores.saturating_sub(1).max(1);
    let seen = run("F29", &plan, None).await?;
    let mut figures = judge(&seen.entries, seen.window);
    figures.panics = seen.panics;
    let in_fault = |op: Op| {
        let Window { begins, ends, .. } = seen.window;
        seen.entries.iter().filter(move |entry| entry.op == op && (begins..ends).contains(&entry.t_send))
    };
    let took = |entry: &Entry| entry.t_ack.map(|answered| (answered - entry.t_send) / 1_000);
    let sessions: Vec<&Entry> = in_fault(Op::Session).collect();
    let failed = sessions.iter().filter(|entry| !entry.is_success()).count();
    // Of those who are in: a login that is told to come back is no error here.
    figures.err_pct = 100.0 * failed as f64 / sessions.len().max(1) as f64;
    figures.p99_ms = p99(sessions.iter().filter_map(|entry| took(entry)).collect());
    // Of the same calls: a login before the herd hashes, and would be the 99th percentile of all.
    let before =
        seen.entries.iter().filter(|entry| entry.op == Op::Session && entry.t_send < seen.window.begins);
    figures.baseline_p99_ms = p99(before.filter_map(took).collect());
    let herd = || in_fault(Op::Create).chain(in_fault(Op::Wrong));
    let turned_away: Vec<u64> =
        herd().filter(|entry| matches!(entry.status, Some(429 | 503))).filter_map(took).collect();
    let hashed = herd().filter(|entry| matches!(entry.status, Some(200 | 401))).count();
    let seconds = (seen.window.ends - seen.window.begins) as f64 / 1e6;
    let goodput = hashed as f64 / seconds;

    let mut outcome = Outcome::new("F29", figures.clone());
    outcome.extra("herd", HERD);
    outcome.extra("hashed_per_s", format!("{goodput:.1}"));
    outcome.extra("turned_away", turned_away.len());
    outcome.extra("turned_away_p99_ms", p99(turned_away.clone()));
    outcome.extra("auth_rss_max_mb", seen.rss_mb);
    outcome.must("some_were_turned_away", !turned_away.is_empty());
    let limit_mb = threads as u64 * HASH_MB + BESIDES_MB;
    outcome.must("auth_rss_max_mb", seen.rss_mb <= limit_mb);
    outcome.at_most("turned_away_p99_ms", p99(turned_away) as f64, 100.0);
    outcome.at_most("p99_ms", figures.p99_ms as f64, 3.0 * figures.baseline_p99_ms as f64);
    outcome.at_most("err_pct", figures.err_pct, 1.0);
    outcome.at_most("hashed_per_s_missing", HASHES * cores as f64 / 2.0 - goodput, 0.0);
    let control =
        run("F29-control", &plan.for_control(), Some("[hashing]\nthreads = 16\nqueue = 10000\n")).await?;
    outcome.control =
        Control::judge(control.rss_mb > limit_mb, format!("auth_rss_max_mb:{}", control.rss_mb));
    Ok(vec![outcome])
}

/// A third of the time nothing but calls, then the herd too.
async fn run(name: &str, plan: &Plan, hashing: Option<&str>) -> anyhow::Result<Seen> {
    std::fs::create_dir_all(&plan.folder)?;
    let server = Postgres::start(Sync::Off);
    let mut setup = Setup::new("1", &server.url(), &server.url())?;
    if let Some(hashing) = hashing {
        setup.set("auth", hashing)?;
    }
    let stack = setup.start(&plan.program).await?;
    let gateways = [(stack.file.gateways[0].clone(), stack.file.operations["gateway-0"].clone())];
    let ledger = Ledger::open(&plan.folder.join(format!("{name}.jsonl")))?;
    let world = World::new(ledger, Clients::new(&gateways, Care::None, GRACE)?, plan.seed);
    world.seed(20, 0).await?;

    let whole = Duration::from_secs(plan.seconds);
    let until = Instant::now() + whole;
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        calls.spawn(call(Arc::clone(&world), until, Duration::from_millis(100)));
    }
    sleep(whole / 3).await;
    let begins = world.ledger.now();
    let mut herd = JoinSet::new();
    for _ in 0..HERD {
        herd.spawn(log_in(Arc::clone(&world), until));
    }
    let mut rss_mb = 0;
    while Instant::now() < until {
        rss_mb = stack.resources("auth").into_iter().chain([rss_mb]).max().unwrap_or(0);
        sleep(Duration::from_millis(100)).await;
    }
    let ends = world.ledger.now();
    while let Some(ended) = herd.join_next().await {
        ended?;
    }
    while let Some(ended) = calls.join_next().await {
        ended?;
    }
    let window = Window { begins, ends, load_ends: ends };
    Ok(Seen { entries: world.ledger.entries(), window, rss_mb, panics: stack.panics() })
}

async fn call(world: Arc<World>, until: Instant, pause: Duration) {
    while Instant::now() < until {
        let session = {
            let pools = world.pools();
            pools.sessions.get(world.random(pools.sessions.len())).cloned()
        };
        let Some(session) = session else { return };
        let t_send = world.ledger.now();
        let request = |http: &reqwest::Client, url: &str| {
            http.get(format!("{url}/app/session/x")).header("cookie", &session.cookie)
        };
        let sent = world.clients.send(DEADLINE, Repeat::NotSafe, request).await;
        world.note(Op::Session, &session.id, t_send, sent, |answer, entry| {
            entry.wrong_user = is_of_another(answer, &session.owner);
        });
        sleep(pause).await;
    }
}

/// Right and wrong in turn; whoever is turned away comes back when told.
async fn log_in(world: Arc<World>, until: Instant) {
    let mut is_right = world.random(2) == 0;
    while Instant::now() < until {
        let t_send = world.ledger.now();
        let (op, name, password) = if is_right {
            (Op::Create, world.user(), PASSWORD.to_owned())
        } else {
            (Op::Wrong, format!("ghost-{}", world.random(1_000_000)), format!("wrong {PASSWORD}"))
        };
        let body = json!({ "identifier": name, "password": password, "mode": "session" });
        let login = |http: &reqwest::Client, url: &str| http.post(format!("{url}/v1/login")).json(&body);
        let sent = world.clients.send(LOGIN_DEADLINE, Repeat::NotSafe, login).await;
        let answer = world.note(op, "", t_send, sent, |_, _| ());
        let told = answer.and_then(|answer| answer.headers.get("retry-after")?.to_str().ok()?.parse().ok());
        sleep(Duration::from_millis(told.map_or(20, |seconds: u64| 1_000 * seconds.min(5)))).await;
        is_right = !is_right;
    }
}
