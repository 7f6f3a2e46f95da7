//! PostgreSQL, one cluster a test.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::failure::{of, run};
use crate::port::free_port;
use crate::process::{Process, as_owner_of, folder, give_away, is_listening};

/// Whether commits reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// As a server comes: for what is about durability, and for figures.
    On,
    /// For everything else, which it makes quick. Survives the kill of PostgreSQL all the same, not that of the machine.
    Off,
}

/// A running server, with the database `latchkey` and the superuser `latchkey`, whom everybody on loopback may be.
pub struct Postgres {
    process: Option<Process>,
    port: u16,
    sync: Sync,
    folder: TempDir,
}

impl Postgres {
    /// Runs as soon as this returns.
    pub fn start(sync: Sync) -> Postgres {
        Postgres::try_start(sync).unwrap_or_else(|error| does_not_start(&error))
    }

    /// As [`Postgres::start`]. The error is why there is none, in the server's own words where it has said any.
    pub fn try_start(sync: Sync) -> io::Result<Postgres> {
        let (template, folder) = (template()?, folder()?);
        let mut copy = as_owner_of(folder.path())?;
        copy.args(["cp", "-r", "--reflink=auto"]).arg(template).arg(folder.path().join("data"));
        run(&mut copy)?;
        let mut server = Postgres { process: None, port: 0, sync, folder };
        server.try_restart_with(&[])?;
        Ok(server)
    }

    /// A copy of this one that follows it, until it is [promoted](Postgres::promote). Where `is_waited_for`, this one answers
    /// no commit from now on that the copy has not got.
    pub fn standby(&self, is_waited_for: bool) -> Postgres {
        let (folder, port) = (folder().unwrap(), self.port.to_string());
        let mut copy = as_owner_of(folder.path()).unwrap();
        copy.arg(binaries().unwrap().join("pg_basebackup"))
            .args(["-h", "127.0.0.1", "-U", "latchkey", "-R", "-c", "fast", "--no-sync", "-p", &port, "-D"])
            .arg(folder.path().join("data"));
        run(&mut copy).unwrap();
        let mut standby = Postgres { process: None, port: 0, sync: self.sync, folder };
        standby.restart();
        if is_waited_for {
            self.psql("ALTER SYSTEM SET synchronous_standby_names = '*'");
            self.psql("SELECT pg_reload_conf()");
        }
        let follows = if is_waited_for { "sync" } else { "async" };
        for _ in 0..3_000 {
            if self.psql("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'") == follows {
                return standby;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the standby does not follow: {}", self.psql("SELECT * FROM pg_stat_replication"));
    }

    /// Resolves when a standby has what is committed on `primary` now.
    pub fn follows(&self, primary: &Postgres) {
        let committed = primary.psql("SELECT pg_current_wal_lsn()");
        for _ in 0..3_000 {
            if self.psql(&format!("SELECT pg_last_wal_replay_lsn() >= '{committed}'")) == "t" {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the standby does not get as far as {committed}");
    }

    /// A standby becomes a primary of its own. The one that it followed is not told.
    pub fn promote(&self) {
        assert_eq!(self.psql("SELECT pg_promote()"), "t");
    }

    /// Where it is, also after a restart.
    pub fn url(&self) -> String {
        format!("postgres://latchkey@127.0.0.1:{}/latchkey", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again after a [`Postgres::kill`] or [`Postgres::stop`], with its rows.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// As [`Postgres::restart`], with settings such as `max_connections=10`.
    pub fn restart_with(&mut self, settings: &[&str]) {
        self.try_restart_with(settings).unwrap_or_else(|error| does_not_start(&error));
    }

    fn try_restart_with(&mut self, settings: &[&str]) -> io::Result<()> {
        assert!(self.process.is_none(), "it is running");
        let before = self.port;
        let mut said = String::new();
        for _ in 0..20 {
            if before == 0 {
                self.port = free_port();
            }
            let mut process = self.launch(settings)?;
            let port = self.port;
            if process.wait_for(|| is_listening(port) && self.answers())? {
                self.process = Some(process);
                return Ok(());
            }
            said = process.said();
            // Somebody's outgoing connection has its port for a moment, or what was killed still has its memory.
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
        Err(io::Error::other(said))
    }

    fn launch(&self, settings: &[&str]) -> io::Result<Process> {
        let (data, port) = (self.folder.path().join("data"), self.port.to_string());
        let sync = if self.sync == Sync::On { "on" } else { "off" };
        let mut arguments: Vec<String> =
            vec!["-D".to_owned(), data.display().to_string(), "-p".to_owned(), port];
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "shared_buffers=16MB",
            "max_connections=100",
            &format!("fsync={sync}"),
            &format!("full_page_writes={sync}"),
        ]
        .iter()
        .chain(settings)
        {
            arguments.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::start(&binaries()?.join("postgres"), &arguments, self.folder.path())
    }

    fn answers(&self) -> bool {
        let port = self.port.to_string();
        let asked = binaries().and_then(|binaries| {
            Command::new(binaries.join("pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &port]).status()
        });
        asked.is_ok_and(|status| status.success())
    }

    /// `kill -9` of the server; its children end by themselves when they notice.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// A fast stop: what is under way is broken off.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    fn end(&mut self, signal: Signal) {
        let mut process = self.process.take().expect("it is running");
        process.signal(signal);
        process.wait();
        // A killed postmaster leaves children that hold its memory, and a new one refuses to start beside them.
        let id = self.folder.path().join("data/postmaster.pid");
        if signal == Signal::KILL {
            for child in children_in(self.folder.path()) {
                let _ = rustix::process::kill_process(child, Signal::KILL);
            }
            let _ = fs::remove_file(id);
        }
    }

    /// Stops all of it where it is, as a machine that hangs would, until [`Postgres::resume`].
    pub fn freeze(&self) {
        // Again until nothing moves: a process that was just being born, or had not got its signal yet, would still answer.
        while self.signal_all(Signal::STOP).into_iter().any(|process| !is_stopped(process)) {
            std::thread::yield_now();
        }
    }

    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, signal: Signal) -> Vec<rustix::process::Pid> {
        self.process.as_ref().expect("it is running").signal(signal);
        let children = children_in(self.folder.path());
        for child in &children {
            let _ = rustix::process::kill_process(*child, signal);
        }
        children
    }

    /// From now on every role but the superuser must have a password, and this one has this.
    pub fn require_password(&self, role: &str, password: &str) {
        self.psql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'"));
        let rules = "host all latchkey 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(self.folder.path().join("data/pg_hba.conf"), rules).unwrap();
        assert_eq!(self.psql("SELECT pg_reload_conf()"), "t");
        // The signal reaches the server a little later than its answer reaches us.
        let is_read =
            || self.psql("SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust'") == "1";
        assert!(is_read());
    }

    /// Runs one statement as the superuser and returns what it printed, unaligned.
    pub fn psql(&self, sql: &str) -> String {
        self.run_psql(&["-c", sql])
    }

    /// Runs a script, statement by statement, psql's own commands among them; what it printed.
    pub fn script(&self, script: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), script).unwrap();
        self.run_psql(&["-f", &file.path().display().to_string()])
    }

    /// A transaction that has run one statement and stays open: what it locked, it holds.
    pub fn hold(&self, sql: &str) -> Held {
        let mut session = self
            .psql_with(&[])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let says = session.stdin.as_mut().unwrap();
        write!(says, "BEGIN;\n{sql};\n\\warn held\n").unwrap();
        let mut said = String::new();
        BufReader::new(session.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "held\n");
        Held(session)
    }

    fn run_psql(&self, what: &[&str]) -> String {
        let ran = self.psql_with(what).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
    }

    fn psql_with(&self, what: &[&str]) -> Command {
        let mut command = Command::new(binaries().unwrap().join("psql"));
        command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url()]).args(what);
        command
    }
}

/// A transaction that is rolled back when this is dropped.
pub struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        // It ends with what it is told.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // What is killed leaves its shared memory behind. Told to stop at once it puts that away, whatever is under way.
        if self.process.is_some() {
            self.resume();
            self.end(Signal::QUIT);
        }
    }
}

fn does_not_start(error: &io::Error) -> ! {
    panic!("PostgreSQL does not start: {error}");
}

/// Gone counts too.
fn is_stopped(process: rustix::process::Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
}

/// The processes whose working folder is this server's data.
fn children_in(folder: &Path) -> Vec<rustix::process::Pid> {
    let data = folder.join("data");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if fs::read_link(entry.path().join("cwd")).is_ok_and(|at| at == data) {
            found.extend(rustix::process::Pid::from_raw(id));
        }
    }
    found
}

/// Where Debian puts them, else wherever `postgres` is found.
fn binaries() -> io::Result<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    versions.retain(|bin| bin.join("initdb").exists());
    versions.sort();
    let elsewhere = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|bin| bin.join("initdb").exists())
    };
    let not_installed =
        || io::Error::new(io::ErrorKind::NotFound, "it is not installed: run `cargo xtask setup`");
    versions.pop().or_else(elsewhere).ok_or_else(not_installed)
}

/// A cluster that was never used. `initdb` takes seconds and a copy does not, so the first test on a machine makes one for
/// all, under a lock, and a copy that was not finished is never taken for one.
fn template() -> io::Result<PathBuf> {
    let binaries = binaries()?;
    let version = binaries.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let name =
        format!("latchkey-postgres-{}-{}", version.unwrap_or_default(), rustix::process::geteuid().as_raw());
    let home = std::env::temp_dir().join(name);
    fs::create_dir_all(&home).map_err(of(home.display()))?;
    let lock = File::create(home.join("lock")).map_err(of(home.display()))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let template = home.join("data");
    if template.exists() {
        return Ok(template);
    }
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).map_err(of(home.display()))?;
    let making = home.join("making");
    let _ = fs::remove_dir_all(&making);
    fs::create_dir(&making).map_err(of(making.display()))?;
    give_away(&making)?;
    let data = making.join("data");
    let mut make = as_owner_of(&making)?;
    make.arg(binaries.join("initdb"))
        .args(["--username=latchkey", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
        .args(["--no-instructions", "--wal-segsize=1", "-D"])
        .arg(&data)
        .current_dir(&making);
    run(&mut make)?;
    create_database(&binaries, &making, &data)?;
    fs::rename(&data, &template).map_err(of(data.display()))?;
    Ok(template)
}

/// In single-user mode: no server has to be waited for.
fn create_database(binaries: &Path, making: &Path, data: &Path) -> io::Result<()> {
    let sql = making.join("sql");
    fs::write(&sql, "CREATE DATABASE latchkey\n").map_err(of(sql.display()))?;
    let mut make = as_owner_of(making)?;
    make.arg(binaries.join("postgres"))
        .args(["--single", "-D"])
        .arg(data)
        .arg("postgres")
        .current_dir(making)
        .stdin(File::open(&sql)?);
    run(&mut make)
}
