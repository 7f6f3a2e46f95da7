//! Runs the simulation over many seeds, and shows what each broken rule does.
//!
//! `cargo run --release -p latchkey-feed --example simulate -- --seeds 1000000`
//!
//! `--from N` begins at another seed; `--broken all`, or the names of rules, tries those variants instead, on `--seeds` seeds
//! each (5,000 unless said otherwise); `--replay SEED [RULE]` runs one history.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use latchkey_feed::{
    Broken,
    simulation::{Counts, is_calm, replay, run, smallest_failing},
};

/// Seeds that a thread takes at once.
const CHUNK: u64 = 250;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let (mut seeds, mut from, mut variants) = (None, 0, Vec::new());
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|number| number.parse::<u64>().ok());
        match argument.as_str() {
            "--seeds" => {
                let Some(number) = number().filter(|number| *number > 0) else { return usage() };
                seeds = Some(number);
            }
            "--from" => {
                let Some(number) = number() else { return usage() };
                from = number;
            }
            "--replay" => {
                let Some(seed) = number() else { return usage() };
                let rule = arguments.next();
                let report = replay(seed, rule.and_then(|rule| named(&rule)));
                report.trace.iter().for_each(|line| println!("{line}"));
                println!("seed {seed}: {:?} {:?}", report.violation, report.counts);
                return ExitCode::from(u8::from(report.violation.is_some()));
            }
            "--broken" => {
                while let Some(name) = arguments.next_if(|next| !next.starts_with("--")) {
                    match (name.as_str(), named(&name)) {
                        ("all", _) => variants.extend(Broken::ALL),
                        (_, Some(rule)) => variants.push(rule),
                        _ => return usage(),
                    }
                }
            }
            _ => return usage(),
        }
    }
    if variants.is_empty() {
        hold(from, seeds.unwrap_or(2_000))
    } else {
        fall(&variants, seeds.unwrap_or(5_000))
    }
}

fn usage() -> ExitCode {
    eprintln!("simulate [--from N] [--seeds N] [--broken all|RULE...] [--replay SEED [RULE]]");
    ExitCode::from(2)
}

fn named(name: &str) -> Option<Broken> {
    Broken::ALL.into_iter().find(|rule| rule.name() == name)
}

/// The protocol as it is: no seed may show anything.
fn hold(from: u64, seeds: u64) -> ExitCode {
    let next = AtomicU64::new(from);
    let failed = AtomicBool::new(false);
    let end = from + seeds;
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<(u64, Counts, Vec<Duration>)> = thread::scope(|scope| {
        let work = || {
            let (mut tried, mut counts, mut calm) = (0, Counts::default(), Vec::new());
            loop {
                let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                if first >= end {
                    return (tried, counts, calm);
                }
                for seed in first..(first + CHUNK).min(end) {
                    let report = run(seed, None);
                    if let Some(violation) = report.violation {
                        println!("seed {seed}: {violation}");
                        failed.store(true, Ordering::Relaxed);
                    }
                    tried += 1;
                    counts = counts + report.counts;
                    if is_calm(seed) {
                        if report.counts.not_confirmed > 0 {
                            println!("seed {seed}: nothing is wrong, and an ending is not acknowledged");
                            failed.store(true, Ordering::Relaxed);
                        }
                        calm.extend(report.acknowledged_after);
                    }
                }
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        // One that panicked has said why, and its seeds are missing.
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let tried: u64 = results.iter().map(|(tried, ..)| tried).sum();
    let counts = results.iter().fold(Counts::default(), |sum, (_, counts, _)| sum + *counts);
    let mut calm: Vec<Duration> = results.into_iter().flat_map(|(.., calm)| calm).collect();
    calm.sort();
    println!("seeds {from} to {}, {tried} tried: {counts:?}", end - 1);
    let quantile = |of: f64| calm.get((calm.len() as f64 * of) as usize);
    println!("acknowledged without faults: p50 {:?}, p99 {:?}", quantile(0.5), quantile(0.99));
    let failed = failed.into_inner() || tried != seeds || calm.is_empty();
    println!("{}", if failed { "BROKEN" } else { "held" });
    ExitCode::from(u8::from(failed))
}

/// Each rule broken: a seed must show it.
fn fall(variants: &[Broken], seeds: u64) -> ExitCode {
    let next = AtomicU64::new(0);
    let missed = AtomicBool::new(false);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(rule) = variants.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let name = rule.name();
                    match smallest_failing(*rule, seeds) {
                        Some((seed, violation)) => println!("{name:24} seed {seed:5}: {violation}"),
                        None => {
                            println!("{name:24} NOT CAUGHT on {seeds} seeds");
                            missed.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    ExitCode::from(u8::from(missed.into_inner()))
}
