//! One stack: `latchkey up` as a child, in a temporary folder.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::quota::Quota;
use crate::up::stack_file::StackFile;

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// `up` gives its own processes 60 s.
const WITHIN: Duration = Duration::from_secs(90);

/// Credentials are issued once for their row, and must outlive it and the turns of all the others. And the load takes the whole machine: who waits for a core
/// is slow, and not away.
pub const SETTINGS: [(&str, &str); 4] = [
    ("auth", "token.access_lifetime = \"1day\"\nstore = { timeout = \"3s\", read_wait = \"3s\" }\n"),
    (
        "session",
        "sessions = { idle_timeout = \"1day\", absolute_timeout = \"1day\" }\nstore = { timeout = \"3s\", read_wait = \"3s\" }\n",
    ),
    ("policy", "store = { timeout = \"3s\", read_wait = \"3s\" }\n"),
    ("gateway", "limits.check_timeout = \"3s\"\n"),
];

pub struct Stack {
    up: Child,
    folder: tempfile::TempDir,
    pub file: StackFile,
}

impl Stack {
    pub async fn start(replicas: u16, stores: &[String], quota: Option<&Quota>) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let settings = folder.path().join("state/settings");
        for (service, toml) in SETTINGS {
            std::fs::create_dir_all(&settings)
                .and_then(|()| std::fs::write(settings.join(format!("{service}.toml")), toml))
                .context("a temporary file cannot be made")?;
        }
        let said = folder.path().join("up.log");
        let log = File::create(&said).context("a temporary file cannot be made")?;
        let program = std::env::current_exe().context("this program's own path is unknown")?;
        let mut up = Command::new(program)
            .args(["up", "--port", "0", "--replicas", &replicas.to_string(), "--state-dir"])
            .arg(folder.path().join("state"))
            .args(stores)
            .env_remove("LATCHKEY_DATABASE")
            .env_remove("LATCHKEY_SESSIONS")
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone().context("a temporary file cannot be used")?)
            .stderr(log)
            // Ctrl-C is for this process; the stack goes with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("latchkey up cannot be started")?;
        let starting = quota.zip(up.id()).map(|(quota, pid)| quota.one_core(pid)).transpose()?;
        let path = folder.path().join("state/stack.json");
        let started = async {
            loop {
                if let Some(file) = StackFile::read(&path)? {
                    return Ok(file);
                }
                if let Some(status) = up.try_wait()? {
                    let said = std::fs::read_to_string(&said).unwrap_or_default();
                    bail!("latchkey up ended ({status}): {said}");
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let file =
            tokio::time::timeout(WITHIN, started).await.context("the stack did not start in time")??;
        drop(starting);
        Ok(Self { up, folder, file })
    }

    /// `kill -9` of one process.
    pub fn kill(&self, process: &str) -> Result<()> {
        let pid =
            self.file.pids.get(process).and_then(|pid| i32::try_from(*pid).ok()).and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("no {process} runs"))?;
        kill_process(pid, Signal::KILL).with_context(|| format!("{process} cannot be killed"))
    }

    /// Resolves when all of those named run again under other numbers.
    pub async fn replaced(&self, processes: &[String]) -> Result<()> {
        let path = self.folder.path().join("state/stack.json");
        let all = async {
            loop {
                let now = StackFile::read(&path)?.context("the stack stopped")?;
                if processes.iter().all(|name| now.pids.get(name) != self.file.pids.get(name)) {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(WITHIN, all).await.context("what was killed did not start again in time")?
    }

    pub async fn stop(mut self) -> Result<()> {
        let pid = self.up.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.context("the stack is gone")?, Signal::TERM)
            .context("the stack cannot be stopped")?;
        self.up.wait().await.context("the stack is lost")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{MOST_REPLICAS, MOST_SECONDS, row::LOOKS};

    #[test]
    fn credentials_outlive_the_longest_turns_of_all_rows() {
        let of = |number: usize| SETTINGS[number].1.parse::<toml::Table>().unwrap();
        let (auth, session) = (of(0), of(1));
        let lives = [
            &auth["token"]["access_lifetime"],
            &session["sessions"]["idle_timeout"],
            &session["sessions"]["absolute_timeout"],
        ];
        let load = Duration::from_secs(MOST_SECONDS * LOOKS as u64) * u32::try_from(MOST_REPLICAS).unwrap();
        for life in lives {
            // An hour for everything else.
            let life = humantime::parse_duration(life.as_str().unwrap()).unwrap();
            assert!(life > load + Duration::from_secs(3_600), "{life:?}");
        }
    }
}
