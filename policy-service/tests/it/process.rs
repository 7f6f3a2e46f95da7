//! The service's own binary: what it says and how it ends.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use chassis::config::Tls;
use tempfile::TempDir;

use crate::stack::{Certificates, environment};

pub struct Service {
    folder: TempDir,
    certificates: Certificates,
}

impl Service {
    pub fn new() -> Service {
        Service { folder: TempDir::new().unwrap(), certificates: Certificates::new() }
    }

    /// The files that say who `name` is.
    pub fn tls(&self, name: &str) -> Tls {
        self.certificates.tls(name)
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_policy-service"));
        command
            .env_clear()
            .envs(environment(&self.certificates.tls("policy"), &self.folder.path().join("policy.sqlite")))
            .env("LATCHKEY__SERVER__LISTEN", "127.0.0.1:0")
            .env("LATCHKEY__OPERATIONS__LISTEN", "127.0.0.1:0")
            .env("LATCHKEY__SHUTDOWN__SETTLE", "0s")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

fn lines(text: &[u8]) -> Vec<String> {
    String::from_utf8(text.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

/// What it said on standard error, when it did not start.
pub fn refused(output: &Output) -> Vec<String> {
    assert!(!output.status.success());
    let said = lines(&output.stderr);
    assert!(said.iter().all(|line| line.starts_with("policy-service: ")), "{said:?}");
    said
}

#[test]
fn a_check_of_the_configuration_opens_nothing() {
    let service = Service::new();
    let output = service
        .command()
        .arg("--check-config")
        .env("LATCHKEY__SERVER__LISTEN", "127.0.0.1:7003")
        .env("LATCHKEY__OPERATIONS__LISTEN", "127.0.0.1:9103")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        lines(&output.stdout),
        [
            "policy-service would listen on 127.0.0.1:7003 (gRPC)",
            "policy-service would listen on 127.0.0.1:0 (feed)",
            "policy-service would listen on 127.0.0.1:9103 (operations)",
        ]
    );
    assert_eq!(fs::read_dir(service.folder.path()).unwrap().count(), 0);
}

#[test]
fn everything_wrong_with_the_configuration_is_told_at_once() {
    let service = Service::new();
    let file = service.folder.path().join("policy.toml");
    fs::write(&file, "[store]\nreader = 4\n\n[server]\nlisten = \"nowhere\"\n").unwrap();
    for check in [&["--check-config"][..], &[]] {
        let output = service
            .command()
            .arg("--config")
            .arg(&file)
            .args(check)
            .env_remove("LATCHKEY__SERVER__LISTEN")
            .env("LATCHKEY__STORE__URL", "mysql://localhost")
            .env("LATCHKEY__STOER__URL", "sqlite:a")
            .output()
            .unwrap();
        let said = refused(&output);
        for key in ["store.reader", "server.listen", "store.url", "stoer"] {
            assert_eq!(
                said.iter().filter(|line| line.contains(&format!(" {key}"))).count(),
                1,
                "{key}: {said:?}"
            );
        }
        assert_eq!(said.len(), 4, "{said:?}");
    }
}

#[test]
fn a_port_in_use_is_told_and_the_database_is_not_touched() {
    let service = Service::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, key) in
        [("LATCHKEY__SERVER__LISTEN", "server.listen"), ("LATCHKEY__OPERATIONS__LISTEN", "operations.listen")]
    {
        let said = refused(&service.command().env(variable, &address).output().unwrap());
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(key) && said[0].contains(&address), "{said:?}");
    }
    assert_eq!(fs::read_dir(service.folder.path()).unwrap().count(), 0);
}

#[test]
fn a_corrupt_file_is_told_in_one_line() {
    let service = Service::new();
    let path = service.folder.path().join("policy.sqlite");
    fs::write(&path, "not a database\n".repeat(100)).unwrap();
    let said = refused(&service.command().output().unwrap());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains(path.to_str().unwrap()) && said[0].contains("is not an intact SQLite file"),
        "{said:?}"
    );
}

/// Waits until it says that it listens.
fn listening(child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut log = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended: {:?}", child.wait());
    }
    log
}

#[test]
fn it_is_stopped_by_a_signal_and_finds_its_data_again() {
    let service = Service::new();
    for _ in 0..2 {
        let mut child = service.command().spawn().unwrap();
        let _log = listening(&mut child);
        let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
        assert!(sent.success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(service.folder.path().join("policy.sqlite").exists());
        assert!(!service.folder.path().join("policy.sqlite-wal").exists());
    }
}
