//! A limit on the CPU of each process, by control groups: version 1 or 2, whichever holds the CPU controller here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::up::stack_file::StackFile;

/// Short, so that a process that has used its part waits a moment and not a tenth of a second.
const PERIOD_MICROSECONDS: f64 = 20_000.0;
/// The kernel takes no quota below this.
const LEAST_MICROSECONDS: f64 = 1_000.0;

pub struct Quota {
    /// Where groups are made, and where a process is whose own group is not below it.
    home: PathBuf,
    is_v2: bool,
    microseconds: u64,
}

/// The groups of one stack; removed when dropped, their processes back where they were.
pub struct Held {
    groups: Vec<Group>,
}

struct Group {
    path: PathBuf,
    before: PathBuf,
}

/// `--cpu`.
pub fn cores(text: &str) -> Result<f64, String> {
    let least = LEAST_MICROSECONDS / PERIOD_MICROSECONDS;
    match text.parse::<f64>() {
        Ok(cores) if cores >= least && cores <= 64.0 => Ok(cores),
        _ => Err(format!("must be a number of cores from {least} to 64")),
    }
}

impl Quota {
    /// Fails with the reason when this machine does not let us.
    pub fn open(cores: f64) -> Result<Self> {
        Self::open_at(Path::new("/sys/fs/cgroup"), cores)
    }

    fn open_at(root: &Path, cores: f64) -> Result<Self> {
        let has_cpu = |file| {
            let controllers = fs::read_to_string(root.join(file)).unwrap_or_default();
            controllers.split_whitespace().any(|name| name == "cpu")
        };
        let is_v2 = has_cpu("cgroup.subtree_control");
        let home = if is_v2 { root.to_owned() } else { root.join("cpu") };
        if !is_v2 && has_cpu("cgroup.controllers") {
            let file = root.join("cgroup.subtree_control");
            bail!(
                "--cpu: the groups of this machine are not given the CPU controller: write +cpu to {}",
                file.display()
            );
        }
        if !is_v2 && !home.join("cpu.cfs_quota_us").exists() && !home.join("cgroup.procs").exists() {
            bail!(
                "--cpu: no control group on this machine has the CPU controller, so processes cannot be limited"
            );
        }
        let microseconds = (PERIOD_MICROSECONDS * cores).round() as u64;
        let quota = Self { home, is_v2, microseconds };
        let trial =
            quota.group("trial", microseconds).context("--cpu: control groups cannot be written here")?;
        fs::remove_dir(&trial).context("--cpu: control groups cannot be removed here")?;
        Ok(quota)
    }

    /// Until what it answers is dropped, whatever `pid` starts has one core together, and knows it: as where it is limited from
    /// its start, it takes one thread, and not one for each core. With less of a core it would not start in time.
    pub fn one_core(&self, pid: u32) -> Result<Held> {
        let mut held = Held { groups: Vec::new() };
        held.put(pid, self.of(pid), self.group("start", PERIOD_MICROSECONDS as u64)?)?;
        Ok(held)
    }

    /// Limits every process of the stack but the applications behind the gateways.
    pub fn hold(&self, stack: &StackFile) -> Result<Held> {
        let mut held = Held { groups: Vec::new() };
        for (name, pid) in stack.pids.iter().filter(|(name, _)| !name.starts_with("echo-")) {
            self.group(name, self.microseconds)
                .and_then(|group| held.put(*pid, self.of(*pid), group))
                .with_context(|| format!("{name} cannot be limited"))?;
        }
        Ok(held)
    }

    fn group(&self, name: &str, microseconds: u64) -> Result<PathBuf> {
        let group = self.home.join(format!("latchkey-demo-{}-{name}", std::process::id()));
        let set = |file: &str, value: String| {
            let file = group.join(file);
            fs::write(&file, value).with_context(|| file.display().to_string())
        };
        fs::create_dir(&group).with_context(|| group.display().to_string())?;
        let limited = if self.is_v2 {
            set("cpu.max", format!("{microseconds} {PERIOD_MICROSECONDS}"))
        } else {
            set("cpu.cfs_period_us", PERIOD_MICROSECONDS.to_string())
                .and_then(|()| set("cpu.cfs_quota_us", microseconds.to_string()))
        };
        if limited.is_err() {
            let _ = fs::remove_dir(&group);
        }
        limited.map(|()| group)
    }

    /// The group that a process is in now: a line of `controllers:path`, without controllers in version 2.
    fn of(&self, pid: u32) -> PathBuf {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let path = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let is_ours = match self.is_v2 {
                true => controllers.is_empty(),
                false => controllers.split(',').any(|name| name == "cpu"),
            };
            is_ours.then(|| self.home.join(path.trim_start_matches('/')))
        });
        // In a container the path may be one of the host.
        path.filter(|path| path.is_dir()).unwrap_or_else(|| self.home.clone())
    }
}

impl Held {
    fn put(&mut self, pid: u32, before: PathBuf, path: PathBuf) -> Result<()> {
        let processes = path.join("cgroup.procs");
        self.groups.push(Group { path, before });
        fs::write(&processes, pid.to_string()).with_context(|| processes.display().to_string())
    }
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

#[cfg(test)]
mod tests;
