//! A process that is suspended with everything that it has, as a container runtime pauses a container: by control groups,
//! version 2 or 1. Unlike a signal it takes no part in that, and nobody can tell it to go on.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};

/// How one version of control groups suspends.
struct Version {
    home: PathBuf,
    /// The controller that a line of `/proc/PID/cgroup` names; version 2's line names none.
    controller: &'static str,
    /// What is written, and what says that it has been done.
    file: &'static str,
    stop: &'static str,
    go_on: &'static str,
    state: (&'static str, &'static str),
}

/// Goes on when dropped; [`Suspended::go_on`] says whether it could.
pub(super) struct Suspended {
    version: Version,
    group: PathBuf,
    pid: u32,
    /// Where it was before; None: it was not taken from there.
    before: Option<PathBuf>,
}

impl Version {
    fn here() -> Version {
        let root = Path::new("/sys/fs/cgroup");
        // Where both are there, version 2 is below.
        let two = [root.to_owned(), root.join("unified")];
        match two.into_iter().find(|home| home.join("cgroup.controllers").exists()) {
            Some(home) => Version {
                home,
                controller: "",
                file: "cgroup.freeze",
                stop: "1",
                go_on: "0",
                state: ("cgroup.events", "frozen 1"),
            },
            None => Version {
                home: root.join("freezer"),
                controller: "freezer",
                file: "freezer.state",
                stop: "FROZEN",
                go_on: "THAWED",
                state: ("freezer.state", "FROZEN"),
            },
        }
    }

    /// The group that a process is in now. In a container its path may be one of the host.
    fn of(&self, pid: u32) -> anyhow::Result<PathBuf> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let path = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            (controllers == self.controller).then(|| self.home.join(path.trim_start_matches('/')))
        });
        Ok(path.filter(|path| path.is_dir()).unwrap_or_else(|| self.home.clone()))
    }
}

impl Suspended {
    /// Fails with the reason where this machine does not let us.
    pub(super) fn suspend(pid: u32) -> anyhow::Result<Self> {
        let version = Version::here();
        let before = version.of(pid)?;
        let group = version.home.join(format!("latchkey-bench-{}", std::process::id()));
        fs::create_dir(&group).with_context(|| group.display().to_string())?;
        let mut suspended = Self { version, group, pid, before: None };
        suspended.set("cgroup.procs", &pid.to_string())?;
        suspended.before = Some(before);
        suspended.set(suspended.version.file, suspended.version.stop)?;
        let (file, line) = suspended.version.state;
        let is_done = || fs::read_to_string(suspended.group.join(file)).is_ok_and(|text| text.contains(line));
        for _ in 0..100 {
            if is_done() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        ensure!(is_done(), "it is not suspended within a second");
        Ok(suspended)
    }

    pub(super) fn go_on(mut self) -> anyhow::Result<()> {
        self.release()
    }

    fn release(&mut self) -> anyhow::Result<()> {
        let Some(before) = self.before.take() else { return Ok(()) };
        self.set(self.version.file, self.version.go_on)?;
        let processes = before.join("cgroup.procs");
        fs::write(&processes, self.pid.to_string()).with_context(|| processes.display().to_string())
    }

    fn set(&self, file: &str, value: &str) -> anyhow::Result<()> {
        let file = self.group.join(file);
        fs::write(&file, value).with_context(|| file.display().to_string())
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        let _ = self.release();
        let _ = fs::remove_dir(&self.group);
    }
}
