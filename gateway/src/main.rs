//! The gateway as a process of its own; `latchkey serve gateway` is the same.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    gateway::run(gateway::Args::parse())
}
