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
mod client;
mod crew;
mod figures;
mod ledger;
mod load;
mod observe;
mod outcome;
mod panics;
mod present;
mod rows;
mod stack;
mod trap;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::observe::Plan;

#[derive(Parser)]
#[command(name = "faults")]
struct Arguments {
    /// Which rows, such as F02 F17b. None: all of them; with --smoke those of the smoke run.
    rows: Vec<String>,
    /// 15 s a row, no controls, judged by what must be zero and never by a time
    #[arg(long, conflicts_with = "gate")]
    smoke: bool,
    /// 60 s a row, with controls, every threshold judged; the same as without
    #[arg(long)]
    gate: bool,
    /// Seconds of load in each run
    #[arg(long)]
    seconds: Option<u64>,
    /// Requests a second
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

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let rows = rows::named(&arguments.rows, arguments.smoke)?;
    let program = match arguments.program {
        Some(program) => program,
        None => {
            let own = std::env::current_exe()?;
            own.ancestors().nth(2).unwrap_or(&own).join("latchkey")
        }
    };
    let plan = Plan {
        program,
        folder: arguments.folder,
        seconds: arguments.seconds.unwrap_or(if arguments.smoke { 15 } else { 60 }),
        rate: arguments.rate.unwrap_or(if arguments.smoke { 60 } else { 100 }),
        seed: arguments.seed,
        is_smoke: arguments.smoke,
        count: arguments.count,
        is_open: false,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut is_well = true;
    // On this thread: the servers that a row starts end with the thread that started them.
    runtime.block_on(async {
        for row in rows {
            eprintln!("» {} {}", row.name, row.about);
            match (row.run)(plan.clone()).await {
                Ok(outcomes) => {
                    for outcome in outcomes {
                        println!("{}", outcome.line(plan.is_smoke));
                        is_well &= matches!(outcome.verdict(plan.is_smoke), "PASS" | "SMOKE");
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
