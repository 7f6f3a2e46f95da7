//! Fuzzing with libFuzzer on the stable compiler.
//!
//! `cargo fuzz` needs a nightly compiler only for its sanitizers, which find nothing in code without `unsafe`. What
//! guides the fuzzer, the coverage instrumentation, is a pass of LLVM that stable passes on; so the targets are built
//! and run here without another tool. Their folder has the layout of `cargo fuzz`, for those who have it.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, bail};

use crate::run;

/// For each target in `cargo xtask test`: enough to notice what breaks at once.
pub const SECONDS: u32 = 10;

const INSTRUMENTED: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Builds the targets and runs each for that long. What is found is kept in `target/fuzz/found`; the seeds that
/// stand in `fuzz/seeds` and what former runs learnt (`target/fuzz/corpus`) are where a run begins.
pub fn run(seconds: u32, only: &[String]) -> anyhow::Result<()> {
    let known = targets()?;
    if let Some(unknown) = only.iter().find(|name| !known.contains(name)) {
        bail!("no fuzz target is named {unknown}; there are {}", known.join(", "));
    }
    let (folder, output) = (run::root().join("fuzz"), run::root().join("target/fuzz"));
    let host = host()?;
    // With a target triple the flags are not for build scripts.
    run::run(
        Command::new("cargo")
            .current_dir(&folder)
            .args(["build", "--release", "--locked", "--bins", "--target", &host])
            .env("CARGO_TARGET_DIR", &output)
            .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTED.join("\u{1f}")),
    )?;
    let found = output.join("found");
    fs::create_dir_all(&found)?;
    for name in known.iter().filter(|name| only.is_empty() || only.contains(name)) {
        let corpus = output.join("corpus").join(name);
        fs::create_dir_all(&corpus)?;
        let mut command = Command::new(output.join(&host).join("release").join(name));
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/{name}-", found.display()))
            .args(["-max_len=20000", "-rss_limit_mb=1024", "-timeout=5", "-print_final_stats=1"])
            .arg(corpus);
        let seeds = folder.join("seeds").join(name);
        if seeds.is_dir() {
            command.arg(seeds);
        }
        let ran = command.output().with_context(|| format!("could not start the fuzz target {name}"))?;
        let said = String::from_utf8_lossy(&ran.stderr);
        if !ran.status.success() {
            eprintln!("{said}");
            bail!("the fuzz target {name} found something; {} has the input", found.display());
        }
        let tried = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        eprintln!("fuzz {name}: nothing found in {} inputs", tried.unwrap_or(" an unknown number of").trim());
    }
    Ok(())
}

/// The names of the targets, sorted.
fn targets() -> anyhow::Result<Vec<String>> {
    let folder = run::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path: PathBuf = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The triple of this machine, as the compiler calls it.
fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("could not start rustc")?;
    let version = String::from_utf8(output.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}
