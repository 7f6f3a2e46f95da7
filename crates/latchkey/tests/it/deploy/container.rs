//! A container in the words of either format: the program that its image starts, started here with what it would get, paths in
//! a temporary folder.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use regex::Regex;
use serde_json::Value;
use tokio::time::Instant;

use super::images::entrypoint;
use super::tools::*;
use crate::stack::{SOON, program, text};

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    fs::read_dir(folder).unwrap().flat_map(|entry| below(entry.unwrap().path())).collect()
}

pub struct Container {
    pub name: String,
    pub image: String,
    pub arguments: Vec<String>,
    pub folder: tempfile::TempDir,
}

impl Container {
    pub fn new(name: &str, image: &str, arguments: &Value) -> Self {
        Self {
            name: name.to_owned(),
            // Without registry and tag.
            image: image.rsplit('/').next().unwrap().split(':').next().unwrap().to_owned(),
            arguments: list(arguments).map(|argument| word(argument).to_owned()).collect(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn is_ours(&self) -> bool {
        self.image.starts_with("latchkey")
    }

    /// Not a job, and not echo.
    pub fn is_service(&self) -> bool {
        self.image.starts_with("latchkey-")
    }

    /// The containers' paths, below the temporary folder.
    fn here(&self, said: &str) -> String {
        let folder = self.folder.path().display();
        ["/etc/latchkey", "/run/secrets"]
            .iter()
            .fold(said.to_owned(), |said, path| said.replace(path, &format!("{folder}{path}")))
    }

    pub fn mount(&self, path: &str, content: &[u8]) {
        let file = self.folder.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let content = if path.starts_with("/etc/latchkey") {
            self.here(std::str::from_utf8(content).unwrap()).into_bytes()
        } else {
            content.to_owned()
        };
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o440)).unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command =
            Command::new(entrypoint(self.image.strip_prefix("latchkey-").unwrap_or(&self.image)));
        // No manifest says any variable for what is ours.
        command.env_clear().args(self.arguments.iter().map(|argument| self.here(argument)));
        command
    }

    /// The addresses it would listen on, by purpose.
    fn listeners(&self) -> Vec<(String, String)> {
        let said = printed(self.command().arg("--check-config"));
        let line = Regex::new(r"would listen on (\S+) \((\w+)").unwrap();
        line.captures_iter(&said).map(|found| (found[2].to_lowercase(), found[1].to_owned())).collect()
    }

    /// The ports it would be reached at through the network, by the names that manifests have for them. One on loopback is
    /// reached through port-forward only.
    pub fn listens(&self) -> BTreeMap<String, u64> {
        let at = |address: &str| vec![(self.name.clone(), address.to_owned())];
        let listeners = match self.name.as_str() {
            "echo" => at(self.echo_listens()),
            "postgres" => at("0.0.0.0:5432"),
            "redis" => at("0.0.0.0:6379"),
            _ if self.is_service() => self.listeners(),
            _ => Vec::new(),
        };
        let mut ports = BTreeMap::new();
        for (purpose, address) in listeners {
            let Some(port) = address.strip_prefix("0.0.0.0:") else { continue };
            ports.insert(purpose.replace("public", "http"), port.parse().unwrap());
        }
        ports
    }

    /// `[shutdown]` as it is in force: settle and drain.
    pub fn shutdown(&self) -> (Duration, Duration) {
        let mut print = program();
        print.args(["config", "print", &self.name]).args(self.arguments.iter().map(|one| self.here(one)));
        let in_force: toml::Table = printed(&mut print).parse().unwrap();
        let time = |key| humantime::parse_duration(in_force["shutdown"][key].as_str().unwrap()).unwrap();
        (time("settle"), time("drain"))
    }

    /// A one-shot job's arguments and files, short of the servers that it needs.
    pub fn check_job(&self) {
        match self.arguments[0].as_str() {
            kind @ ("migrate" | "bootstrap") => {
                // Else it would fail, and be tried again and again, at every start but the first.
                let may_run_again = kind == "migrate" || self.arguments.iter().any(|one| one == "--if-none");
                assert!(may_run_again, "{}", self.name);
                let said = self.refused();
                assert!(said.contains("cannot be asked"), "{}: {said}", self.name);
            }
            "serve" => self.check_echo(),
            other => panic!("{other}: not checked"),
        }
    }

    /// Without any one of its files it is refused, by that file's name: so each is read, and is where it is looked for.
    pub fn check_mounts(&self) {
        for file in files(self.folder.path()) {
            let aside = self.folder.path().join("aside");
            fs::rename(&file, &aside).unwrap();
            let said = self.refused();
            assert!(said.contains(file.to_str().unwrap()), "{}: {}: {said}", self.name, file.display());
            fs::rename(aside, file).unwrap();
        }
    }

    /// What it says when it does not start. A service is only checked, and a job finds no server here.
    fn refused(&self) -> String {
        let mut command = self.command();
        if self.is_service() {
            command.arg("--check-config");
        }
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{}: {said}", self.name);
        said
    }

    /// Where echo listens in its container.
    fn echo_listens(&self) -> &str {
        let at = self.arguments.iter().position(|argument| argument == "--listen").unwrap();
        &self.arguments[at + 1]
    }

    /// It has no configuration to check: it is started, at another address.
    fn check_echo(&self) {
        assert_eq!(self.arguments[1], "echo");
        let here = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(entrypoint(&self.image));
        let there = self.echo_listens();
        command.env_clear().args(self.arguments.iter().map(|one| one.replace(there, &here.to_string())));
        let mut echo = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + SOON;
        let mut is_there = TcpStream::connect(here).is_ok();
        while !is_there && Instant::now() < until && echo.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
            is_there = TcpStream::connect(here).is_ok();
        }
        echo.kill().unwrap();
        echo.wait().unwrap();
        assert!(is_there, "{}: echo does not listen", self.name);
    }
}
