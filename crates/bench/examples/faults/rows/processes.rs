//! Our own processes: killed, and restarted one after another.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, test_kill_process};
use servers::{Postgres, Redis, Sync};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::client::Care;
use crate::ledger::{Entry, Op};
use crate::observe::{Observed, Plan, Served, observe};
use crate::outcome::{Control, Outcome};
use crate::stack::{Setup, Stack};

/// Half of it is the fault of F05, which lasts a minute.
pub const SECONDS_IN_GATE: u64 = 120;

pub async fn two_of_everything(plan: &Plan, server: &Postgres) -> anyhow::Result<Stack> {
    Setup::new("2", &server.url(), &server.url())?.start(&plan.program).await
}

async fn kill(name: &str, process: &str, stack: &mut Stack, plan: &Plan) -> anyhow::Result<Observed> {
    observe(name, stack, plan, Care::Full, async |stack, _| {
        stack.signal(process, Signal::KILL)?;
        stack.replaced(process).await
    })
    .await
}

/// F02. Leaving out whoever is away cannot be switched off. The control's gateways cannot do it either: each knows of one
/// auth-service only, one gateway of each, so that half of what is asked goes to the one that is away.
pub async fn auth_killed(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let server = Postgres::start(Sync::Off);
    let mut stack = two_of_everything(&plan, &server).await?;
    let observed = kill("F02", "auth-0", &mut stack, &plan).await?;
    let mut outcome = Outcome::of("F02", &observed);
    let by_auth = asked_of_auth(&observed);
    outcome.nothing_lost();
    outcome.extra("auth_unserved", by_auth);
    outcome.must("somebody_asked", by_auth.asked > 0);
    outcome.at_most("err_pct", observed.figures.err_pct, 1.0);
    outcome.at_most("auth_err_pct", by_auth.err_pct(), 1.0);
    outcome.at_most("recover_ms", observed.figures.recover_ms as f64, 2_000.0);
    outcome.control = Control::Skipped;
    if !plan.is_smoke {
        drop(stack);
        let server = Postgres::start(Sync::Off);
        let mut stack = two_of_everything(&plan, &server).await?;
        give_each_gateway_its_own(&mut stack).await?;
        let control = asked_of_auth(&kill("F02-control", "auth-0", &mut stack, &plan.for_control()).await?);
        let err_pct = control.err_pct();
        outcome.control = Control::judge(err_pct > 1.0, format!("auth_err_pct:{err_pct:.2}"));
    }
    Ok(vec![outcome])
}

/// Logins, refreshes and the ends of families: a session's end is session-service's, a call that has a token nobody's.
fn asked_of_auth(observed: &Observed) -> Served {
    observed.served_in_fault(|entry: &Entry| match entry.op {
        Op::Create | Op::Login | Op::Refresh => true,
        Op::End => entry.object.starts_with("family-"),
        _ => false,
    })
}

/// Gateway 0 asks auth-service 0 and no other, gateway 1 the other one.
async fn give_each_gateway_its_own(stack: &mut Stack) -> anyhow::Result<()> {
    for (replica, endpoint) in stack.file.services["auth"].clone().into_iter().enumerate() {
        let gateway = format!("gateway-{replica}");
        let path = stack.state().join(format!("config/{gateway}.toml"));
        let mut config: toml::Table = fs::read_to_string(&path)?.parse()?;
        config["peers"]["auth"]["endpoints"] = toml::Value::Array(vec![endpoint.into()]);
        fs::write(path, config.to_string())?;
        stack.signal(&gateway, Signal::TERM)?;
        stack.replaced(&gateway).await?;
    }
    Ok(())
}

/// F03, on each store that replicas can share. The control has two replicas with a memory each, which `up` refuses and
/// settings force.
pub async fn session_killed(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let stores: &[&str] = if plan.is_smoke { &["postgres"] } else { &["postgres", "redis", "sqlite"] };
    for store in stores {
        let server = (*store != "sqlite").then(|| Postgres::start(Sync::Off));
        let redis = (*store == "redis").then(Redis::start);
        let database = server.as_ref().map_or("sqlite".to_owned(), Postgres::url);
        let sessions = redis.as_ref().map_or(database.clone(), Redis::url);
        let mut stack = Setup::new("2", &database, &sessions)?.start(&plan.program).await?;
        let name = format!("F03-{store}");
        let observed = kill(&name, "session-0", &mut stack, &plan).await?;
        let mut outcome = Outcome::of("F03", &observed);
        // Of those alone who need what was killed.
        let gap_ms = observed.gap_ms(Op::Session);
        outcome.extra("store", store);
        outcome.extra("session_gap_ms", gap_ms);
        outcome.nothing_lost();
        outcome.at_most("err_pct", observed.figures.err_pct, 1.0);
        outcome.at_most("gap_ms", observed.figures.gap_ms as f64, 500.0);
        outcome.at_most("session_gap_ms", gap_ms as f64, 500.0);
        outcome.control = Control::Skipped;
        outcomes.push(outcome);
    }
    let refused = Setup::new("2", "sqlite", "memory")?.refused(&plan.program).await?;
    let is_refused =
        refused.is_some_and(|said| said.contains("--sessions memory is for one session-service"));
    for outcome in &mut outcomes {
        outcome.extra("memory_refused", is_refused);
        outcome.must("memory_refused", is_refused);
    }
    if !plan.is_smoke {
        let mut setup = Setup::new("2", "sqlite", "sqlite")?;
        setup.set("session", "[store]\nurl = \"memory\"\n")?;
        let mut stack = setup.start(&plan.program).await?;
        let control = kill("F03-control", "session-0", &mut stack, &plan.for_control()).await?.figures;
        let saw = format!("acked_lost:{}", control.acked_lost);
        for outcome in &mut outcomes {
            outcome.control = Control::judge(control.acked_lost > 0, &saw);
        }
    }
    Ok(outcomes)
}

/// F05. Never both of a pair: what both being away does is F04's.
pub async fn random_replica_killed(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let server = Postgres::start(Sync::Off);
    let mut stack = two_of_everything(&plan, &server).await?;
    let mut kills = 0;
    let observed = observe("F05", &mut stack, &plan, Care::Full, async |stack, world| {
        let until = Instant::now() + Duration::from_secs(plan.seconds / 2);
        while Instant::now() < until {
            stack.look_again()?;
            let names: Vec<String> = stack.file.operations.keys().cloned().collect();
            let ready = all_ready(stack).await?;
            let has_neighbour = |name: &String| {
                let pair = name.split('-').next().unwrap_or_default();
                ready.iter().filter(|other| other.split('-').next() == Some(pair)).count() == 2
            };
            let there: Vec<&String> = names.iter().filter(|name| has_neighbour(name)).collect();
            // One that has just come back is ready before its new number is told, and the former one is nobody's.
            if let Some(victim) = there.get(world.random(there.len()))
                && stack.signal(victim, Signal::KILL).is_ok()
            {
                kills += 1;
            }
            sleep(Duration::from_secs(2)).await;
        }
        let until = Instant::now() + Duration::from_secs(90);
        while all_ready(stack).await?.len() < stack.file.operations.len() {
            anyhow::ensure!(Instant::now() < until, "not all come back");
            sleep(Duration::from_millis(100)).await;
        }
        stack.look_again()
    })
    .await?;
    let mut outcome = Outcome::of("F05", &observed);
    outcome.nothing_lost();
    let fault = Duration::from_micros(observed.window.ends - observed.window.begins);
    outcome.extra("fault_s", fault.as_secs());
    outcome.extra("kills", kills);
    outcome.must("the_fault_was_felt", kills > 0);
    outcome.at_least("kills", kills, usize::try_from(plan.seconds / 8)?);
    outcome.at_most("err_pct", observed.figures.err_pct, 2.0);
    Ok(vec![outcome])
}

/// Those that say they are ready.
async fn all_ready(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let http = crate::client::http()?;
    let mut ready = Vec::new();
    for (name, operations) in &stack.file.operations {
        let asked = http.get(format!("{operations}/readyz")).timeout(Duration::from_secs(1)).send().await;
        if asked.is_ok_and(|answer| answer.status() == 200) {
            ready.push(name.clone());
        }
    }
    Ok(ready)
}

/// F06. The control is killed where the others are asked to stop.
pub async fn rolling_restart(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let server = Postgres::start(Sync::Off);
    let mut stack = two_of_everything(&plan, &server).await?;
    let mut told = Vec::new();
    let observed = observe("F06", &mut stack, &plan, Care::Full, async |stack, _| {
        for process in in_turn(&plan) {
            told.push(asked_to_stop(stack, &process).await?);
            stack.replaced(&process).await?;
        }
        Ok(())
    })
    .await?;
    let mut outcome = Outcome::of("F06", &observed);
    outcome.nothing_lost();
    let ends = stack.ends();
    let well = ends.iter().filter(|(_, how)| how == "exit status: 0").count();
    let not_ready_first = told.iter().filter(|told| told.is_unready_while_open).count();
    let slowest = told.iter().map(|told| told.took.as_millis()).max().unwrap_or(0);
    outcome.extra("restarted", told.len());
    outcome.extra("exit_0", well);
    outcome.extra("unready_while_open", not_ready_first);
    outcome.extra("slowest_stop_ms", slowest);
    outcome.must("exit_0", well == told.len() && ends.len() == told.len());
    outcome.must("unready_while_open", not_ready_first == told.len());
    // No matter of speed: also in a short run.
    outcome.must("err_pct", observed.figures.err_pct == 0.0);
    outcome.at_most("slowest_stop_ms", slowest as f64, 10_000.0);
    outcome.control = Control::Skipped;
    if !plan.is_smoke {
        drop(stack);
        let server = Postgres::start(Sync::Off);
        let mut stack = two_of_everything(&plan, &server).await?;
        let control =
            observe("F06-control", &mut stack, &plan.for_control(), Care::Full, async |stack, _| {
                for process in in_turn(&plan) {
                    stack.signal(&process, Signal::KILL)?;
                    stack.replaced(&process).await?;
                }
                Ok(())
            })
            .await?;
        let err_pct = control.figures.err_pct;
        outcome.control = Control::judge(err_pct > 0.0, format!("err_pct:{err_pct:.2}"));
    }
    Ok(vec![outcome])
}

/// In smoke one of each: a replica that ended is started again after 2 s.
fn in_turn(plan: &Plan) -> Vec<String> {
    let replicas = if plan.is_smoke { 1 } else { 2 };
    let services = ["auth", "session", "policy", "gateway"];
    services.iter().flat_map(|service| (0..replicas).map(move |at| format!("{service}-{at}"))).collect()
}

struct Told {
    /// `/readyz` answered 503 while the port it serves on still accepted connections.
    is_unready_while_open: bool,
    took: Duration,
}

async fn asked_to_stop(stack: &Stack, process: &str) -> anyhow::Result<Told> {
    let readyz = format!("{}/readyz", stack.file.operations[process]);
    let (service, replica) = process.split_once('-').unwrap_or((process, "0"));
    let replica: usize = replica.parse()?;
    let serves = if service == "gateway" {
        &stack.file.gateways[replica]
    } else {
        &stack.file.services[service][replica]
    };
    let address = serves.rsplit('/').next().unwrap_or_default().to_owned();
    let pid = Pid::from_raw(stack.file.pids[process]);
    let http = crate::client::http()?;
    let began = Instant::now();
    stack.signal(process, Signal::TERM)?;
    let mut is_unready_while_open = false;
    while pid.is_some_and(|pid| test_kill_process(pid).is_ok()) {
        anyhow::ensure!(began.elapsed() < Duration::from_secs(60), "{process} does not stop");
        if !is_unready_while_open {
            let said = http.get(&readyz).timeout(Duration::from_secs(1)).send().await;
            let is_unready = said.is_ok_and(|answer| answer.status() == 503);
            is_unready_while_open = is_unready && TcpStream::connect(&address).await.is_ok();
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(Told { is_unready_while_open, took: began.elapsed() })
}
