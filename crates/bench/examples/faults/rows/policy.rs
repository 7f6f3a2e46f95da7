//! F04: policy-service, one replica of two and then both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::json;
use servers::{Postgres, Sync};
use tokio::time::{Instant, sleep};

use crate::admin::Admin;
use crate::client::{Care, DEADLINE, GRACE, Repeat};
use crate::ledger::Op;
use crate::observe::{Observed, Plan, observe};
use crate::outcome::{Control, Outcome};
use crate::stack::{Setup, Stack};
use crate::world::{PASSWORD, World};

const READER: &str = "reader";
const LEASE: Duration = Duration::from_secs(1);
/// `up` starts what died again after 2 s: so long both are certainly away.
const BOTH_AWAY: Duration = Duration::from_millis(1_900);
/// So often one of two is killed: it is away for 2 s, and for longer each time.
const KILLS: usize = 2;
/// After each change that is acknowledged meanwhile, so many calls at each gateway.
const CALLS: usize = 10;
/// Of requests while one is away: those that it had in hand.
const ONE_AWAY_PCT: f64 = 1.0;

#[derive(Default)]
struct Seen {
    /// Calls by permission while one replica was away, and those of them that were not served.
    one_away: (u64, u64),
    changes: u64,
    /// When that was, in the ledger's time.
    one_away_from: u64,
    one_away_to: u64,
    /// Requests while both were away, on a route with a permission.
    both_away: u64,
    /// Of these, answered with success.
    served_without_policy: u64,
    /// Routes that tell roles, answered with success when the lease was over.
    served_without_lease: u64,
    public_unserved: u64,
    acked_revision: u64,
    answers_after: u64,
    /// Answers from after the restart that were older than what had been acknowledged.
    old_answers: u64,
}

/// The control's routes for hostile requests forget to ask for the permission: `fail_open` must show it.
pub async fn replicas_killed(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let (observed, seen) = run("F04", &plan).await?;
    let mut outcome = Outcome::of("F04", &observed);
    outcome.nothing_lost();
    let (asked, unserved) = seen.one_away;
    outcome.extra("one_away_unserved", format!("{unserved}/{asked}"));
    // The background, and these calls.
    let valid = [Op::Session, Op::Bearer, Op::Create, Op::Login, Op::Refresh, Op::End];
    let meanwhile = observed.served(&valid, seen.one_away_from, seen.one_away_to);
    outcome.extra("one_away_errors", meanwhile);
    outcome.extra("changes", seen.changes);
    outcome.extra("both_away_asked", seen.both_away);
    outcome.extra("acked_revision", seen.acked_revision);
    outcome.extra("answers_after", seen.answers_after);
    for (name, count) in [
        ("served_without_policy", seen.served_without_policy),
        ("served_without_lease", seen.served_without_lease),
        ("public_unserved", seen.public_unserved),
        ("old_answers", seen.old_answers),
    ] {
        outcome.extra(name, count);
        outcome.must(name, count == 0);
    }
    outcome.must("the_fault_was_felt", seen.both_away > 0 && seen.answers_after > 0);
    outcome.at_least("one_away_asked", usize::try_from(asked)?, 100);
    outcome.must("one_away_asked", meanwhile.asked as u64 > asked);
    outcome.at_most("one_away_unserved_pct", 100.0 * unserved as f64 / asked.max(1) as f64, ONE_AWAY_PCT);
    outcome.at_most("one_away_err_pct", meanwhile.err_pct(), ONE_AWAY_PCT);
    outcome.at_most("recover_ms", observed.figures.recover_ms as f64, 2_000.0);
    let (control, _) = run("F04-control", &Plan { is_open: true, ..plan.for_control() }).await?;
    let fail_open = control.figures.fail_open;
    outcome.control = Control::judge(fail_open > 0, format!("fail_open:{fail_open}"));
    Ok(vec![outcome])
}

async fn run(name: &str, plan: &Plan) -> anyhow::Result<(Observed, Seen)> {
    let server = Postgres::start(Sync::Off);
    let mut setup = Setup::new("2", &server.url(), &server.url())?;
    setup.set("policy", &format!("[feed]\nlease = \"{}ms\"\n", LEASE.as_millis()))?;
    let mut stack = setup.start(&plan.program).await?;
    let admin = Admin::of(&stack, GRACE).await?;
    let mut seen = Seen::default();
    let observed = observe(name, &mut stack, plan, Care::Full, async |stack, world| {
        world.register(READER).await?;
        change(&admin, &mut seen).await?;
        admin.gives(READER, "reader").await?;
        let token = world.surely_family_of(READER, PASSWORD).await?.access_token;
        one(stack, world, &admin, &token, &mut seen).await?;
        both(stack, world, &admin, &token, &mut seen).await
    })
    .await?;
    Ok((observed, seen))
}

/// A role is written; its revision is what nobody may answer less than from here on.
async fn change(admin: &Admin, seen: &mut Seen) -> anyhow::Result<()> {
    let body = json!({ "permissions": ["document:read", format!("document:act{}", seen.changes)] });
    let written = admin.does(Method::PUT, "/v1/admin/roles/reader", Some(&body)).await?;
    seen.changes += 1;
    seen.acked_revision = seen.acked_revision.max(written["revision"].as_u64().unwrap_or(0));
    Ok(())
}

async fn one(
    stack: &mut Stack,
    world: &World,
    admin: &Admin,
    token: &str,
    seen: &mut Seen,
) -> anyhow::Result<()> {
    seen.one_away_from = world.ledger.now();
    for _ in 0..KILLS {
        stack.signal("policy-1", Signal::KILL)?;
        let is_back = AtomicBool::new(false);
        let calling = async {
            while !is_back.load(Ordering::Relaxed) {
                change(admin, seen).await?;
                for _ in 0..CALLS {
                    for gateway in 0..world.clients.replicas() {
                        let status = world.calls(gateway, "/app/documents/1", token, READER).await;
                        seen.one_away.0 += 1;
                        seen.one_away.1 += u64::from(status != Some(200));
                    }
                }
            }
            anyhow::Ok(())
        };
        let replaced = async {
            let replaced = stack.replaced("policy-1").await;
            is_back.store(true, Ordering::Relaxed);
            replaced
        };
        tokio::try_join!(replaced, calling)?;
    }
    seen.one_away_to = world.ledger.now();
    // What was sent by then is answered before both are away.
    sleep(DEADLINE).await;
    Ok(())
}

async fn both(
    stack: &mut Stack,
    world: &World,
    admin: &Admin,
    token: &str,
    seen: &mut Seen,
) -> anyhow::Result<()> {
    let replicas = ["policy-0", "policy-1"];
    let pids = replicas.map(|name| stack.file.pids.get(name).copied().and_then(Pid::from_raw));
    let killed = Instant::now();
    for name in replicas {
        stack.signal(name, Signal::KILL)?;
    }
    while pids.iter().flatten().any(|pid| test_kill_process(*pid).is_ok()) {
        sleep(Duration::from_millis(1)).await;
    }
    while killed.elapsed() < BOTH_AWAY {
        let is_over = killed.elapsed() > LEASE + LEASE / 10;
        for gateway in 0..world.clients.replicas() {
            let status = world.calls(gateway, "/app/documents/1", token, READER).await;
            let told = world.calls(gateway, "/app/token/x", token, READER).await;
            if killed.elapsed() < BOTH_AWAY {
                seen.both_away += 1;
                seen.served_without_policy += u64::from(status == Some(200));
                seen.served_without_lease += u64::from(is_over && told == Some(200));
            }
        }
        let public = |http: &reqwest::Client, url: &str| http.get(format!("{url}/app/public/x"));
        let (answer, _) = world.clients.send(DEADLINE, Repeat::Safe, public).await;
        seen.public_unserved += u64::from(!answer.is_ok_and(|answer| answer.is_success()));
    }
    let question = json!({ "subject": { "kind": "user", "id": READER }, "permission": "document:read" });
    let mut left: Vec<&str> = replicas.to_vec();
    let before = stack.file.pids.clone();
    while !left.is_empty() {
        let (answer, _) = admin.asks(Method::POST, "/v1/admin/check", Some(&question)).await;
        if let Ok(answer) = answer
            && answer.is_success()
        {
            let said = answer.json();
            let is_old = said["revision"].as_u64() < Some(seen.acked_revision) || said["allowed"] != true;
            seen.answers_after += 1;
            seen.old_answers += u64::from(is_old);
        }
        stack.look_again()?;
        left.retain(|name| stack.file.pids.get(*name) == before.get(*name));
        anyhow::ensure!(killed.elapsed() < Duration::from_secs(90), "{left:?} do not come back");
    }
    Ok(())
}
