//! Every container of compose, with the arguments and files that it would get, and whom it calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use super::container::Container;
use super::tools::*;
use crate::stack::text;

/// What a service may say: what is looked at, or changes nothing that a process sees under `--check-config`.
const SERVICE: &[&str] = &[
    "build",
    "cap_drop",
    "command",
    "depends_on",
    "deploy",
    "image",
    "ports",
    "read_only",
    "restart",
    "security_opt",
    "stop_grace_period",
    "user",
    "volumes",
];

fn compose() -> Value {
    yaml(&deploy("compose.yaml")).remove(0)
}

fn composed(secrets_folder: &Path) -> Vec<Container> {
    let mut containers = Vec::new();
    for (name, service) in compose()["services"].as_object().unwrap() {
        let container = Container::new(name, word(&service["image"]), &service["command"]);
        // What is not ours is not started here.
        let others: &[&str] =
            if container.is_ours() { &[] } else { &["entrypoint", "environment", "healthcheck"] };
        only(service, &[SERVICE, others].concat());
        for volume in list(&service["volumes"]).filter(|_| container.is_ours()) {
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

/// Who listens where in compose's network: `name:port`, and for what.
fn listening(containers: &[Container]) -> BTreeMap<String, String> {
    let mut listening = BTreeMap::new();
    for container in containers {
        for (purpose, port) in container.listens() {
            listening.insert(format!("{}:{port}", container.name), format!("{} {purpose}", container.name));
        }
    }
    let edge = fs::read_to_string(deploy("compose/edge.conf")).unwrap();
    for found in Regex::new(r"\blisten (\d+) ssl;").unwrap().captures_iter(&edge) {
        listening.insert(format!("edge:{}", &found[1]), "edge https".to_owned());
    }
    listening
}

/// What is published on this machine: which port it has here, if that is said, and what it is there.
fn published(services: &Value) -> Vec<(String, String)> {
    let mut published = Vec::new();
    for (name, service) in services.as_object().unwrap() {
        for port in list(&service["ports"]) {
            let [address, here, there] = word(port).split(':').collect::<Vec<_>>()[..] else {
                panic!("not looked at: {name}: {port}")
            };
            assert_eq!(address, "127.0.0.1", "{name}");
            // Of two replicas one would not get it.
            assert!(here.is_empty() || service["deploy"].is_null(), "{name}: {port}");
            published.push((here.to_owned(), format!("{name}:{there}")));
        }
    }
    published
}

/// What the files and the arguments say, by where they say it.
fn places(services: &Value) -> Vec<(String, String)> {
    let mut places = Vec::new();
    for file in fs::read_dir(deploy("compose")).unwrap() {
        let file = file.unwrap();
        places.push((file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap()));
    }
    let services = services.as_object().unwrap();
    places.extend(services.iter().map(|(name, service)| (name.clone(), service["command"].to_string())));
    places
}

#[test]
fn every_container_of_compose_starts_as_it_is_described() {
    let folder = tempfile::tempdir().unwrap();
    secrets(folder.path());
    let compose = compose();
    let dockerfile = fs::read_to_string(deploy("Dockerfile")).unwrap();
    let (mut services, mut jobs) = (0, 0);
    for container in composed(folder.path()) {
        let spec = &compose["services"][&container.name];
        if let Some(target) = spec["build"]["target"].as_str() {
            assert!(dockerfile.contains(&format!("FROM runtime AS {target}\n")), "{target}");
        }
        if container.image == "latchkey" {
            container.check_job();
            jobs += 1;
        }
        if container.is_service() {
            services += 1;
            assert!(!container.listens().is_empty(), "{}", container.name);
            assert_eq!(spec["deploy"]["replicas"], 2, "{}", container.name);
            let (settle, drain) = container.shutdown();
            let grace = humantime::parse_duration(word(&spec["stop_grace_period"])).unwrap();
            assert!(grace > settle + drain + Duration::from_secs(1), "{}: {grace:?}", container.name);
        }
    }
    assert_eq!((services, jobs), (4, 4));
}

#[test]
fn a_file_that_compose_mounts_elsewhere_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    secrets(folder.path());
    for container in composed(folder.path()) {
        container.check_mounts();
    }
}

#[test]
fn every_address_of_compose_is_one_where_something_listens() {
    let folder = tempfile::tempdir().unwrap();
    secrets(folder.path());
    let services = &compose()["services"];
    let mut listening = listening(&composed(folder.path()));
    let mut purposes = BTreeSet::new();
    for (here, there) in published(services) {
        let purpose = listening.get(&there).cloned();
        let purpose = purpose.unwrap_or_else(|| panic!("published: {there} is not among {listening:?}"));
        if !here.is_empty() {
            listening.insert(format!("localhost:{here}"), purpose.clone());
        }
        purposes.insert(purpose);
    }
    assert_eq!(purposes, ["edge https", "gateway internal"].map(str::to_owned).into());
    let address = Regex::new(r"[a-z][a-z-]*:\d+").unwrap();
    let mut called = BTreeSet::new();
    for (place, said) in places(services) {
        for found in address.find_iter(&said) {
            let name = found.as_str();
            let purpose = listening.get(name);
            let purpose = purpose.unwrap_or_else(|| panic!("{place}: {name} is not among {listening:?}"));
            called.insert(format!("{place} → {purpose}"));
        }
    }
    let expected = [
        "auth.toml → edge https",
        "auth.toml → policy grpc",
        "bootstrap → auth grpc",
        "bootstrap → policy grpc",
        "edge.conf → gateway http",
        "gateway.toml → auth feed",
        "gateway.toml → auth grpc",
        "gateway.toml → edge https",
        "gateway.toml → policy feed",
        "gateway.toml → policy grpc",
        "gateway.toml → session grpc",
        "routes.toml → echo echo",
        "session.toml → auth grpc",
        "session.toml → edge https",
        "session.toml → redis redis",
    ];
    assert_eq!(called, expected.map(str::to_owned).into());
    let mut calls = 0;
    for file in ["auth.toml", "gateway.toml", "session.toml"] {
        let settings = fs::read_to_string(deploy("compose").join(file)).unwrap();
        for (service, purpose, address) in super::tools::called(&settings) {
            assert_eq!(listening[&address], format!("{service} {purpose}"), "{file}");
            calls += 1;
        }
    }
    assert_eq!(calls, 7);
}

/// What the gateway believes of a client's address, it believes of the edge alone.
#[test]
fn the_network_of_compose_is_the_one_that_the_gateway_trusts() {
    let gateway: toml::Table = fs::read_to_string(deploy("compose/gateway.toml")).unwrap().parse().unwrap();
    let trusted = gateway["trusted_proxies"].as_array().unwrap();
    let network = &compose()["networks"]["default"]["ipam"]["config"][0]["subnet"];
    assert_eq!(trusted.iter().map(toml::Value::as_str).collect::<Vec<_>>(), [network.as_str()]);
}

/// Nobody else makes the administrator. Docker waits 0.1 s and then twice as long each time, up to a minute:
/// <https://docs.docker.com/reference/cli/docker/container/run/#restart>.
#[test]
fn bootstrap_is_tried_until_its_neighbours_had_time_to_start() {
    let compose = compose();
    let tries = word(&compose["services"]["bootstrap"]["restart"]).strip_prefix("on-failure:").unwrap();
    let pauses = (0..tries.parse::<u32>().unwrap()).scan(Duration::from_millis(100), |pause, _| {
        let now = *pause;
        *pause = (now * 2).min(Duration::from_secs(60));
        Some(now)
    });
    let all: Duration = pauses.sum();
    assert!(all >= Duration::from_secs(5 * 60), "{all:?}");
}

#[test]
fn a_setting_that_does_not_exist_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    secrets(folder.path());
    for container in composed(folder.path()).iter().filter(|container| container.is_service()) {
        let file = container.folder.path().join(format!("etc/latchkey/{}.toml", container.name));
        let wrong = fs::read_to_string(&file).unwrap().replace("[server]\nlisten", "[server]\nlitsen");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        fs::write(&file, wrong).unwrap();
        let output = container.command().arg("--check-config").output().unwrap();
        assert!(text(&output.stderr).contains("server.litsen: unknown key"), "{}", text(&output.stderr));
    }
}
