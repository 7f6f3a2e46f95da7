//! A server as a child process that does not outlive the test.

use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How often a server is asked whether it is there, and how often before it counts as failed: half a minute in all.
const PAUSE: Duration = Duration::from_millis(10);
const TRIES: usize = 3_000;

pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// `program` is killed when the thread that called this ends, however it ends. As root it runs as who owns `folder`.
    pub(crate) fn start(program: &Path, arguments: &[&str], folder: &Path) -> Process {
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut command = as_owner_of(folder);
        command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments).current_dir(folder);
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Process { child }
    }

    /// Waits until `is_there`. `false`: the process ended instead.
    pub(crate) fn wait_for(&mut self, mut is_there: impl FnMut() -> bool) -> bool {
        for _ in 0..TRIES {
            if is_there() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("a server neither came up nor ended");
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
pub(crate) fn as_owner_of(folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let owner = std::fs::metadata(folder).unwrap();
    if rustix::process::geteuid().is_root() {
        command.arg(format!("--reuid={}", owner.uid())).arg(format!("--regid={}", owner.gid()));
        command.arg("--clear-groups");
    }
    command
}

/// The folder to start a server in: the test's own, and as root somebody's who is not root.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().unwrap();
    give_away(folder.path());
    folder
}

pub(crate) fn give_away(path: &Path) {
    const NOBODY: u32 = 65_534;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}
