//! `latchkey-bench revoke`: from the request that takes a token back to the answer that no gateway accepts it any more, on
//! three gateways and two replicas of auth- and policy-service over PostgreSQL, while every gateway serves other tokens. Each
//! revoked token is presented to every gateway as soon as the answer is there; what is accepted then is counted.
//!
//! The floor that it is measured against is taken beside each of them: a flush of the disk, a commit, and two gRPC echoes.
//! While a gateway stands still an ending waits for what is left of its lease, and no longer.

mod background;
mod beside;
mod clients;
mod suspended;
mod without;

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use servers::{Postgres, Sync};
use tokio::time::MissedTickBehavior;

use self::{
    background::Background,
    beside::{Beside, Floor},
    clients::{Application, Gateway},
    suspended::Suspended,
    without::{Without, without},
};
use crate::{
    floor::{self, Commits, Flushes, Spread},
    gateway::ours::Stack,
    neighbour::Neighbours,
    process::{self, Machine},
    report::{milliseconds, percentile},
};

/// The median of an ending, in units of one commit and two echoes.
const GATE: f64 = 3.0;
/// A machine with more to do than this share of its time says little about who waits.
const MOST_BUSY: f64 = 0.6;
/// Tokens and gateways out of which a zero counts.
const FEWEST: usize = 3_000;
const FEWEST_GATEWAYS: usize = 3;
/// From one revocation to the next, at least: what is measured is who waits for whom, not who has a core.
const PACE: Duration = Duration::from_millis(20);
/// What the stack is given; the default too.
const LEASE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct Options {
    /// Tokens that are taken back with everybody there
    #[arg(long, default_value_t = 3000)]
    revocations: usize,
    /// Tokens that are taken back while one gateway is stopped by a signal, and while it is suspended by its control group
    #[arg(long, default_value_t = 40)]
    stopped: usize,
    /// Gateways
    #[arg(long, default_value_t = 3)]
    gateways: usize,
    /// Other requests a second at each gateway, whatever the answers take
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Fail above the gate
    #[arg(long)]
    gate: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(
        options.gateways >= 2 && options.revocations > 0,
        "--gateways: at least two; --revocations: at least one"
    );
    ensure!(
        !options.gate || (options.gateways >= FEWEST_GATEWAYS && options.revocations >= FEWEST),
        "--gate: at least {FEWEST_GATEWAYS} gateways and {FEWEST} revocations"
    );
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::start(Sync::On);
    let state = folder.path().join("stack");
    let replicas = format!("auth=2,policy=2,session=1,gateway={}", options.gateways);
    let arguments = ["--database", &postgres.url(), "--sessions", "memory", "--replicas", &replicas];
    give_leases(&state)?;
    let stack = Stack::start_with(&state, &arguments)?;
    let disk = floor::flush(folder.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let neighbours = Neighbours::of(&state.join("certificates"))?;
        let auth = neighbours.channel(&stack.service("auth")?, "auth")?;
        let application = Application::register(&auth).await?;
        let gateways: Vec<Arc<Gateway>> =
            stack.gateway_urls()?.into_iter().map(|url| Gateway::new(url).map(Arc::new)).collect::<Result<_, _>>()?;
        let background = Background::start(&application, &gateways, options.rate).await?;
        let mut commits = Commits::at(&postgres).await?;
        let commit_in_a_row = floor::in_a_row(async || commits.once().await).await?;
        let echo_in_a_row = floor::in_a_row(async || floor::echo(&auth).await).await?;
        let flushes = Flushes::at(folder.path())?;
        let mut floor = Floor { flushes, commits, auth };
        let before = Machine::now()?;

        let all = revoke(&application, &mut floor, &gateways, options.revocations).await?;
        let Beside { flush, commit, echo } = all.beside.spread();
        let busy = Machine::now()?.busy_since(before);

        let pid = |number: usize| stack.process(&format!("gateway-{number}"));
        let (last, other) = (gateways.len() - 1, gateways.len() - 2);
        let tokens = fresh_tokens(&application, &gateways, options.stopped).await?;
        background.leave_out(last);
        process::signal(pid(last)?, "STOP")?;
        let go_on = || process::signal(pid(last)?, "CONT");
        let stopped = without(&application, &mut floor, &gateways, last, tokens, go_on).await?;
        // Another one: who has held endings up gets no lease for a while.
        let tokens = fresh_tokens(&application, &gateways, options.stopped).await?;
        background.leave_out(other);
        let suspended = match Suspended::suspend(pid(other)?) {
            Ok(held) => {
                let go_on = || held.go_on();
                Ok(without(&application, &mut floor, &gateways, other, tokens, go_on).await?)
            }
            Err(error) => Err(format!("{error:#}")),
        };
        let (answered, failed) = background.stop();

        let unit = commit.p50 + 2 * echo.p50;
        let Spread { p50, p99 } = Spread::of(&all.took);
        let p95 = percentile(&all.took, 95);
        let ratio = p50.as_secs_f64() / unit.as_secs_f64();
        if options.json {
            println!(
                "{}",
                json!({
                    "flush_ms": milliseconds(flush.p50), "commit_ms": milliseconds(commit.p50), "echo_ms": milliseconds(echo.p50),
                    "in_a_row": { "flush_ms": milliseconds(disk.p50), "commit_ms": milliseconds(commit_in_a_row.p50), "echo_ms": milliseconds(echo_in_a_row.p50) },
                    "flush_p99_ms": milliseconds(flush.p99), "commit_p99_ms": milliseconds(commit.p99), "echo_p99_ms": milliseconds(echo.p99),
                    "revocations": all.took.len(), "accepted_afterwards": all.seen.accepted, "refused_afterwards": all.seen.refused, "p50_ms": milliseconds(p50), "p95_ms": milliseconds(p95), "p99_ms": milliseconds(p99),
                    "ratio": ratio, "machine_busy": busy,
                    "stopped": stopped.json(),
                    "suspended": suspended.as_ref().map_or_else(|why| json!({ "not_measured": why }), Without::json),
                    "background": { "answered": answered, "failed": failed },
                })
            );
        } else {
            println!("floor, beside each revocation: {}", all.beside);
            println!(
                "the same with nothing in between: a flush {disk}, a commit {commit_in_a_row}, an echo {echo_in_a_row}"
            );
            println!(
                "{} revocations, presented to {} gateways at once when answered: {} accepted, {} refused, {} told to come back",
                all.took.len(),
                gateways.len(),
                all.seen.accepted,
                all.seen.refused,
                all.seen.undecided
            );
            println!(
                "p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms; p50 is {ratio:.2} × (a commit and two echoes)",
                milliseconds(p50),
                milliseconds(p95),
                milliseconds(p99)
            );
            println!("meanwhile {} a second at each gateway: {answered} answered, {failed} not; the machine was {:.0} % busy", options.rate, busy * 100.0);
            println!("one gateway stopped by a signal: {stopped}");
            match &suspended {
                Ok(suspended) => println!("one gateway suspended by its control group: {suspended}"),
                Err(why) => println!("one gateway suspended by its control group: not measured, {why}"),
            }
        }
        let accepted = all.seen.accepted + stopped.accepted() + suspended.as_ref().map_or(0, Without::accepted);
        ensure!(accepted == 0, "something was accepted after its ending was acknowledged");
        if options.gate {
            ensure!(all.seen.refused >= FEWEST, "only {} were refused", all.seen.refused);
            ensure!(failed == 0, "{failed} other requests had no answer");
            ensure!(busy < MOST_BUSY, "the machine was {:.0} % busy: nothing was shown", busy * 100.0);
            stopped.is_bounded().context("one gateway stopped")?;
            match &suspended {
                Ok(suspended) => suspended.is_bounded().context("one gateway suspended")?,
                Err(why) => anyhow::bail!("no gateway was suspended: {why}"),
            }
        }
        ensure!(!options.gate || ratio <= GATE, "p50 is {ratio:.2} of a commit and two echoes: above {GATE}");
        Ok(())
    })
}

#[derive(Default)]
struct Revoked {
    took: Vec<Duration>,
    seen: Seen,
    beside: Beside<Vec<Duration>>,
}

/// Answers to what was presented after the acknowledgement.
#[derive(Default)]
struct Seen {
    accepted: usize,
    refused: usize,
    /// 503 says nothing about the token.
    undecided: usize,
}

impl Seen {
    fn add(&mut self, status: u16) {
        match status {
            401 => self.refused += 1,
            503 => self.undecided += 1,
            // Whatever else it is, it is no refusal.
            _ => self.accepted += 1,
        }
    }
}

/// Written down rather than left to the default, which is another's to change.
fn give_leases(state: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let settings = state.join("settings");
    fs::DirBuilder::new().mode(0o700).recursive(true).create(&settings)?;
    for service in ["auth", "policy"] {
        let text = format!("[feed]\nlease = \"{}s\"\n", LEASE.as_secs());
        fs::write(settings.join(format!("{service}.toml")), text)?;
    }
    Ok(())
}

/// A token that every gateway has let in, so that each has it among those that it need not verify again.
async fn fresh_token(
    application: &Application,
    gateways: &[Arc<Gateway>],
    number: usize,
) -> anyhow::Result<String> {
    let token = application.token(gateways.get(number % gateways.len()).context("no gateway")?).await?;
    for gateway in gateways {
        ensure!(gateway.call(&token).await? == 200, "a fresh token is refused");
    }
    Ok(token)
}

async fn fresh_tokens(
    application: &Application,
    gateways: &[Arc<Gateway>],
    count: usize,
) -> anyhow::Result<Vec<String>> {
    let mut tokens = Vec::with_capacity(count);
    for number in 0..count {
        tokens.push(fresh_token(application, gateways, number).await?);
    }
    Ok(tokens)
}

/// One after another, none sooner than [`PACE`] after the one before.
async fn revoke(
    application: &Application,
    floor: &mut Floor,
    gateways: &[Arc<Gateway>],
    count: usize,
) -> anyhow::Result<Revoked> {
    let mut revoked = Revoked::default();
    let mut pace = pace();
    for number in 0..count {
        pace.tick().await;
        let token = fresh_token(application, gateways, number).await?;
        revoked.take_back(application, floor, gateways, &token).await?;
    }
    Ok(revoked)
}

fn pace() -> tokio::time::Interval {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

impl Revoked {
    /// Through one gateway after the other; then presented to all of these.
    async fn take_back(
        &mut self,
        application: &Application,
        floor: &mut Floor,
        gateways: &[Arc<Gateway>],
        token: &str,
    ) -> anyhow::Result<()> {
        let number = self.took.len();
        let gateway = gateways.get(number % gateways.len()).context("no gateway")?;
        // What comes after something else has it warmer: each of them comes first every other time.
        if number.is_multiple_of(2) {
            floor.take(&mut self.beside).await?;
        }
        let began = Instant::now();
        // 503 is "not confirmed": to be repeated, and part of what it took.
        while !application.revoke(gateway, token).await? {}
        self.took.push(began.elapsed());
        for status in futures_util::future::join_all(gateways.iter().map(|one| one.call(token))).await {
            self.seen.add(status?);
        }
        if number % 2 == 1 {
            floor.take(&mut self.beside).await?;
        }
        Ok(())
    }
}
