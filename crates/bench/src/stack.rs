//! `latchkey-bench stack`: what a whole stack costs before anybody uses it: how long `latchkey up` takes from nothing and
//! from a state that is there, and the memory of each process.

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;

use crate::{
    gateway::ours::Stack,
    process,
    report::{median, megabytes, milliseconds},
};

/// What `latchkey up` may take when its state exists.
const SECOND_START: Duration = Duration::from_millis(500);
/// What a gateway may hold before anybody has logged in.
const GATEWAY_RESIDENT: u64 = 30_000_000;

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
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("stack");
    let start = || -> anyhow::Result<(Stack, Duration)> {
        let began = Instant::now();
        Ok((Stack::start(&state)?, began.elapsed()))
    };

    let (stack, first) = start()?;
    thread::sleep(Duration::from_secs(options.settle));
    let resident = stack
        .processes()?
        .into_iter()
        .map(|(name, pid)| Ok((name, process::resident(pid)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    drop(stack);
    let again =
        (0..options.starts).map(|_| Ok(start()?.1.as_secs_f64())).collect::<anyhow::Result<Vec<_>>>()?;
    let second = Duration::from_secs_f64(median(again));

    if options.json {
        let resident: serde_json::Map<_, _> =
            resident.iter().map(|(name, bytes)| (name.clone(), megabytes(*bytes).into())).collect();
        println!(
            "{}",
            json!({ "first_start_ms": milliseconds(first), "second_start_ms": milliseconds(second), "resident_mb": resident })
        );
    } else {
        println!("| stack | |\n|---|---|");
        println!("| first start, ms to `stack.json` | {:.0} |", milliseconds(first));
        println!("| second start, median of {} | {:.0} |", options.starts, milliseconds(second));
        for (name, bytes) in &resident {
            println!("| {name}, resident MB {} s after ready | {:.1} |", options.settle, megabytes(*bytes));
        }
    }
    let gateway =
        resident.iter().filter(|(name, _)| name.starts_with("gateway")).map(|(_, bytes)| *bytes).max();
    anyhow::ensure!(
        !options.gate || second <= SECOND_START,
        "the second start took longer than {SECOND_START:?}"
    );
    anyhow::ensure!(
        !options.gate || gateway.is_some_and(|bytes| bytes <= GATEWAY_RESIDENT),
        "the gateway holds more than {} MB",
        megabytes(GATEWAY_RESIDENT)
    );
    Ok(())
}
