//! PostgreSQL under all services: restarted, killed, frozen, and ending our connections.

use std::time::Duration;

use servers::{Postgres, Sync};
use tokio::time::{Instant, sleep};

use crate::client::Care;
use crate::observe::{Observed, Plan, observe};
use crate::outcome::{Control, Outcome};
use crate::stack::Setup;

async fn run(
    name: &str,
    plan: &Plan,
    fault: impl AsyncFnOnce(&mut Postgres) -> anyhow::Result<()>,
) -> anyhow::Result<Observed> {
    let mut server = Postgres::start(Sync::On);
    let mut stack = Setup::new("2", &server.url(), &server.url())?.start(&plan.program).await?;
    observe(name, &mut stack, plan, Care::Full, async |_, _| fault(&mut server).await).await
}

fn judged(fault: &str, observed: &Observed) -> Outcome {
    let mut outcome = Outcome::of(fault, observed);
    outcome.nothing_lost();
    outcome.unavailable_within(observed, 600.0);
    outcome.at_most("recover_ms", observed.figures.recover_ms as f64, 3_000.0);
    outcome.must("the_fault_was_felt", observed.figures.err_pct > 0.0);
    outcome
}

pub async fn restarted(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let observed = run("F17a", &plan, async |server| {
        server.stop();
        server.restart();
        Ok(())
    })
    .await?;
    Ok(vec![judged("F17a", &observed)])
}

/// The control keeps sessions in a table without a log, which PostgreSQL empties when it comes back from a crash. (That it
/// should not wait for the disk, `synchronous_commit=off`, is not for the server to say: each connection of ours sees to it.)
pub async fn killed(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    async fn kill(server: &mut Postgres) -> anyhow::Result<()> {
        server.kill();
        server.restart();
        Ok(())
    }
    let observed = run("F17b", &plan, kill).await?;
    let mut outcome = judged("F17b", &observed);
    let control = run("F17b-control", &plan.for_control(), async |server| {
        // The one that refers to it first.
        server.psql(
            "ALTER TABLE session.former_secrets SET UNLOGGED; ALTER TABLE session.sessions SET UNLOGGED",
        );
        kill(server).await
    })
    .await?
    .figures;
    outcome.control = Control::judge(control.acked_lost > 0, format!("acked_lost:{}", control.acked_lost));
    Ok(vec![outcome])
}

pub async fn frozen(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let observed = run("F17c", &plan, async |server| {
        server.freeze();
        sleep(Duration::from_secs(10)).await;
        server.resume();
        Ok(())
    })
    .await?;
    Ok(vec![judged("F17c", &observed)])
}

pub async fn terminated(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let mut ended = 0;
    let observed = run("F17f", &plan, async |server| {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            let count = server.psql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = 'latchkey' AND pid <> pg_backend_pid()",
            );
            ended += count.parse::<u64>()?;
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    })
    .await?;
    let mut outcome = judged("F17f", &observed);
    outcome.extra("connections_ended", ended);
    outcome.must("connections_ended", ended > 0);
    Ok(vec![outcome])
}
