//! Every container of every overlay, with the arguments and files that it would get.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use servers::{Postgres, Sync};

use super::container::Container;
use super::tools::*;

const PROBES: [&str; 3] = ["startupProbe", "readinessProbe", "livenessProbe"];

/// What a pod and a container may say: what is looked at, or changes nothing that a process sees under `--check-config`.
const POD: &[&str] = &[
    "automountServiceAccountToken",
    "containers",
    "enableServiceLinks",
    "restartPolicy",
    "securityContext",
    "terminationGracePeriodSeconds",
    "topologySpreadConstraints",
    "volumes",
];
const CONTAINER: &[&str] = &[
    "args",
    "image",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "volumeMounts",
];

fn kubernetes(resources: &[Value], secrets: &[Value]) -> Vec<(Container, Value)> {
    let mut containers = Vec::new();
    for workload in workloads(resources) {
        let pod = &workload["spec"]["template"]["spec"];
        only(pod, POD);
        for spec in list(&pod["containers"]) {
            let container = Container::new(word(&spec["name"]), word(&spec["image"]), &spec["args"]);
            // What is not ours is not started here.
            let others: &[&str] = if container.is_ours() { &[] } else { &["env"] };
            only(spec, &[CONTAINER, others].concat());
            for mount in list(&spec["volumeMounts"]).filter(|_| container.is_ours()) {
                only(mount, &["mountPath", "name", "readOnly"]);
                let volume = list(&pod["volumes"]).find(|volume| volume["name"] == mount["name"]).unwrap();
                mount_volume(&container, word(&mount["mountPath"]), volume, resources, secrets);
            }
            containers.push((container, spec.clone()));
        }
    }
    containers
}

fn mount_volume(container: &Container, path: &str, volume: &Value, resources: &[Value], secrets: &[Value]) {
    only(&volume["configMap"], &["name"]);
    only(&volume["secret"], &["defaultMode", "items", "secretName"]);
    if let Some(name) = volume["configMap"]["name"].as_str() {
        for (file, content) in named(resources, "ConfigMap", name)["data"].as_object().unwrap() {
            container.mount(&format!("{path}/{file}"), word(content).as_bytes());
        }
        return;
    }
    // 0440: the programs refuse what everybody may read.
    assert_eq!(volume["secret"]["defaultMode"], 0o440, "{volume}");
    let items = &volume["secret"]["items"];
    list(items).for_each(|item| only(item, &["key", "path"]));
    let data = named(secrets, "Secret", word(&volume["secret"]["secretName"]))["data"].as_object().unwrap();
    for (key, content) in data {
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

/// Every Service's ports are its pods' own, and every port of a pod is some Service's.
fn check_services(resources: &[Value], mut listening: BTreeMap<String, BTreeMap<String, u64>>) {
    for service in of_kind(resources, "Service") {
        let pod = word(&service["spec"]["selector"]["app.kubernetes.io/name"]);
        for port in list(&service["spec"]["ports"]) {
            only(port, &["appProtocol", "name", "port", "targetPort"]);
            let target = word(&port["targetPort"]);
            let there = listening.get_mut(pod).and_then(|ports| ports.remove(target));
            let there = there.unwrap_or_else(|| panic!("{pod} does not listen: {port}"));
            assert_eq!(port["name"], target, "{pod}");
            // What a headless Service's name stands for is the pods, and their ports; an ingress is given the usual one.
            assert_eq!(port["port"], if target == "http" { 80 } else { there }, "{pod}: {target}");
        }
    }
    for (pod, mut ports) in listening {
        // Whoever scrapes finds each pod by itself.
        ports.remove("operations");
        assert!(ports.is_empty(), "{pod}: no Service has {ports:?}");
    }
}

#[test]
fn every_container_of_every_overlay_starts_and_listens_where_its_manifest_says() {
    for name in OVERLAYS {
        let folder = tempfile::tempdir().unwrap();
        let resources = overlay(name);
        let secrets = secrets_of(name, folder.path());
        let (mut services, mut jobs) = (0, 0);
        let mut listening = BTreeMap::new();
        for (container, spec) in kubernetes(&resources, &secrets) {
            let listens = container.listens();
            let mut said = BTreeMap::new();
            for port in list(&spec["ports"]) {
                only(port, &["containerPort", "name"]);
                said.insert(word(&port["name"]).to_owned(), port["containerPort"].as_u64().unwrap());
            }
            assert_eq!(said, listens, "{name}: {}", container.name);
            for (probe, path) in PROBES.into_iter().zip(["/livez", "/readyz", "/livez"]) {
                let (asked, how) = (&spec[probe], format!("{}: {probe}", container.name));
                if container.is_service() {
                    assert_eq!(asked["httpGet"], json!({"path": path, "port": "operations"}), "{how}");
                } else if listens.is_empty() {
                    assert!(asked.is_null(), "{how}");
                } else {
                    // What has no operations listener is asked whether its port is open.
                    assert_eq!(asked["tcpSocket"], json!({"port": container.name}), "{how}");
                }
            }
            if container.image == "latchkey" {
                container.check_job();
                jobs += 1;
            }
            services += usize::from(container.is_service());
            listening.insert(container.name.clone(), listens);
        }
        assert_eq!((services, jobs), (4, if name == "dev" { 4 } else { 3 }), "{name}");
        check_services(&resources, listening);
    }
}

#[test]
fn a_file_that_is_not_where_its_mount_puts_it_is_missed() {
    for name in OVERLAYS {
        let folder = tempfile::tempdir().unwrap();
        let secrets = secrets_of(name, folder.path());
        for (container, _) in kubernetes(&overlay(name), &secrets) {
            container.check_mounts();
        }
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
            if !container.is_service() {
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
