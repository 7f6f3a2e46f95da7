//! policy-service as a process of its own; `latchkey serve policy` is the same.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    policy_service::run(policy_service::Args::parse())
}
