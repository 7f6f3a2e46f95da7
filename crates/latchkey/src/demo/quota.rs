//! A limit on the CPU of each process, by control groups: version 1 or 2, whichever holds the CPU controller here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::up::stack_file::StackFile;

mod groups;

pub use groups::{Counted, Held};
use groups::{Counters, Hierarchy};

/// Short, so that a process that has used its part waits a moment and not a tenth of a second.
const PERIOD_MICROSECONDS: f64 = 20_000.0;
/// The kernel takes no quota below this.
const LEAST_MICROSECONDS: f64 = 1_000.0;

pub struct Quota {
    limiting: Hierarchy,
    /// Where version 1 counts CPU time apart from where it limits it; `None`: the limiting groups count.
    counting: Option<Hierarchy>,
    /// What each process has.
    pub cores: f64,
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
        if !is_v2 && has_cpu("cgroup.controllers") {
            let file = root.join("cgroup.subtree_control");
            bail!(
                "--cpu: the groups of this machine are not given the CPU controller: write +cpu to {}",
                file.display()
            );
        }
        let limiting =
            if is_v2 { Hierarchy::version_2(root.to_owned()) } else { Hierarchy::version_1(root, "cpu") };
        if !is_v2 && !limiting.has("cpu.cfs_quota_us") && !limiting.has("cgroup.procs") {
            bail!(
                "--cpu: no control group on this machine has the CPU controller, so processes cannot be limited"
            );
        }
        let counting = Hierarchy::version_1(root, "cpuacct");
        let is_apart = !is_v2 && !limiting.has("cpuacct.usage");
        if is_apart && !counting.has("cpuacct.usage") {
            bail!(
                "--cpu: no control group on this machine counts CPU time, so nobody sees who used its part"
            );
        }
        let quota = Self { limiting, counting: is_apart.then_some(counting), cores };
        let trial = |made: Result<PathBuf>| {
            let group = made.context("--cpu: control groups cannot be written here")?;
            fs::remove_dir(&group).context("--cpu: control groups cannot be removed here")
        };
        trial(quota.limited("trial", cores))?;
        if let Some(counting) = &quota.counting {
            trial(counting.group("trial"))?;
        }
        Ok(quota)
    }

    /// Until what it answers is dropped, whatever `pid` starts has one core together, and knows it: as where it is limited from
    /// its start, it takes one thread, and not one for each core. With less of a core it would not start in time.
    pub fn one_core(&self, pid: u32) -> Result<Held> {
        let mut held = Held::default();
        held.put(pid, self.limiting.of(pid), self.limited(&format!("start-{pid}"), 1.0)?)?;
        Ok(held)
    }

    /// Limits every process of the stack but the applications behind the gateways.
    pub fn hold(&self, stack: &StackFile) -> Result<Held> {
        let mut held = Held::default();
        for (name, pid) in stack.pids.iter().filter(|(name, _)| !name.starts_with("echo-")) {
            self.add(&mut held, name, *pid).with_context(|| format!("{name} cannot be limited"))?;
        }
        Ok(held)
    }

    fn add(&self, held: &mut Held, name: &str, pid: u32) -> Result<()> {
        // Another stack has one of that name, too.
        let group = format!("{name}-{pid}");
        let limiting = self.limited(&group, self.cores)?;
        held.put(pid, self.limiting.of(pid), limiting.clone())?;
        let counting = match &self.counting {
            None => limiting.clone(),
            Some(counting) => {
                let group = counting.group(&group)?;
                held.put(pid, counting.of(pid), group.clone())?;
                group
            }
        };
        let counters = match self.limiting.is_v2() {
            true => Counters::Version2(limiting),
            false => Counters::Version1 { limiting, counting },
        };
        held.count(name, counters);
        Ok(())
    }

    fn limited(&self, name: &str, cores: f64) -> Result<PathBuf> {
        let group = self.limiting.group(name)?;
        let set = |file: &str, value: String| {
            let file = group.join(file);
            fs::write(&file, value).with_context(|| file.display().to_string())
        };
        let microseconds = (PERIOD_MICROSECONDS * cores).round();
        let limited = if self.limiting.is_v2() {
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
}

#[cfg(test)]
mod tests;
