//! session-service as a process of its own; `latchkey serve session` is the same.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    session_service::run(session_service::Args::parse())
}
