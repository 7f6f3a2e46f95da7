//! Builds the fault harness (an example of `crates/bench`) and the command that it starts, then hands over to it.
//!
//! Both are built for the whole workspace and with what tests need, which is how the tests are built: run after them, nothing
//! is compiled a second time. For `--gate`, which sends as much as a zero needs and judges times, they are release builds.

use std::process::Command;

use crate::{run, setup};

/// `arguments` are the harness's own: rows, `--smoke`, `--gate`, `--seconds`.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    setup::all(false)?;
    hurt(arguments)
}

/// The rows that every change must pass: 15 s each, judged by what must be zero and never by a time.
pub fn smoke() -> anyhow::Result<()> {
    hurt(&["--smoke".to_owned()])
}

fn hurt(arguments: &[String]) -> anyhow::Result<()> {
    let is_gate = arguments.iter().any(|argument| argument == "--gate");
    let build = ["build", "--workspace", "--locked", "--bin", "latchkey", "--example", "faults"];
    let release = is_gate.then_some("--release");
    run::run(Command::new("cargo").current_dir(run::root()).args(build).args(release))?;
    let harness = run::target().join(if is_gate { "release" } else { "debug" }).join("examples/faults");
    run::run(Command::new(harness).current_dir(run::root()).args(arguments))
}
