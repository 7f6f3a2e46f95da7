//! The system under test: what `latchkey up` starts, as processes of their own, found, hurt and looked at from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::panics;
use crate::resources::{Files, open_files, resident_mb};

/// A loaded machine running a debug build is slow.
const SOON: Duration = Duration::from_secs(90);

/// Sessions of one user are many here, passwords few: what the load makes must not end what it made before.
const SETTINGS: [(&str, &str); 4] = [
    ("auth", "[shutdown]\nsettle = \"1s\"\n"),
    ("session", "[sessions]\nlimit = 10000\n[shutdown]\nsettle = \"1s\"\n"),
    ("policy", "[shutdown]\nsettle = \"1s\"\n"),
    ("gateway", "[shutdown]\nsettle = \"1s\"\n"),
];

#[derive(Debug, Clone, Deserialize)]
pub struct StackFile {
    pub gateways: Vec<String>,
    pub internal: Vec<String>,
    pub services: BTreeMap<String, Vec<String>>,
    pub echo: Vec<String>,
    pub operations: BTreeMap<String, String>,
    pub pids: BTreeMap<String, i32>,
    pub admin: Administrator,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Administrator {
    pub username: String,
    pub password_file: PathBuf,
}

/// How a stack is to be started.
pub struct Setup {
    folder: TempDir,
    database: Option<u16>,
    arguments: Vec<String>,
    settings: BTreeMap<String, toml::Table>,
}

pub struct Stack {
    folder: TempDir,
    up: Child,
    program: PathBuf,
    arguments: Vec<String>,
    /// The port of the database's server.
    database: Option<u16>,
    pub file: StackFile,
}

impl Setup {
    pub fn new(replicas: &str, database: &str, sessions: &str) -> anyhow::Result<Setup> {
        let arguments = ["--replicas", replicas, "--database", database, "--sessions", sessions];
        let mut setup = Setup {
            folder: tempfile::tempdir()?,
            database: reqwest::Url::parse(database).ok().and_then(|url| url.port()),
            arguments: arguments.map(str::to_owned).to_vec(),
            settings: BTreeMap::new(),
        };
        for (service, toml) in SETTINGS {
            setup.set(service, toml)?;
        }
        Ok(setup)
    }

    /// Settings of `service`, laid over what is there, section by section.
    pub fn set(&mut self, service: &str, toml: &str) -> anyhow::Result<()> {
        lay_over(self.settings.entry(service.to_owned()).or_default(), toml.parse()?);
        Ok(())
    }

    pub async fn start(self, program: &Path) -> anyhow::Result<Stack> {
        let state = self.folder.path().join("state");
        private_folder(&state)?;
        private_folder(&state.join("settings"))?;
        for (service, table) in &self.settings {
            fs::write(state.join(format!("settings/{service}.toml")), table.to_string())?;
        }
        let mut stack = Stack {
            up: launch(program, &self.arguments, self.folder.path())?,
            folder: self.folder,
            program: program.to_owned(),
            arguments: self.arguments,
            database: self.database,
            file: StackFile {
                gateways: Vec::new(),
                internal: Vec::new(),
                services: BTreeMap::new(),
                echo: Vec::new(),
                operations: BTreeMap::new(),
                pids: BTreeMap::new(),
                admin: Administrator { username: String::new(), password_file: PathBuf::new() },
            },
        };
        stack.until_started().await?;
        Ok(stack)
    }

    /// Starts what must not start; what it said, or `None` when it did start all the same.
    pub async fn refused(self, program: &Path) -> anyhow::Result<Option<String>> {
        match self.start(program).await {
            Ok(_) => Ok(None),
            Err(error) => Ok(Some(error.to_string())),
        }
    }
}

fn launch(program: &Path, arguments: &[String], folder: &Path) -> anyhow::Result<Child> {
    let out = |name: &str| fs::File::create(folder.join(name));
    let up = Command::new(program)
        .args(["up", "--port", "0"])
        .args(arguments)
        .arg("--state-dir")
        .arg(folder.join("state"))
        .stdin(Stdio::null())
        .stdout(out("up.out")?)
        .stderr(out("up.err")?)
        .spawn();
    up.with_context(|| program.display().to_string())
}

/// Section by section.
fn lay_over(all: &mut toml::Table, more: toml::Table) {
    for (section, keys) in more {
        match (all.get_mut(&section), keys) {
            (Some(toml::Value::Table(there)), toml::Value::Table(keys)) => there.extend(keys),
            (_, keys) => drop(all.insert(section, keys)),
        }
    }
}

fn private_folder(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    Ok(fs::DirBuilder::new().mode(0o700).create(path)?)
}

impl Stack {
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Where `up` says who runs under which number.
    pub fn file_path(&self) -> PathBuf {
        self.state().join("stack.json")
    }

    /// What `latchkey up` has said.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("up.err")).unwrap_or_default()
    }

    pub fn signal(&self, process: &str, signal: Signal) -> anyhow::Result<()> {
        let pid = self.file.pids.get(process).with_context(|| format!("there is no {process}"))?;
        kill_process(Pid::from_raw(*pid).context("no process number")?, signal)
            .with_context(|| process.to_owned())
    }

    /// Reads again who runs under which number.
    pub fn look_again(&mut self) -> anyhow::Result<()> {
        self.file = serde_json::from_slice(&fs::read(self.file_path())?)?;
        Ok(())
    }

    /// The public URL of each gateway, with the URL of its probes.
    pub fn gateways(&self) -> Vec<(String, String)> {
        let urls = self.file.gateways.iter().enumerate();
        urls.map(|(at, url)| (url.clone(), self.file.operations[&format!("gateway-{at}")].clone())).collect()
    }

    /// As [`Stack::gateways`], of the listeners for administration.
    pub fn internal(&self) -> Vec<(String, String)> {
        let urls = self.file.internal.iter().enumerate();
        urls.map(|(at, url)| (url.clone(), self.file.operations[&format!("gateway-{at}")].clone())).collect()
    }

    /// Resolves when `process` runs again under another number and says that it is ready.
    pub async fn replaced(&mut self, process: &str) -> anyhow::Result<()> {
        let before = self.file.pids.get(process).copied();
        let until = Instant::now() + SOON;
        loop {
            let text = fs::read(self.file_path())?;
            let file: StackFile = serde_json::from_slice(&text)?;
            if file.pids.get(process).copied() != before {
                self.file = file;
                return Ok(());
            }
            if Instant::now() > until {
                bail!("{process} was not replaced within {SOON:?}\n{}", self.said());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything is stopped and started again, with these settings of `service` laid over its own.
    pub async fn start_again_with(&mut self, service: &str, toml: &str) -> anyhow::Result<()> {
        let file = self.state().join(format!("settings/{service}.toml"));
        let mut settings: toml::Table = fs::read_to_string(&file)?.parse()?;
        lay_over(&mut settings, toml.parse()?);
        fs::write(file, settings.to_string())?;
        self.stop();
        fs::remove_file(self.file_path()).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        self.up = launch(&self.program, &self.arguments, self.folder.path())?;
        self.until_started().await
    }

    async fn until_started(&mut self) -> anyhow::Result<()> {
        let path = self.file_path();
        let until = Instant::now() + SOON;
        loop {
            if let Ok(text) = fs::read(&path) {
                self.file = serde_json::from_slice(&text)?;
                return Ok(());
            }
            if let Some(status) = self.up.try_wait()? {
                bail!("the stack did not start: {status}\n{}", self.said());
            }
            if Instant::now() > until {
                bail!("the stack is not ready after {SOON:?}\n{}", self.said());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// How each process that ended did so, in the words of `up`.
    pub fn ends(&self) -> Vec<(String, String)> {
        let said = self.said();
        let ended = said.lines().filter_map(|line| {
            let (name, rest) = line.split_once(" ended (")?;
            Some((name.to_owned(), rest.split_once(')')?.0.to_owned()))
        });
        ended.collect()
    }

    /// Panics of all, and of `up` itself.
    pub fn panics(&self) -> u64 {
        panics::told_in(&self.state().join("logs")) + panics::told(&self.said())
    }

    /// How many lines of all logs are such.
    pub fn log_lines(&self, is_such: impl Fn(&str) -> bool) -> usize {
        let logs = fs::read_dir(self.state().join("logs")).into_iter().flatten().flatten();
        let texts = logs.map(|log| fs::read(log.path()).unwrap_or_default());
        texts.map(|text| String::from_utf8_lossy(&text).lines().filter(|line| is_such(line)).count()).sum()
    }

    /// Keeps the logs beside the ledger.
    pub fn keep_logs(&self, at: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(at)?;
        for log in fs::read_dir(self.state().join("logs"))? {
            let log = log?;
            fs::copy(log.path(), at.join(log.file_name()))?;
        }
        fs::copy(self.folder.path().join("up.err"), at.join("up.err"))?;
        Ok(())
    }

    /// Resident megabytes of each process whose name begins so.
    pub fn resources(&self, service: &str) -> Vec<u64> {
        let ours = self.file.pids.iter().filter(|(name, _)| name.starts_with(service));
        ours.filter_map(|(_, pid)| resident_mb(*pid)).collect()
    }

    /// Of each process, by its number.
    pub fn open_files(&self) -> BTreeMap<i32, Files> {
        let pids = self.file.pids.values();
        pids.filter_map(|pid| Some((*pid, open_files(*pid, self.database)?))).collect()
    }

    /// Stops everything; its files stay.
    pub fn stop(&mut self) {
        if let Some(pid) = i32::try_from(self.up.id()).ok().and_then(Pid::from_raw)
            && matches!(self.up.try_wait(), Ok(None))
        {
            let _ = kill_process(pid, Signal::TERM);
            for _ in 0..1_500 {
                if !matches!(self.up.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            // Its children leave with it.
            let _ = self.up.kill();
        }
        let _ = self.up.wait();
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop();
    }
}
