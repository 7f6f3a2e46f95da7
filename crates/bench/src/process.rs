//! Servers under test: started on a core of their own, measured by the CPU time that the kernel counts, stopped again.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// A running server. Dropping it ends it.
pub struct Server {
    child: Child,
    /// How long from start until it accepted a connection.
    pub started_in: Duration,
}

impl Server {
    /// Starts a program on one core and waits until it accepts connections.
    pub fn start(
        core: usize,
        program: &Path,
        arguments: &[String],
        address: SocketAddr,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let output = fs::File::create(log)?;
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut child = command.spawn().with_context(|| format!("could not start {}", program.display()))?;
        while TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status}: {}", program.display(), fs::read_to_string(log)?);
            }
            if began.elapsed() > Duration::from_secs(20) {
                child.kill().ok();
                bail!("{} does not listen on {address}: {}", program.display(), fs::read_to_string(log)?);
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(Self { child, started_in: began.elapsed() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing it holds outlives the benchmark, so it need not be asked.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a process, all its threads, has had since it started (`/proc/<pid>/task/*/schedstat`).
#[derive(Clone, Copy)]
pub struct Times {
    pub cpu: Duration,
    /// Ready to run while something else had the core.
    pub waited: Duration,
}

impl Times {
    pub fn since(self, before: Times) -> Times {
        Times { cpu: self.cpu.saturating_sub(before.cpu), waited: self.waited.saturating_sub(before.waited) }
    }
}

pub fn times(pid: u32) -> anyhow::Result<Times> {
    let mut times = Times { cpu: Duration::ZERO, waited: Duration::ZERO };
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the look.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let mut next = || -> anyhow::Result<Duration> {
            Ok(Duration::from_nanos(numbers.next().context("schedstat is too short")??))
        };
        times.cpu += next()?;
        times.waited += next()?;
    }
    Ok(times)
}

/// Keeps a process that runs already, all its threads, on one core.
pub fn pin(pid: u32, core: usize) -> anyhow::Result<()> {
    let mut command = Command::new("taskset");
    let output = command.args(["-acp", &core.to_string(), &pid.to_string()]).output().context("taskset")?;
    anyhow::ensure!(output.status.success(), "taskset: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Sends a process a signal by its name, such as STOP.
pub fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().context("kill")?;
    anyhow::ensure!(sent.success(), "kill -s {name} {pid}: {sent}");
    Ok(())
}

/// What all cores together have done and could have done since the machine started, in ticks (`/proc/stat`).
#[derive(Clone, Copy)]
pub struct Machine {
    idle: u64,
    all: u64,
}

impl Machine {
    pub fn now() -> anyhow::Result<Machine> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("/proc/stat")?;
        // user, nice, system, idle, iowait, irq, softirq, steal; what guests had is in the first two.
        let ticks: Vec<u64> = line
            .split_whitespace()
            .take(8)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .context("/proc/stat")?;
        let idle = ticks.iter().skip(3).take(2).sum();
        Ok(Machine { idle, all: ticks.iter().sum() })
    }

    /// Which share of the time the cores were busy since then.
    pub fn busy_since(self, then: Machine) -> f64 {
        let (idle, all) = (self.idle.saturating_sub(then.idle), self.all.saturating_sub(then.all));
        1.0 - idle as f64 / all.max(1) as f64
    }
}

/// Resident memory in bytes (`/proc/<pid>/status`, VmRSS).
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("VmRSS is empty")?.parse::<u64>()? * 1024)
}

/// An address on this machine that nobody listens on at the moment.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
