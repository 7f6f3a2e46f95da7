//! auth-service as a process of its own; `latchkey serve auth` is the same.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    auth_service::run(auth_service::Args::parse())
}
