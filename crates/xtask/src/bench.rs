//! Builds what is measured as it is shipped, then hands over to `crates/bench`.

use std::process::Command;

use crate::{run, setup};

pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    // The other gateways, and what loads them all.
    if arguments.first().is_some_and(|what| what == "gateway") {
        setup::all(true)?;
    }
    run::run(Command::new("cargo").current_dir(run::root()).args([
        "build",
        "--profile",
        "dist",
        "--locked",
        "--package",
        "latchkey",
        "--package",
        "latchkey-bench",
    ]))?;
    run::run(Command::new(run::target().join("dist/latchkey-bench")).current_dir(run::root()).args(arguments))
}
