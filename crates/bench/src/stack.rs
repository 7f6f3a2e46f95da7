//! `latchkey-bench stack`: what a whole stack costs before anybody uses it: how long `latchkey up` takes from nothing and
//! from a state that is there, and the memory of each process.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::json;

use crate::{
    gateway::ours::Stack,
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
    drop(stack);
    let mut seconds = vec![again.as_secs_f64()];
    for _ in 1..options.starts {
        seconds.push(start()?.1.as_secs_f64());
    }
    let second = Duration::from_secs_f64(median(seconds));

    if options.json {
        let in_megabytes = |resident: &BTreeMap<String, u64>| -> serde_json::Map<_, _> {
            resident.iter().map(|(name, bytes)| (name.clone(), megabytes(*bytes).into())).collect()
        };
        println!(
            "{}",
            json!({ "first_start_ms": milliseconds(first), "second_start_ms": milliseconds(second),
                "resident_mb_first_start": in_megabytes(&resident_first), "resident_mb": in_megabytes(&resident) })
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
