//! The processes of a stack, run by the row itself: `latchkey up` waits longer each time before it starts one again, and a row
//! that restarts something hundreds of times wants it back at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::stack::Stack;

const READY_WITHIN: Duration = Duration::from_secs(60);

pub struct Crew {
    program: PathBuf,
    state: PathBuf,
    operations: BTreeMap<String, String>,
    /// Where each application listens.
    echoes: Vec<String>,
    running: BTreeMap<String, Child>,
}

impl Crew {
    /// Stops the stack and runs its processes on its settings, until dropped.
    pub async fn takes_over(stack: &mut Stack, program: &Path) -> anyhow::Result<Crew> {
        stack.stop();
        let echoes = stack.file.echo.iter().map(|url| url.trim_start_matches("http://").to_owned());
        let mut crew = Crew {
            program: program.to_owned(),
            state: stack.state(),
            operations: stack.file.operations.clone(),
            echoes: echoes.collect(),
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

impl Drop for Crew {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
