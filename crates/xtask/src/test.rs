//! Everything that must hold before a change lands, step by step, with the minutes that each took.

use std::{process::Command, time::Instant};

use crate::{faults, fuzz, run, setup};

type Step = (&'static str, fn() -> anyhow::Result<()>);

const STEPS: [Step; 6] = [
    ("set-up", || setup::all(false)),
    ("format", || cargo(&["fmt", "--all", "--check"])),
    ("lints", || cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])),
    ("tests", || cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast"])),
    ("fuzz", || fuzz::run(fuzz::SECONDS, &[])),
    ("faults", faults::smoke),
];

pub fn all() -> anyhow::Result<()> {
    let mut minutes = Vec::new();
    let mut outcome = Ok(());
    for (name, step) in STEPS {
        let began = now();
        outcome = step();
        minutes.push(format!("{name} {:.1}", began.elapsed().as_secs_f64() / 60.0));
        if outcome.is_err() {
            break;
        }
    }
    eprintln!("minutes: {}", minutes.join(", "));
    outcome
}

#[allow(clippy::disallowed_methods, reason = "the time a step took is what is printed")]
fn now() -> Instant {
    Instant::now()
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    run::run(Command::new("cargo").current_dir(run::root()).args(arguments))
}
