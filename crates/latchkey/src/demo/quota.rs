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
    home: PathBuf,
    is_v2: bool,
    microseconds: u64,
}

/// The groups of one stack; removed when dropped, their processes back where they were.
pub struct Held {
    home: PathBuf,
    groups: Vec<PathBuf>,
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
        let root = Path::new("/sys/fs/cgroup");
        let v2 = fs::read_to_string(root.join("cgroup.subtree_control"));
        let is_v2 = v2.is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "cpu"));
        let home = if is_v2 { root.to_owned() } else { root.join("cpu") };
        if !is_v2 && !home.join("cpu.cfs_quota_us").exists() && !home.join("cgroup.procs").exists() {
            bail!(
                "--cpu: no control group on this machine has the CPU controller, so processes cannot be limited"
            );
        }
        let microseconds = (PERIOD_MICROSECONDS * cores).round() as u64;
        let quota = Self { home, is_v2, microseconds };
        let trial = quota.group("trial").context("--cpu: control groups cannot be written here")?;
        fs::remove_dir(&trial).context("--cpu: control groups cannot be removed here")?;
        Ok(quota)
    }

    /// Limits every process of the stack but the applications behind the gateways.
    pub fn hold(&self, stack: &StackFile) -> Result<Held> {
        let mut held = Held { home: self.home.clone(), groups: Vec::new() };
        for (name, pid) in stack.pids.iter().filter(|(name, _)| !name.starts_with("echo-")) {
            let group = self.group(name).with_context(|| format!("{name} cannot be limited"))?;
            held.groups.push(group.clone());
            fs::write(group.join("cgroup.procs"), pid.to_string())
                .with_context(|| format!("{name} cannot be limited"))?;
        }
        Ok(held)
    }

    fn group(&self, name: &str) -> Result<PathBuf> {
        let group = self.home.join(format!("latchkey-demo-{}-{name}", std::process::id()));
        let set = |file: &str, value: String| {
            let file = group.join(file);
            fs::write(&file, value).with_context(|| file.display().to_string())
        };
        fs::create_dir(&group).with_context(|| group.display().to_string())?;
        let limited = if self.is_v2 {
            set("cpu.max", format!("{} {PERIOD_MICROSECONDS}", self.microseconds))
        } else {
            set("cpu.cfs_period_us", PERIOD_MICROSECONDS.to_string())
                .and_then(|()| set("cpu.cfs_quota_us", self.microseconds.to_string()))
        };
        if limited.is_err() {
            let _ = fs::remove_dir(&group);
        }
        limited.map(|()| group)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for group in &self.groups {
            for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
                let _ = fs::write(self.home.join("cgroup.procs"), pid);
            }
            let _ = fs::remove_dir(group);
        }
    }
}
