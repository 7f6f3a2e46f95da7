//! `latchkey-bench sessions`: a session read through session-service and Redis beside a bare tonic server that answers the
//! same message out of its memory, over as many connections, with a thousand sessions in the store and with a million.
//!
//! What is compared is session-service as `latchkey up` starts it, with mutual TLS on both sides. It and the bare server
//! have a core to themselves in turn; Redis, the load and everything else have the other.

mod store;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;
use proto::session::v1::{ResolveSessionRequest, session_service_client::SessionServiceClient};
use serde_json::json;
use servers::Redis;

pub use self::store::USER_AGENT;

use self::store::Sessions;
use crate::{
    bare,
    calls::{Callers, Medians, Rounds, request},
    gateway::ours::Stack,
    neighbour::Neighbours,
    process,
};

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
const NAMES: [&str; 2] = ["session-service and Redis", "bare tonic, no store"];
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
    let (bare, bare_address) = bare::start(SERVER_CORE, &certificates, &folder.path().join("bare.log"))?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(options, &redis, &stack, service, &certificates, (bare.pid(), bare_address)))
}

async fn measure(
    options: &Options,
    redis: &Redis,
    stack: &Stack,
    service: u32,
    certificates: &Path,
    (bare, bare_address): (u32, SocketAddr),
) -> anyhow::Result<()> {
    let neighbours = Neighbours::of(certificates)?;
    let load =
        |url: &str| Callers::connect(&neighbours, (url, "session"), options.connections, options.in_flight);
    let (ours, theirs) = (load(&stack.service("session")?)?, load(&format!("https://{bare_address}"))?);
    let mut sessions = Sessions::open(&redis.url()).await?;
    let (mut rows, mut bytes, mut churned) = (Vec::new(), Vec::new(), Vec::new());
    let mut empty = used_memory(redis)?;
    for size in &options.sizes {
        sessions.fill(*size).await?;
        bytes.push((used_memory(redis)?.saturating_sub(empty)) as f64 / *size as f64);
        let filled = used_memory(redis)?;
        come_to_rest(redis).await?;
        churned.push(sessions.churn().await?);
        // Their tombstones stay.
        empty += used_memory(redis)?.saturating_sub(filled);
        come_to_rest(redis).await?;
        let mut measured = [Rounds::default(), Rounds::default()];
        let secrets = Arc::clone(&sessions.secrets);
        let read = move |channel, number: usize| {
            let secret = secrets.get(number % secrets.len()).map(|secret| String::from_utf8_lossy(secret));
            let secret = secret.unwrap_or_default().into_owned();
            let mut client = SessionServiceClient::new(channel);
            async move {
                let answer = client.resolve_session(request(ResolveSessionRequest { secret })).await?;
                ensure!(answer.into_inner().session.is_some(), "no session");
                Ok(())
            }
        };
        let time = Duration::from_secs(options.seconds);
        for round in 0..options.rounds {
            for (rounds, (callers, pid)) in measured.iter_mut().zip([(&ours, service), (&theirs, bare)]) {
                callers.measure(rounds, pid, time, read.clone()).await?;
            }
            eprintln!("{size} sessions: round {} of {}", round + 1, options.rounds);
        }
        rows.extend(measured.map(Rounds::medians));
    }
    let ([small, small_bare, large, large_bare], [small_size, large_size]) =
        (rows.as_slice(), options.sizes.as_slice())
    else {
        anyhow::bail!("two sizes, no more")
    };
    let ((read, read_cpu), (size, _)) = (small.of(*small_bare), large.of(*small));
    let named = options.sizes.iter().flat_map(|size| NAMES.map(|name| (size, name))).zip(&rows);
    if options.json {
        println!(
            "{}",
            json!({
                "rows": named.map(|((size, name), row)| json!({ "sessions": size, "name": name,
                    "requests_per_second": row.requests_per_second, "cpu_us_per_request": row.cpu_us_per_request,
                    "disturbed": row.disturbed })).collect::<Vec<_>>(),
                "read_ratio": read, "read_cpu_efficiency": read_cpu, "size_ratio": size,
                "bytes_per_session": bytes, "created_and_ended_per_second": churned,
            })
        );
    } else {
        println!("| sessions | | requests/s | CPU µs a request | disturbed % |\n|---|---|---|---|---|");
        for ((size, name), Medians { requests_per_second, cpu_us_per_request, disturbed }) in named {
            println!(
                "| {size} | {name} | {requests_per_second:.0} | {cpu_us_per_request:.1} | {disturbed:.0} |"
            );
        }
        println!("\nread ÷ bare: {read:.2} by rate, {read_cpu:.2} by CPU time of the server");
        println!("bare, large ÷ small (what the machine did meanwhile): {:.2}", large_bare.of(*small_bare).0);
        println!("{} ÷ {} sessions: {size:.2} by rate", large_size, small_size);
        for ((size, bytes), (created, ended)) in options.sizes.iter().zip(&bytes).zip(&churned) {
            println!(
                "Redis, {size} sessions: {bytes:.0} bytes each; by the store alone {created:.0} more begin a second, and {ended:.0} end"
            );
        }
    }
    ensure!(!options.gate || read >= READ_GATE, "a read is {read:.2} of a bare answer: below {READ_GATE}");
    ensure!(!options.gate || size >= SIZE_GATE, "size costs reads more than a fifth: {size:.2}");
    if let [(began, ended), (began_large, ended_large)] = churned.as_slice() {
        let (begin, end) = (began_large / began, ended_large / ended);
        ensure!(
            !options.gate || begin.min(end) >= SIZE_GATE,
            "size costs more than a fifth: {begin:.2} begin, {end:.2} end"
        );
    }
    Ok(())
}

/// Waits until Redis does nothing of what it does after so many writes: it writes its file anew, on the core that the load has,
/// and the kernel brings that to the disk.
async fn come_to_rest(redis: &Redis) -> anyhow::Result<()> {
    while info(redis, "persistence", "aof_rewrite_in_progress")? != 0
        || info(redis, "persistence", "aof_rewrite_scheduled")? != 0
    {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    rustix::fs::sync();
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
