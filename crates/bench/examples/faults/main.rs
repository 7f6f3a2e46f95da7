//! The faults that the system must survive, one row each: real processes, real servers, a fault under load, and a ledger that
//! tells what every client was told. `cargo xtask faults` builds and runs it; docs/faults.md explains rows and figures.
//!
//! An example rather than a binary or a crate: it is load generation, which is what this package is for, it needs what only
//! tests need (`servers`, an HTTP client), and examples are built with the tests' own features, so that running it after the
//! tests compiles nothing again. Its own tests run with all others.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness reads the clock, spawns its own tasks, and ends loudly when it goes wrong itself"
)]

mod admin;
mod audit;
mod client;
mod crew;
mod figures;
mod ledger;
mod load;
mod observe;
mod outcome;
mod panics;
mod present;
mod resources;
mod rows;
mod stack;
mod trap;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::observe::Plan;
use crate::rows::Row;

#[derive(Parser)]
#[command(name = "faults")]
struct Arguments {
    /// Which rows, such as F02 F17b. None: all of them; with --smoke those of the smoke run.
    rows: Vec<String>,
    /// 15 s a row, no controls, judged by what must be zero and never by a time
    #[arg(long, conflicts_with = "gate")]
    smoke: bool,
    /// 60 s a row and more, with controls, as hard and as often as a zero needs; what is of too few does not pass
    #[arg(long)]
    gate: bool,
    /// Seconds of load in each run: 60, in smoke 15, in gate 120 where a fault must last a minute
    #[arg(long)]
    seconds: Option<u64>,
    /// Requests a second: 100, in smoke 60, in gate 400
    #[arg(long)]
    rate: Option<u64>,
    /// Of everything that is drawn by lot
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often a row does what it counts, such as restarting a replica in the moment of an ending (L04)
    #[arg(long)]
    count: Option<usize>,
    /// Where ledgers go, and logs of what went wrong
    #[arg(long, default_value = "target/faults")]
    folder: PathBuf,
    /// The latchkey binary. Without it: the one beside the folder of this one
    #[arg(long)]
    program: Option<PathBuf>,
}

impl Arguments {
    fn seconds(&self, row: &Row) -> u64 {
        let in_gate = row.in_gate.seconds.filter(|_| self.gate);
        self.seconds.or(in_gate).unwrap_or(if self.smoke { 15 } else { 60 })
    }

    fn rate(&self) -> u64 {
        self.rate.unwrap_or(match (self.smoke, self.gate) {
            (true, _) => 60,
            (_, true) => 400,
            _ => 100,
        })
    }

    fn is_well(&self, verdict: &str) -> bool {
        matches!(verdict, "PASS" | "SMOKE") || (verdict == "TOO_FEW" && !self.gate)
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let rows = rows::named(&arguments.rows, arguments.smoke)?;
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => {
            let own = std::env::current_exe()?;
            own.ancestors().nth(2).unwrap_or(&own).join("latchkey")
        }
    };
    let plan = Plan {
        program,
        folder: arguments.folder.clone(),
        seconds: 0,
        rate: arguments.rate(),
        seed: arguments.seed,
        is_smoke: arguments.smoke,
        count: arguments.count,
        idle: Duration::from_secs(if arguments.smoke { 0 } else { 20 }),
        is_open: false,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut is_well = true;
    // On this thread: the servers that a row starts end with the thread that started them.
    runtime.block_on(async {
        for row in rows {
            eprintln!("» {} {}", row.name, row.about);
            let plan = Plan {
                count: plan.count.or(row.in_gate.times.filter(|_| arguments.gate)),
                seconds: arguments.seconds(row),
                ..plan.clone()
            };
            match (row.run)(plan.clone()).await {
                Ok(outcomes) => {
                    for outcome in outcomes {
                        println!("{}", outcome.line(plan.is_smoke));
                        is_well &= arguments.is_well(outcome.verdict(plan.is_smoke));
                    }
                }
                Err(error) => {
                    eprintln!("{}: {error:#}", row.name);
                    println!("FAULT={} verdict=FAIL broken=the_run_itself", row.name);
                    is_well = false;
                }
            }
        }
    });
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(of: &[&str]) -> Arguments {
        Arguments::parse_from([&["faults"], of].concat())
    }

    #[test]
    fn a_gate_sends_enough_and_does_not_pass_with_too_few() {
        let gate = arguments(&["--gate"]);
        let row = |name: &str| rows::named(&[name.to_owned()], false).unwrap()[0];
        let sent = gate.rate() * gate.seconds(row("F01"));
        // 15 and 10 of 100.
        assert!(sent * 15 / 100 >= 3_000 && sent * 10 / 100 >= 1_000);
        assert_eq!((gate.seconds(row("F05")), arguments(&[]).seconds(row("F05"))), (120, 60));
        assert_eq!(arguments(&["--gate", "--seconds", "25"]).seconds(row("F05")), 25);
        assert!(gate.is_well("PASS") && !gate.is_well("TOO_FEW") && !gate.is_well("DISCARDED"));
        assert!(arguments(&[]).is_well("TOO_FEW"));
        assert!(arguments(&["--smoke"]).is_well("SMOKE"));
    }
}
