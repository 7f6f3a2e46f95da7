//! `latchkey demo`: shows both ways of scaling on this machine, judges what it saw, and writes a report.
//!
//! Every row is a stack of its own, started by `latchkey up` as a user would, with N replicas of each service and of the
//! gateway. Those of one kind run side by side and are loaded by turns, so that they can be compared. First stateless tokens,
//! then sessions in each store that replicas can share. A row that does not hold what the report claims makes the command fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use chassis::process::say;
use serde::Serialize;

use crate::signals::Stop;

mod cpu;
mod html;
mod issue;
mod judge;
mod load;
mod metrics;
mod quota;
mod row;
mod servers;
mod shares;
mod stack;
mod standing;

use quota::Quota;
use row::Row;
use standing::Standing;

/// More replicas on one machine than `up` starts.
const MOST_REPLICAS: i64 = 16;
const MOST_SECONDS: u64 = 600;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long each row is loaded.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_SECONDS))]
    seconds: u64,
    /// How many of every service and of the gateway, one row each.
    #[arg(long, default_value = "1,2,4", value_delimiter = ',', value_name = "N,N", value_parser = clap::value_parser!(u16).range(1..=MOST_REPLICAS))]
    replicas: Vec<u16>,
    /// What is shown: stateless tokens, and sessions in each of these.
    #[arg(long, value_enum, default_value = "tokens,sqlite,postgres,redis", value_delimiter = ',')]
    stores: Vec<Kind>,
    /// Where report.html and report.json are written.
    #[arg(long, default_value = "latchkey-demo", value_name = "DIR")]
    output: PathBuf,
    /// Gives each process of ours this share of one core, by control groups: what N machines would add then shows on one.
    #[arg(long, value_name = "CORES", value_parser = quota::cores)]
    cpu: Option<f64>,
}

/// What a row loads the gateways with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Access tokens, which every gateway checks by itself.
    Tokens,
    /// Sessions in SQLite files.
    Sqlite,
    /// Sessions in PostgreSQL, and everything else too.
    Postgres,
    /// Sessions in Redis.
    Redis,
}

impl Kind {
    pub fn title(self) -> &'static str {
        match self {
            Kind::Tokens => "Stateless tokens",
            Kind::Sqlite => "Sessions in SQLite",
            Kind::Postgres => "Sessions in PostgreSQL",
            Kind::Redis => "Sessions in Redis",
        }
    }
}

/// `report.json`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether every row held; `problems` says what did not, and which server is installed and does not start.
    pub passed: bool,
    pub problems: Vec<String>,
    /// What could not be shown on this machine, and what would have to be installed.
    pub skipped: Vec<String>,
    pub seconds: u64,
    /// Cores that all processes share, the load's own included.
    pub cores: usize,
    /// Cores that each process was given; `null`: no limit.
    pub cpu: Option<f64>,
    /// Why throughput does not grow with replicas here; `null` with a limit, under which it must.
    pub note: Option<String>,
    /// By service: what is set other than it comes, in the words of its configuration.
    pub settings: BTreeMap<&'static str, &'static str>,
    pub rows: Vec<Row>,
}

impl Report {
    fn skip(&mut self, kind: Kind, why: String) {
        println!("{}: not shown: {why}", kind.title());
        self.skipped.push(why);
    }
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let mut stop = Stop::listen()?;
    tokio::select! {
        done = show(args) => done,
        () = stop.told() => {
            say("stopped before everything was shown: there is no report");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn show(mut args: Args) -> Result<ExitCode> {
    args.replicas.sort_unstable();
    args.replicas.dedup();
    args.stores.sort_unstable();
    args.stores.dedup();
    if let Some(why) = args.cpu.and_then(|_| judge::incomparable(&args.replicas)) {
        bail!("--cpu: {why}");
    }
    let quota = args.cpu.map(Quota::open).transpose()?;
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("--output {} cannot be made", args.output.display()))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let note = args.cpu.is_none().then(|| {
        format!(
            "Every process, and the load itself, shares the {cores} cores of this machine: more replicas cannot answer \
             more requests a second here. --cpu 0.1 gives each process a fixed part of a core, as machines of their own would."
        )
    });
    let mut report = Report {
        passed: false,
        problems: Vec::new(),
        skipped: Vec::new(),
        seconds: args.seconds,
        cores,
        cpu: args.cpu,
        note,
        settings: BTreeMap::from(stack::SETTINGS),
        rows: Vec::new(),
    };
    for kind in args.stores.iter().copied() {
        if !servers::is_installed(kind) {
            report.skip(kind, servers::missing(kind));
            continue;
        }
        match measure(kind, &args, quota.as_ref()).await? {
            Ok(rows) => report.rows.extend(rows),
            // What is there and does not work is not passed over: the rest is shown, and the command fails.
            Err(why) => report.problems.push(format!("{why:#}")),
        }
    }
    let not_held = judge::problems(&report);
    report.problems.extend(not_held);
    report.passed = report.problems.is_empty();
    write(&args.output, &report)?;
    println!("Report: {}", args.output.join("report.html").display());
    for problem in &report.problems {
        say(format_args!("NOT HELD: {problem}"));
    }
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The inner error says why the store does not start.
async fn measure(kind: Kind, args: &Args, quota: Option<&Quota>) -> Result<Result<Vec<Row>>> {
    let at = |replicas| format!("{}, {replicas} of everything", kind.title());
    let mut all = Vec::new();
    for replicas in &args.replicas {
        println!("{}: starting", at(replicas));
        let server = match servers::start(kind) {
            Ok(server) => server,
            Err(why) => return Ok(Err(why)),
        };
        all.push(Standing::start(kind, server, *replicas, quota).await.with_context(|| at(replicas))?);
    }
    println!("{}: loading each in turn", kind.title());
    standing::load(&mut all, args.seconds).await.with_context(|| kind.title())?;
    let mut rows = Vec::new();
    for (replicas, standing) in args.replicas.iter().zip(all) {
        let row = standing.finish().await.with_context(|| at(replicas))?;
        println!("{}: {}", at(replicas), row.line());
        rows.push(row);
    }
    Ok(Ok(rows))
}

fn write(output: &Path, report: &Report) -> Result<()> {
    let json = serde_json::to_vec_pretty(report).context("the report cannot be written as JSON")?;
    for (name, text) in [("report.json", json), ("report.html", html::page(report).into_bytes())] {
        let file = output.join(name);
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(())
}
