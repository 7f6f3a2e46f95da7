//! The `latchkey` command: the whole system on one machine, one service by itself, and administration.

use std::process::ExitCode;

use clap::Parser;

mod admin;
mod bootstrap;
mod certificates;
mod cli;
mod demo;
mod echo;
mod inspect;
mod migrate;
mod private_file;
mod serve;
mod signals;
mod up;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
