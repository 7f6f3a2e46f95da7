//! A server as a child process that does not outlive the test.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{last_lines, of};

/// How often a server is asked whether it is there, and how often before it counts as failed: half a minute in all.
const PAUSE: Duration = Duration::from_millis(10);
const TRIES: usize = 3_000;

pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// How long the log was before it.
    began: u64,
}

impl Process {
    /// `program` is killed when the thread that called this ends, however it ends. As root it runs as who owns `folder`.
    pub(crate) fn start(program: &Path, arguments: &[&str], folder: &Path) -> io::Result<Process> {
        let log = folder.join("log");
        let file = File::options().create(true).append(true).open(&log).map_err(of(log.display()))?;
        let began = file.metadata()?.len();
        let mut command = as_owner_of(folder)?;
        command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments).current_dir(folder);
        command.stdin(std::process::Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().map_err(of(command.get_program().display()))?;
        Ok(Process { child, log, began })
    }

    /// Waits until `is_there`. `false`: the process ended instead.
    pub(crate) fn wait_for(&mut self, mut is_there: impl FnMut() -> bool) -> io::Result<bool> {
        for _ in 0..TRIES {
            if is_there() {
                return Ok(true);
            }
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
        Err(io::Error::other(format!("it neither came up nor ended: {}", self.said())))
    }

    /// The end of what it said.
    pub(crate) fn said(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let began = usize::try_from(self.began).unwrap_or(usize::MAX);
        last_lines(log.get(began..).unwrap_or_default())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // Gone already is what is wanted too.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // KILL reaches a stopped process too.
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

pub(crate) fn is_listening(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A command that runs what its arguments say as the owner of `folder`: PostgreSQL refuses to run as root.
pub(crate) fn as_owner_of(folder: &Path) -> io::Result<Command> {
    let mut command = Command::new("setpriv");
    let owner = fs::metadata(folder).map_err(of(folder.display()))?;
    if rustix::process::geteuid().is_root() {
        command.arg(format!("--reuid={}", owner.uid())).arg(format!("--regid={}", owner.gid()));
        command.arg("--clear-groups");
    }
    Ok(command)
}

/// The folder to start a server in: the test's own, and as root somebody's who is not root.
pub(crate) fn folder() -> io::Result<tempfile::TempDir> {
    let folder = tempfile::TempDir::new()?;
    give_away(folder.path())?;
    Ok(folder)
}

pub(crate) fn give_away(path: &Path) -> io::Result<()> {
    const NOBODY: u32 = 65_534;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).map_err(of(path.display()))?;
    }
    Ok(())
}
