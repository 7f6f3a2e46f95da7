//! One process of the stack: how it is started, known to be ready, asked to stop, and what it said when it failed.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};

/// Between two looks at whether a process is ready: start-up time is felt.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A log file that has grown past this is moved aside at the next start.
const LOG_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
const SHOWN_LINES: usize = 20;

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
                Probe::Readyz(address) => readyz(address).await.unwrap_or(false),
            }
        };
        tokio::time::timeout(Duration::from_secs(1), asked).await.unwrap_or(false)
    }
}

async fn readyz(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(status == *b"HTTP/1.1 200")
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
