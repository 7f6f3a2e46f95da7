//! The processes of a stack, run by the row itself: `latchkey up` waits longer each time before it starts one again, and a row
//! that restarts something hundreds of times wants it back at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::stack::Stack;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

pub struct Crew {
    program: PathBuf,
    state: PathBuf,
    operations: BTreeMap<String, String>,
    /// Where each application listens.
    echoes: Vec<String>,
    /// Processes whose wall clock is so far off, as libfaketime is told.
    clocks: &'static [(&'static str, &'static str)],
    running: BTreeMap<String, Child>,
}

impl Crew {
    /// Stops the stack and runs its processes on its settings, until dropped.
    pub async fn takes_over(
        stack: &mut Stack,
        program: &Path,
        clocks: &'static [(&'static str, &'static str)],
    ) -> anyhow::Result<Crew> {
        stack.stop();
        let echoes = stack.file.echo.iter().map(|url| url.trim_start_matches("http://").to_owned());
        let mut crew = Crew {
            program: program.to_owned(),
            state: stack.state(),
            operations: stack.file.operations.clone(),
            echoes: echoes.collect(),
            clocks,
            running: BTreeMap::new(),
        };
        for replica in 0..crew.echoes.len() {
            crew.start(&format!("echo-{replica}"))?;
        }
        let names: Vec<String> = crew.operations.keys().cloned().collect();
        for name in &names {
            crew.start(name)?;
        }
        for name in &names {
            crew.is_ready(name).await?;
        }
        // Those are looked at from now on.
        let pids = crew.running.iter().map(|(name, child)| Ok((name.clone(), child.id().try_into()?)));
        stack.file.pids = pids.collect::<anyhow::Result<_>>()?;
        Ok(crew)
    }

    pub fn start(&mut self, name: &str) -> anyhow::Result<()> {
        let (service, replica) = name.split_once('-').unwrap_or((name, "0"));
        let path = self.state.join(format!("logs/{name}.log"));
        let log = fs::OpenOptions::new().append(true).create(true).open(path)?;
        let mut command = Command::new(&self.program);
        command.args(["serve", service]);
        if service == "echo" {
            command.args(["--listen", &self.echoes[replica.parse::<usize>()?], "--replica", name]);
        } else {
            command.arg("--config").arg(self.state.join(format!("config/{name}.toml")));
        }
        if let Some((_, ahead)) = self.clocks.iter().find(|(of, _)| *of == name) {
            command.env("LD_PRELOAD", libfaketime()?).env("FAKETIME", ahead);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.running.insert(name.to_owned(), command.spawn()?);
        Ok(())
    }

    /// `kill -9`; returns when it is gone.
    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        if let Some(mut child) = self.running.remove(name) {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// How many of those that are to say it do not say that they are ready.
    pub async fn not_ready(&self) -> anyhow::Result<usize> {
        let (http, mut not_ready) = (crate::client::http()?, 0);
        for operations in self.operations.values() {
            let asked = http.get(format!("{operations}/readyz")).timeout(Duration::from_secs(2)).send().await;
            not_ready += usize::from(!asked.is_ok_and(|answer| answer.status() == 200));
        }
        Ok(not_ready)
    }

    /// Resolves when it says that it is ready.
    pub async fn is_ready(&self, name: &str) -> anyhow::Result<()> {
        let (http, until) = (crate::client::http()?, Instant::now() + READY_WITHIN);
        let readyz = format!("{}/readyz", self.operations[name]);
        loop {
            let asked = http.get(&readyz).timeout(Duration::from_secs(2)).send().await;
            if asked.is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < until, "{name} is not ready within {READY_WITHIN:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Debian keeps it in a folder for each architecture.
fn libfaketime() -> anyhow::Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib")?.flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|library| library.exists()).context("libfaketime is not installed: run `cargo xtask setup`")
}

impl Drop for Crew {
    fn drop(&mut self) {
        // Asked first: libfaketime has something to put away.
        for (name, child) in &self.running {
            if self.clocks.iter().any(|(of, _)| of == name) {
                let _ = kill_process(Pid::from_child(child), Signal::TERM);
            }
        }
        for (name, child) in &mut self.running {
            let is_asked = self.clocks.iter().any(|(of, _)| of == name);
            let until = Instant::now() + STOPPED_WITHIN;
            while is_asked && matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
