//! One process of the stack: how it is started, known to be ready, asked to stop, and what it said when it failed.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

/// Between two looks at whether a process is ready: start-up time is felt.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A readiness answer is a few lines. What is longer is somebody else's.
const LONGEST_ANSWER_BYTES: u64 = 64 * 1024;
/// A log file that has grown past this is moved aside at the next start.
const LOG_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
const SHOWN_LINES: usize = 20;
/// A process that has a core answers at once whether it is ready.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// How one sees that a process is ready.
#[derive(Debug, Clone, Copy)]
pub enum Probe {
    /// `GET /readyz` answers 200.
    Readyz(SocketAddr),
    /// The port accepts connections.
    Accepts(SocketAddr),
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Process {
    /// Service and replica: `auth-0`.
    pub name: String,
    /// Arguments after the program's own path.
    pub arguments: Vec<String>,
    pub probe: Probe,
    pub log: PathBuf,
}

/// A process that was started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pid: u32,
    /// Closed by our end, however it comes; the child leaves then (see [`crate::serve::leave_with_parent`]).
    _lifeline: Option<ChildStdin>,
    /// Where in the log file its own lines begin.
    log_from: u64,
}

impl Process {
    pub fn start(&self, program: &Path) -> Result<Running> {
        if fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_LIMIT_BYTES) {
            let _ = fs::rename(&self.log, self.log.with_extension("log.1"));
        }
        let cannot_log = || format!("{} cannot be written", self.log.display());
        let log = OpenOptions::new().append(true).create(true).open(&self.log).with_context(cannot_log)?;
        let log_from = log.metadata().with_context(cannot_log)?.len();
        let mut child = Command::new(program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().with_context(cannot_log)?)
            .stderr(log)
            // Ctrl-C in a terminal goes to the whole group: only this process is to hear it, and to stop the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.name))?;
        let pid = child.id().with_context(|| format!("{} ended at once", self.name))?;
        let lifeline = child.stdin.take();
        Ok(Running { child, pid, _lifeline: lifeline, log_from })
    }

    /// Resolves when `running` can serve; fails with what it said when it ends before.
    pub async fn ready(&self, running: &mut Running) -> Result<()> {
        loop {
            tokio::select! {
                ended = running.child.wait() => {
                    let ended = ended.with_context(|| format!("{} is lost", self.name))?;
                    return Err(self.failure(running, ended));
                }
                ready = self.probe.answers() => {
                    if ready {
                        return Ok(());
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// As [`Process::ready`], for at most `within`. What it waits for meanwhile, in its own words, is given to `tell`: after
    /// `tell_every`, and again whenever it has changed.
    pub async fn ready_within(
        &self,
        running: &mut Running,
        within: Duration,
        tell_every: Duration,
        mut tell: impl FnMut(String),
    ) -> Result<()> {
        let mut ready = pin!(self.ready(running));
        let mut why = String::new();
        let began = Instant::now();
        loop {
            let left = within.saturating_sub(began.elapsed());
            if let Ok(ready) = tokio::time::timeout(tell_every.min(left), &mut ready).await {
                return ready;
            }
            let now = self.probe.waits_for().await;
            let is_news = !now.is_empty() && now != why;
            if is_news {
                why = now;
            }
            if began.elapsed() >= within {
                let why = if why.is_empty() { "it does not say why" } else { &why };
                bail!("{} was not ready within {within:?}: {why}; see {}", self.name, self.log.display());
            }
            if is_news {
                tell(format!("{} is not ready yet: {why}", self.name));
            }
        }
    }

    fn failure(&self, running: &Running, ended: ExitStatus) -> anyhow::Error {
        let said = said(&self.log, running.log_from);
        if said.is_empty() {
            anyhow!("{} did not start ({ended}): see {}", self.name, self.log.display())
        } else {
            anyhow!("{} did not start:\n  {}", self.name, said.join("\n  "))
        }
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub async fn ended(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.context("a process is lost")
    }

    /// Asks it to drain and leave. Does nothing when it is gone.
    pub fn ask_to_stop(&self) {
        // `id` is `None` once the child was waited for: its number may be another's by then.
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }
}

impl Probe {
    async fn answers(self) -> bool {
        let asked = async {
            match self {
                Probe::Accepts(address) => TcpStream::connect(address).await.is_ok(),
                Probe::Readyz(address) => {
                    readyz(address).await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
                }
            }
        };
        tokio::time::timeout(ANSWERS_WITHIN, asked).await.unwrap_or(false)
    }

    /// What a process that is not ready waits for; empty: it does not say.
    async fn waits_for(self) -> String {
        let Probe::Readyz(address) = self else { return String::new() };
        let Ok(Ok(answer)) = tokio::time::timeout(ANSWERS_WITHIN, readyz(address)).await else {
            return String::new();
        };
        let reasons: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("not ok: ")).collect();
        reasons.join("; ")
    }
}

/// The whole answer: not ready, it has a line for each condition that is missing.
async fn readyz(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The last lines of plain text in a log: what a process says when it cannot start. Its log records are JSON.
fn said(log: &Path, from: u64) -> Vec<String> {
    let mut text = Vec::new();
    let read = fs::File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut text)
    });
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('{')).collect();
    lines.iter().skip(lines.len().saturating_sub(SHOWN_LINES)).map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &Path, script: &str, probe: Probe) -> Process {
        Process {
            name: "test-0".into(),
            arguments: vec!["-c".into(), script.into()],
            probe,
            log: folder.join("test-0.log"),
        }
    }

    /// Nothing listens here: the listener is gone.
    fn nowhere() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn a_process_that_cannot_start_is_quoted_without_its_log_records_and_former_lines() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("test-0.log"), "of an earlier run\n").unwrap();
        let script = "echo '{\"level\":\"info\"}'; echo 'server.listen: nonsense' >&2; exit 3";
        let process = shell(temp.path(), script, Probe::Readyz(nowhere()));
        let mut running = process.start(Path::new("/bin/sh")).unwrap();
        let error = process.ready(&mut running).await.unwrap_err().to_string();
        assert_eq!(error, "test-0 did not start:\n  server.listen: nonsense");
    }

    /// Answers every request as a process does that waits for its store.
    async fn waiting_for_its_store(listener: tokio::net::TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Who looks by two connections at once may leave either of them silent for a while.
            let _ = tokio::time::timeout(LOOK_EVERY, stream.read(&mut [0; 1024])).await;
            let body = "not ready\nnot ok: store: waiting for it\nnot ok: keys: starting\n";
            let answer = format!("HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }

    #[tokio::test]
    async fn what_a_process_waits_for_is_told_once_and_said_when_it_is_given_up() {
        let temp = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let process = shell(temp.path(), "exec cat", Probe::Readyz(listener.local_addr().unwrap()));
        let mut running = process.start(Path::new("/bin/sh")).unwrap();
        let mut told = Vec::new();
        let (within, every) = (Duration::from_secs(1), Duration::from_millis(50));
        let error = tokio::select! {
            ready = process.ready_within(&mut running, within, every, |line| told.push(line)) => ready.unwrap_err(),
            () = waiting_for_its_store(listener) => unreachable!(),
        };
        let why = "store: waiting for it; keys: starting";
        assert_eq!(told, [format!("test-0 is not ready yet: {why}")]);
        let log = process.log.display();
        assert_eq!(error.to_string(), format!("test-0 was not ready within 1s: {why}; see {log}"));
    }

    #[tokio::test]
    async fn a_process_is_ready_when_its_port_accepts_and_ends_when_asked() {
        let temp = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let probe = Probe::Accepts(listener.local_addr().unwrap());
        let process = shell(temp.path(), "exec cat", probe);
        let mut running = process.start(Path::new("/bin/sh")).unwrap();
        process.ready(&mut running).await.unwrap();
        running.ask_to_stop();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&running.ended().await.unwrap()), Some(15));
        running.ask_to_stop();
    }
}
