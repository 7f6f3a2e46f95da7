//! Every container of ours, started by `latchkey serve`, which runs what the image's own binary runs, with what it would get, paths
//! in a temporary folder.

use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde_json::Value;
use servers::{Postgres, Sync};
use tokio::time::Instant;

use super::tools::*;
use crate::stack::{SOON, program, text};

const PROBES: [&str; 3] = ["startupProbe", "readinessProbe", "livenessProbe"];

/// A container in the words of either format.
struct Container {
    name: String,
    image: String,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
}

impl Container {
    fn new(name: &str, image: &str, arguments: &Value) -> Self {
        Self {
            name: name.to_owned(),
            // Without registry and tag.
            image: image.rsplit('/').next().unwrap().split(':').next().unwrap().to_owned(),
            arguments: list(arguments).map(|argument| word(argument).to_owned()).collect(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn is_ours(&self) -> bool {
        self.image.starts_with("latchkey")
    }

    /// The containers' paths, below the temporary folder.
    fn here(&self, said: &str) -> String {
        let folder = self.folder.path().display();
        ["/etc/latchkey", "/run/secrets"]
            .iter()
            .fold(said.to_owned(), |said, path| said.replace(path, &format!("{folder}{path}")))
    }

    fn mount(&self, path: &str, content: &[u8]) {
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

    fn command(&self) -> Command {
        let mut command = program();
        match self.image.strip_prefix("latchkey-") {
            Some("gateway") => command.args(["serve", "gateway"]),
            Some(service) => command.args(["serve", service.strip_suffix("-service").unwrap()]),
            None => &mut command,
        };
        command.args(self.arguments.iter().map(|argument| self.here(argument)));
        command
    }

    /// What it would listen on, by purpose.
    fn listeners(&self) -> Vec<(String, String)> {
        let said = printed(self.command().arg("--check-config"));
        let line = Regex::new(r"would listen on (\S+) \((\w+)").unwrap();
        line.captures_iter(&said).map(|found| (found[2].to_lowercase(), found[1].to_owned())).collect()
    }

    /// `[shutdown]` as it is in force: settle and drain.
    fn shutdown(&self) -> (Duration, Duration) {
        let mut print = program();
        print.args(["config", "print", &self.name]).args(self.arguments.iter().map(|one| self.here(one)));
        let in_force: toml::Table = printed(&mut print).parse().unwrap();
        let time = |key| humantime::parse_duration(in_force["shutdown"][key].as_str().unwrap()).unwrap();
        (time("settle"), time("drain"))
    }

    /// A one-shot job's arguments and files, short of the servers that it needs.
    fn check_job(&self) {
        match self.arguments[0].as_str() {
            "migrate" => {
                let mut check = program();
                check.args(["config", "check"]).args(self.arguments[1..].iter().map(|one| self.here(one)));
                printed(&mut check);
            }
            "bootstrap" => {
                let output = self.command().output().unwrap();
                let said = text(&output.stderr);
                assert!(output.status.code() == Some(1) && said.contains("cannot be asked"), "{said}");
            }
            "serve" => self.check_echo(),
            other => panic!("{other}: not checked"),
        }
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
        let mut command = program();
        let there = self.echo_listens();
        command.args(self.arguments.iter().map(|one| one.replace(there, &here.to_string())));
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

fn kubernetes(resources: &[Value], secrets: &[Value]) -> Vec<(Container, Value)> {
    let mut containers = Vec::new();
    for workload in workloads(resources) {
        let pod = &workload["spec"]["template"]["spec"];
        for spec in list(&pod["containers"]) {
            let container = Container::new(word(&spec["name"]), word(&spec["image"]), &spec["args"]);
            assert!(
                spec["command"].is_null() && (!container.is_ours() || spec["env"].is_null()),
                "not looked at: {spec}"
            );
            for mount in list(&spec["volumeMounts"]).filter(|_| container.is_ours()) {
                let volume = list(&pod["volumes"]).find(|volume| volume["name"] == mount["name"]).unwrap();
                mount_volume(&container, word(&mount["mountPath"]), volume, resources, secrets);
            }
            containers.push((container, spec.clone()));
        }
    }
    containers
}

fn mount_volume(container: &Container, path: &str, volume: &Value, resources: &[Value], secrets: &[Value]) {
    if let Some(name) = volume["configMap"]["name"].as_str() {
        for (file, content) in named(resources, "ConfigMap", name)["data"].as_object().unwrap() {
            container.mount(&format!("{path}/{file}"), word(content).as_bytes());
        }
        return;
    }
    // 0440: the programs refuse what everybody may read.
    assert_eq!(volume["secret"]["defaultMode"], 0o440, "{volume}");
    let data = named(secrets, "Secret", word(&volume["secret"]["secretName"]))["data"].as_object().unwrap();
    for (key, content) in data {
        let items = &volume["secret"]["items"];
        let file = match list(items).find(|item| item["key"] == **key) {
            Some(item) => word(&item["path"]),
            None if items.is_null() => key,
            None => continue,
        };
        container.mount(&format!("{path}/{file}"), &STANDARD.decode(word(content)).unwrap());
    }
}

/// The Secrets that an overlay refers to: production's stores have an authority of their own beside the password.
fn secrets_of(overlay: &str, folder: &Path) -> Vec<Value> {
    let mut made = secrets(folder);
    if overlay == "prod" {
        let authority = STANDARD.encode(fs::read(folder.join("certificates/ca.crt")).unwrap());
        for secret in &mut made {
            let name = word(&secret["metadata"]["name"]).to_owned();
            if name.ends_with("-database") || name.ends_with("-store") {
                secret["data"]["ca.crt"] = Value::String(authority.clone());
            }
        }
    }
    made
}

fn port(address: &str) -> u64 {
    address.rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn every_container_of_every_overlay_starts_and_listens_where_its_manifest_says() {
    for name in OVERLAYS {
        let folder = tempfile::tempdir().unwrap();
        let resources = overlay(name);
        let secrets = secrets_of(name, folder.path());
        let (mut services, mut jobs) = (0, 0);
        for (container, spec) in kubernetes(&resources, &secrets) {
            // What has no operations listener is asked whether its port is open.
            let only = match container.name.as_str() {
                "echo" => Some(port(container.echo_listens())),
                "postgres" => Some(5432),
                "redis" => Some(6379),
                _ => None,
            };
            if let Some(only) = only {
                let listens = &spec["ports"][0];
                assert_eq!(listens["containerPort"], only, "{}", container.name);
                for probe in PROBES {
                    assert_eq!(
                        spec[probe]["tcpSocket"]["port"], listens["name"],
                        "{}: {probe}",
                        container.name
                    );
                }
            }
            if !container.is_ours() {
                continue;
            }
            if container.image == "latchkey" {
                container.check_job();
                jobs += 1;
                continue;
            }
            services += 1;
            let listeners = container.listeners();
            // Loopback is reached through port-forward only, and is in no manifest.
            let mut reachable: Vec<_> = listeners
                .iter()
                .filter(|(_, address)| address.starts_with("0.0.0.0:"))
                .map(|(_, at)| port(at))
                .collect();
            let mut said: Vec<_> =
                list(&spec["ports"]).map(|one| one["containerPort"].as_u64().unwrap()).collect();
            reachable.sort_unstable();
            said.sort_unstable();
            assert_eq!(said, reachable, "{name}: {}", container.name);
            let named = |port: &Value| {
                list(&spec["ports"]).find(|one| one["name"] == *port).unwrap()["containerPort"]
                    .as_u64()
                    .unwrap()
            };
            let operations =
                listeners.iter().find(|(what, _)| what == "operations").map(|(_, at)| port(at)).unwrap();
            for (probe, path) in PROBES.into_iter().zip(["/livez", "/readyz", "/livez"]) {
                assert_eq!(spec[probe]["httpGet"]["path"], path, "{}: {probe}", container.name);
                assert_eq!(named(&spec[probe]["httpGet"]["port"]), operations, "{}: {probe}", container.name);
            }
            for service in of_kind(&resources, "Service") {
                if service["spec"]["selector"]["app.kubernetes.io/name"] == container.name.as_str() {
                    let target = named(&service["spec"]["ports"][0]["targetPort"]);
                    let main = listeners.iter().find(|(what, _)| what == "grpc" || what == "public").unwrap();
                    assert_eq!(target, port(&main.1), "{}", container.name);
                }
            }
        }
        assert_eq!((services, jobs), (4, if name == "dev" { 4 } else { 3 }), "{name}");
    }
}

/// Time for whoever balances to notice, and time to drain after that, before it is killed.
#[test]
fn every_pod_is_given_the_time_that_it_takes_to_stop() {
    for name in OVERLAYS {
        let folder = tempfile::tempdir().unwrap();
        let resources = overlay(name);
        let secrets = secrets_of(name, folder.path());
        let mut looked_at = 0;
        for (container, _) in kubernetes(&resources, &secrets) {
            if !container.is_ours() || container.image == "latchkey" {
                continue;
            }
            looked_at += 1;
            let (settle, drain) = container.shutdown();
            let pod = &named(&resources, "Deployment", &container.name)["spec"]["template"]["spec"];
            let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
            assert!(grace > settle + drain + Duration::from_secs(1), "{name}: {}: {grace:?}", container.name);
            // The others are found by name, and by callers that watch their readiness.
            let is_noticed = container.name != "gateway" || settle >= Duration::from_secs(5);
            assert!(is_noticed, "{name}: {settle:?} are over before every node knows");
        }
        assert_eq!(looked_at, 4, "{name}");
    }
}

fn compose() -> Value {
    yaml(&deploy("compose.yaml")).remove(0)
}

fn composed(secrets_folder: &Path) -> Vec<Container> {
    let mut containers = Vec::new();
    for (name, service) in compose()["services"].as_object().unwrap() {
        let container = Container::new(name, word(&service["image"]), &service["command"]);
        if !container.is_ours() {
            continue;
        }
        assert!(service["environment"].is_null() && service["entrypoint"].is_null(), "not looked at: {name}");
        for volume in list(&service["volumes"]) {
            let (from, to) = word(volume).strip_suffix(":ro").unwrap().split_once(':').unwrap();
            let content = match from.strip_prefix("./secrets/") {
                Some(secret) => fs::read(secrets_folder.join(secret)),
                None => fs::read(deploy(from)),
            };
            container.mount(to, &content.unwrap_or_else(|error| panic!("{name}: {from}: {error}")));
        }
        containers.push(container);
    }
    containers
}

#[test]
fn every_container_of_compose_starts_and_is_called_where_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    secrets(folder.path());
    let compose = compose();
    let dockerfile = fs::read_to_string(deploy("Dockerfile")).unwrap();
    let mut listening = Vec::new();
    let (mut services, mut jobs) = (0, 0);
    for container in composed(folder.path()) {
        let spec = &compose["services"][&container.name];
        if let Some(target) = spec["build"]["target"].as_str() {
            assert!(dockerfile.contains(&format!("FROM runtime AS {target}\n")), "{target}");
        }
        if container.image == "latchkey" {
            container.check_job();
            jobs += 1;
            continue;
        }
        services += 1;
        assert_eq!(spec["deploy"]["replicas"], 2, "{}", container.name);
        listening
            .extend(container.listeners().iter().map(|(_, at)| format!("{}:{}", container.name, port(at))));
    }
    assert_eq!((services, jobs), (4, 4));
    let endpoint = Regex::new(r"dns:([a-z]+:\d+)|(gateway:8080)").unwrap();
    let mut called = 0;
    for file in [
        "compose.yaml",
        "compose/auth.toml",
        "compose/session.toml",
        "compose/gateway.toml",
        "compose/edge.conf",
    ] {
        for found in endpoint.captures_iter(&fs::read_to_string(deploy(file)).unwrap()) {
            let name = found.get(1).or(found.get(2)).unwrap().as_str();
            assert!(listening.iter().any(|one| one == name), "{file}: {name} is not among {listening:?}");
            called += 1;
        }
    }
    assert_eq!(called, 10);
}

#[test]
fn a_setting_that_does_not_exist_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    secrets(folder.path());
    for container in composed(folder.path()).iter().filter(|container| container.image != "latchkey") {
        let file = container.folder.path().join(format!("etc/latchkey/{}.toml", container.name));
        let wrong = fs::read_to_string(&file).unwrap().replace("[server]\nlisten", "[server]\nlitsen");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        fs::write(&file, wrong).unwrap();
        let output = container.command().arg("--check-config").output().unwrap();
        assert!(text(&output.stderr).contains("server.litsen: unknown key"), "{}", text(&output.stderr));
    }
}

#[test]
fn migration_jobs_do_their_work_once() {
    let folder = tempfile::tempdir().unwrap();
    let dev = overlay("dev");
    let secrets = secrets(folder.path());
    let database = Postgres::start(Sync::On);
    database.psql(&fs::read_to_string(folder.path().join("roles.sql")).unwrap());
    let mut ran = 0;
    for (container, _) in kubernetes(&dev, &secrets) {
        if container.arguments.first().is_none_or(|first| first != "migrate") {
            continue;
        }
        ran += 1;
        let file = container.folder.path().join(format!("etc/latchkey/{}.toml", container.arguments[1]));
        let said = fs::read_to_string(&file).unwrap();
        let here = format!("127.0.0.1:{}", database.port());
        assert!(said.contains("postgres.latchkey.svc.cluster.local"));
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        fs::write(&file, said.replace("postgres.latchkey.svc.cluster.local", &here)).unwrap();
        assert!(printed(&mut container.command()).contains("has applied"));
        assert!(printed(&mut container.command()).contains("is up to date"));
    }
    assert_eq!(ran, 2);
}
