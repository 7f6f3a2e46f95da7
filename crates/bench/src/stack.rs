//! `latchkey-bench stack`: what a whole stack costs before anybody uses it: how long `latchkey up` takes from nothing and
//! from a state that is there, the memory of each process, and how long each takes by itself until it is ready.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::json;

use crate::{
    gateway::ours::{Stack, latchkey},
    process,
    report::{median, megabytes, milliseconds},
};

/// What `latchkey up` may take when its state exists.
const SECOND_START: Duration = Duration::from_millis(500);
/// What a process may hold before anybody has logged in.
const RESIDENT: u64 = 30_000_000;

#[derive(Args)]
pub struct Options {
    /// Starts on the state that the first one made; the median is shown
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// Seconds between ready and the look at the memory
    #[arg(long, default_value_t = 10)]
    settle: u64,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Fail above the targets
    #[arg(long)]
    gate: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.starts > 0, "--starts: at least one");
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("stack");
    let start = || -> anyhow::Result<(Stack, Duration)> {
        let began = Instant::now();
        Ok((Stack::start(&state)?, began.elapsed()))
    };

    let settled = |stack: &Stack| {
        thread::sleep(Duration::from_secs(options.settle));
        let all = stack.processes()?.into_iter();
        all.map(|(name, pid)| Ok((name, process::resident(pid)?))).collect::<anyhow::Result<BTreeMap<_, _>>>()
    };

    // The first hashes the administrator's password, which is somebody's.
    let (stack, first) = start()?;
    let resident_first = settled(&stack)?;
    drop(stack);
    let (stack, again) = start()?;
    let resident = settled(&stack)?;
    let operations = stack.operations()?;
    drop(stack);
    let mut seconds = vec![again.as_secs_f64()];
    for _ in 1..options.starts {
        seconds.push(start()?.1.as_secs_f64());
    }
    let second = Duration::from_secs_f64(median(seconds));
    let alone = start_ups(&state, &operations, options.starts)?;

    if options.json {
        let in_megabytes = |resident: &BTreeMap<String, u64>| -> serde_json::Map<_, _> {
            resident.iter().map(|(name, bytes)| (name.clone(), megabytes(*bytes).into())).collect()
        };
        println!(
            "{}",
            json!({ "first_start_ms": milliseconds(first), "second_start_ms": milliseconds(second),
                "resident_mb_first_start": in_megabytes(&resident_first), "resident_mb": in_megabytes(&resident),
                "ready_ms": alone })
        );
    } else {
        println!("| stack | first start | second start |\n|---|---|---|");
        let (first, second) = (milliseconds(first), milliseconds(second));
        println!("| ms to `stack.json`; second: median of {} | {first:.0} | {second:.0} |", options.starts);
        for (name, bytes) in &resident {
            let before = resident_first.get(name).copied().map(megabytes).unwrap_or_default();
            let settle = options.settle;
            println!(
                "| {name}, resident MB {settle} s after ready | {before:.1} | {:.1} |",
                megabytes(*bytes)
            );
        }
        println!("\n| by itself, median of {} | ms from start to ready |\n|---|---|", options.starts);
        for (name, ready_ms) in &alone {
            println!("| {name} | {ready_ms:.0} |");
        }
    }
    let ours = resident.iter().filter(|(name, _)| !name.starts_with("echo"));
    let (largest, bytes) = ours.max_by_key(|(_, bytes)| **bytes).context("there are no processes")?;
    ensure!(!options.gate || second <= SECOND_START, "the second start took longer than {SECOND_START:?}");
    ensure!(
        !options.gate || *bytes <= RESIDENT,
        "{largest} holds {} MB, which is more than {} MB",
        megabytes(*bytes),
        megabytes(RESIDENT)
    );
    Ok(())
}

/// The order in which who is called is there before who calls.
const ORDER: [&str; 4] = ["policy-0", "auth-0", "session-0", "gateway-0"];
/// A process that is not ready by then will not be.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Milliseconds from the start of each process to its first 200 of `/readyz`, on the state of a stack that has stopped, while
/// nothing else starts: medians.
fn start_ups(
    state: &Path,
    operations: &BTreeMap<String, SocketAddr>,
    rounds: usize,
) -> anyhow::Result<BTreeMap<&'static str, f64>> {
    let mut times: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        let mut running = Vec::new();
        for name in ORDER {
            let address = *operations.get(name).with_context(|| format!("{name} has no operations"))?;
            let began = Instant::now();
            let mut process = Alone::start(state, name)?;
            while !is_ready(address) {
                ensure!(process.0.try_wait()?.is_none(), "{name} ended before it was ready");
                ensure!(began.elapsed() < READY_WITHIN, "{name} is not ready after {READY_WITHIN:?}");
                thread::sleep(Duration::from_millis(1));
            }
            times.entry(name).or_default().push(milliseconds(began.elapsed()));
            running.push(process);
        }
        // Callers first, as a stack stops.
        while running.pop().is_some() {}
    }
    Ok(times.into_iter().map(|(name, times)| (name, median(times))).collect())
}

/// One process of a stack, without the stack. Asked to stop when dropped.
struct Alone(Child);

impl Alone {
    fn start(state: &Path, name: &str) -> anyhow::Result<Self> {
        let (service, _) = name.split_once('-').context("a process is called service-replica")?;
        let mut command = Command::new(latchkey()?);
        command.args(["serve", service, "--config"]).arg(state.join(format!("config/{name}.toml")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("{name} cannot be started"))?))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        process::signal(self.0.id(), "TERM").ok();
        self.0.wait().ok();
    }
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(&status == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
