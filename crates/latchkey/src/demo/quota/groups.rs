//! Control groups with one process each: made, counted, and removed with the process back where it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

pub struct Hierarchy {
    /// Where groups are made, and where a process is whose own group is not below it.
    pub home: PathBuf,
    /// In version 1 there is one for each controller. In version 2 there is one for all.
    controller: Option<&'static str>,
}

/// The groups of one stack; removed when dropped, their processes back where they were.
#[derive(Default)]
pub struct Held {
    groups: Vec<Group>,
    /// By process.
    counters: BTreeMap<String, Counters>,
}

struct Group {
    path: PathBuf,
    before: PathBuf,
}

/// The groups that count for one process.
pub enum Counters {
    Version1 { limiting: PathBuf, counting: PathBuf },
    Version2(PathBuf),
}

/// What the kernel counted of a process since it was limited.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counted {
    pub used: Duration,
    /// How long it was made to wait.
    pub throttled: Duration,
}

impl Counted {
    /// What was counted between two looks.
    pub fn add(&mut self, before: Self, after: Self) {
        self.used += after.used.saturating_sub(before.used);
        self.throttled += after.throttled.saturating_sub(before.throttled);
    }
}

impl Hierarchy {
    pub fn version_1(root: &Path, controller: &'static str) -> Self {
        Self { home: root.join(controller), controller: Some(controller) }
    }

    pub fn version_2(home: PathBuf) -> Self {
        Self { home, controller: None }
    }

    pub fn is_v2(&self) -> bool {
        self.controller.is_none()
    }

    pub fn has(&self, file: &str) -> bool {
        self.home.join(file).exists()
    }

    /// A new one.
    pub fn group(&self, name: &str) -> Result<PathBuf> {
        let group = self.home.join(format!("latchkey-demo-{}-{name}", std::process::id()));
        fs::create_dir(&group).with_context(|| group.display().to_string())?;
        Ok(group)
    }

    /// The group that a process is in now: a line of `controllers:path`, without controllers in version 2.
    pub fn of(&self, pid: u32) -> PathBuf {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let path = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let is_ours = match self.controller {
                None => controllers.is_empty(),
                Some(controller) => controllers.split(',').any(|name| name == controller),
            };
            is_ours.then(|| self.home.join(path.trim_start_matches('/')))
        });
        // In a container the path may be one of the host.
        path.filter(|path| path.is_dir()).unwrap_or_else(|| self.home.clone())
    }
}

impl Held {
    pub fn put(&mut self, pid: u32, before: PathBuf, path: PathBuf) -> Result<()> {
        let processes = path.join("cgroup.procs");
        self.groups.push(Group { path, before });
        fs::write(&processes, pid.to_string()).with_context(|| processes.display().to_string())
    }

    pub fn count(&mut self, process: &str, counters: Counters) {
        self.counters.insert(process.to_owned(), counters);
    }

    /// Of every process that is counted.
    pub fn counted(&self) -> Result<BTreeMap<String, Counted>> {
        self.counters.iter().map(|(process, counters)| Ok((process.clone(), counters.read()?))).collect()
    }
}

impl Counters {
    fn read(&self) -> Result<Counted> {
        match self {
            Self::Version1 { limiting, counting } => {
                let used = number(&counting.join("cpuacct.usage"), "")?;
                let throttled = number(&limiting.join("cpu.stat"), "throttled_time ")?;
                Ok(Counted { used: Duration::from_nanos(used), throttled: Duration::from_nanos(throttled) })
            }
            Self::Version2(group) => {
                let of = |name| number(&group.join("cpu.stat"), name).map(Duration::from_micros);
                Ok(Counted { used: of("usage_usec ")?, throttled: of("throttled_usec ")? })
            }
        }
    }
}

/// In the line that begins with `name`.
fn number(file: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.with_context(|| format!("{} has no number {name}", file.display()))
}

impl Drop for Held {
    fn drop(&mut self) {
        for Group { path, before } in &self.groups {
            for pid in fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines() {
                let _ = fs::write(before.join("cgroup.procs"), pid);
            }
            let _ = fs::remove_dir(path);
        }
    }
}
