//! `latchkey-bench sessions`: a session read through session-service and Redis beside a bare tonic server that answers the
//! same message out of its memory, over as many connections, with a thousand sessions in the store and with a million.
//!
//! What is compared is session-service as `latchkey up` starts it, with mutual TLS on both sides. It and the bare server
//! have a core to themselves in turn; Redis, the load and everything else have the other.

mod bare;
mod load;
mod store;

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use servers::Redis;

pub use bare::serve as serve_bare;

use self::{load::Callers, store::Sessions};
use crate::{
    gateway::ours::Stack,
    neighbour::Neighbours,
    process::{self, Server, free_address},
    report::median,
};

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// A read of a session against a bare answer, by requests a second.
const READ_GATE: f64 = 0.7;
/// What a store of a million may cost in rate, against one of a thousand.
const SIZE_GATE: f64 = 0.8;

#[derive(Args)]
pub struct Options {
    /// Interleaved rounds for each size of the store; the table shows medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load a round and variant
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Connections
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Calls in flight, on all connections together
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Sessions in the small store, and in the large one
    #[arg(long, num_args = 2, default_values_t = [1_000, 1_000_000])]
    sizes: Vec<usize>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Fail below a gate
    #[arg(long)]
    gate: bool,
}

/// One server at one size of the store, a figure a round.
#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    cpu_us: Vec<f64>,
    waited: Vec<f64>,
}

#[derive(Serialize)]
struct Row {
    sessions: usize,
    name: &'static str,
    /// Medians of the rounds.
    requests_per_second: f64,
    cpu_us_per_request: f64,
    /// Per cent of the time in which the server was ready to run and something else had its core.
    disturbed: f64,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0 && options.connections > 0, "--rounds, --connections: at least one");
    let folder = tempfile::tempdir()?;
    let redis = Redis::start();
    let state = folder.path().join("stack");
    let sessions = ["--sessions", &redis.url()];
    let stack = Stack::start_apart(&state, &sessions, "session-0", (SERVER_CORE, LOAD_CORE))?;
    let service = stack.process("session-0")?;
    process::pin(redis_pid(&redis)?, LOAD_CORE)?;
    let certificates = state.join("certificates");
    let bare_address = free_address()?;
    let bare = Server::start(
        SERVER_CORE,
        &std::env::current_exe()?,
        &[
            "bare",
            "--listen",
            &bare_address.to_string(),
            "--certificates",
            &certificates.display().to_string(),
        ]
        .map(str::to_owned),
        bare_address,
        &folder.path().join("bare.log"),
    )?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(options, &redis, &stack, service, &certificates, (bare.pid(), bare_address)))
}

async fn measure(
    options: &Options,
    redis: &Redis,
    stack: &Stack,
    service: u32,
    certificates: &Path,
    (bare, bare_address): (u32, std::net::SocketAddr),
) -> anyhow::Result<()> {
    let neighbours = Neighbours::of(certificates)?;
    let load = |url: &str| Callers::connect(&neighbours, url, options.connections, options.in_flight);
    let (ours, theirs) = (load(&stack.service("session")?)?, load(&format!("https://{bare_address}"))?);
    let mut sessions = Sessions::open(&redis.url()).await?;
    let (mut rows, mut bytes) = (Vec::new(), Vec::new());
    let empty = used_memory(redis)?;
    for size in &options.sizes {
        sessions.fill(*size).await?;
        bytes.push((used_memory(redis)?.saturating_sub(empty)) as f64 / *size as f64);
        let names = ["session-service and Redis", "bare tonic, no store"];
        let mut measured = [Rounds::default(), Rounds::default()];
        let time = Duration::from_secs(options.seconds);
        for round in 0..options.rounds {
            for (rounds, (callers, pid)) in measured.iter_mut().zip([(&ours, service), (&theirs, bare)]) {
                // So that connections, caches and the clock of the core are warm.
                callers.run(&sessions.secrets, time / 4).await?;
                let before = process::times(pid)?;
                let done = callers.run(&sessions.secrets, time).await?;
                let spent = process::times(pid)?.since(before);
                rounds.rates.push(done.calls as f64 / done.took.as_secs_f64());
                rounds.cpu_us.push(spent.cpu.as_secs_f64() * 1e6 / done.calls as f64);
                rounds.waited.push(spent.waited.as_secs_f64() / done.took.as_secs_f64() * 100.0);
            }
            eprintln!("{size} sessions: round {} of {}", round + 1, options.rounds);
        }
        for (name, rounds) in names.into_iter().zip(measured) {
            rows.push(Row {
                sessions: *size,
                name,
                requests_per_second: median(rounds.rates),
                cpu_us_per_request: median(rounds.cpu_us),
                disturbed: median(rounds.waited),
            });
        }
    }
    let [small, small_bare, large, large_bare] = rows.as_slice() else { anyhow::bail!("two sizes, no more") };
    let rate = |one: &Row, other: &Row| one.requests_per_second / other.requests_per_second;
    let cpu = |one: &Row, other: &Row| other.cpu_us_per_request / one.cpu_us_per_request;
    let (read, size) = (rate(small, small_bare), rate(large, small));
    if options.json {
        println!(
            "{}",
            json!({ "rows": rows, "read_ratio": read, "read_cpu_efficiency": cpu(small, small_bare),
                "size_ratio": size, "bytes_per_session": bytes })
        );
    } else {
        println!("| sessions | | requests/s | CPU µs a request | disturbed % |\n|---|---|---|---|---|");
        for row in &rows {
            println!(
                "| {} | {} | {:.0} | {:.1} | {:.0} |",
                row.sessions, row.name, row.requests_per_second, row.cpu_us_per_request, row.disturbed
            );
        }
        println!("\nread ÷ bare: {read:.2} by rate, {:.2} by CPU time of the server", cpu(small, small_bare));
        println!("bare, large ÷ small (what the machine did meanwhile): {:.2}", rate(large_bare, small_bare));
        println!("{} ÷ {} sessions: {size:.2} by rate", large.sessions, small.sessions);
        for (size, bytes) in options.sizes.iter().zip(&bytes) {
            println!("Redis, {size} sessions: {bytes:.0} bytes each");
        }
    }
    ensure!(!options.gate || read >= READ_GATE, "a read is {read:.2} of a bare answer: below {READ_GATE}");
    ensure!(!options.gate || size >= SIZE_GATE, "size costs more than a fifth: {size:.2}");
    Ok(())
}

/// A line of `INFO`.
fn info(redis: &Redis, section: &str, name: &str) -> anyhow::Result<u64> {
    let port = redis.port().to_string();
    let output = std::process::Command::new("redis-cli")
        .args(["-p", &port, "INFO", section])
        .output()
        .context("redis-cli")?;
    let text = String::from_utf8(output.stdout)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.with_context(|| format!("{name} is not in {text}"))?.trim().parse()?)
}

fn used_memory(redis: &Redis) -> anyhow::Result<u64> {
    info(redis, "memory", "used_memory")
}

fn redis_pid(redis: &Redis) -> anyhow::Result<u32> {
    Ok(info(redis, "server", "process_id")?.try_into()?)
}
