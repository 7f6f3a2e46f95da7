//! What a contributor and CI run: `cargo xtask setup | test | bench | faults | fuzz`.
//!
//! A crate rather than a shell script, so that it works wherever cargo does and its steps are checked by a compiler.

mod bench;
mod faults;
mod fuzz;
mod run;
mod setup;
mod test;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set up, test and measure Latchkey")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tests need: Debian packages through apt, PyPI and npm packages into target/tools
    Setup {
        /// Also what the comparisons need: nginx, HAProxy, Envoy, wrk
        #[arg(long)]
        bench: bool,
    },
    /// Set up, then run every check and test, and print the minutes of each step
    Test,
    /// Measure: side by side with other gateways, a stack by itself, or what its times tell
    Bench {
        /// What to measure, and its options: `gateway`, `gateway --rounds 1 --seconds 2`, `stack`, `sessions`,
        /// `refresh`, `timing --json`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Fuzz the parsers of what comes from outside; ends with an error at the first finding
    Fuzz {
        /// Seconds for each target
        #[arg(long, default_value_t = fuzz::SECONDS)]
        seconds: u32,
        /// Only these targets (files of fuzz/fuzz_targets)
        targets: Vec<String>,
    },
    /// Hurt a running system and count what was lost, let in or refused: one line a row (docs/faults.md)
    Faults {
        /// Rows and options: `F02 F17`, `--smoke`, `--gate`, `--seconds 30`, `--rate 200`. None: every row
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Setup { bench } => setup::all(bench),
        Task::Test => test::all(),
        Task::Bench { arguments } => bench::run(&arguments),
        Task::Fuzz { seconds, targets } => fuzz::run(seconds, &targets),
        Task::Faults { arguments } => faults::run(&arguments),
    }
}
