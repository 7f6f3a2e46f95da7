//! The overlays: valid for the API, within the restricted profile, and in agreement with themselves.

use std::collections::BTreeSet;
use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};

use super::tools::*;
use crate::stack::text;

/// What the validator says, if it finds fault. A schema that it does not know is only a warning to it, but not to us.
fn faults(yaml: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rendered.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = python("kubernetes-validate").arg("--strict").arg(file).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    let resources = yaml.split("\n---\n").count();
    let passed = said.matches(" passed for resource ").count();
    (!output.status.success() || said.contains("WARN") || passed != resources).then_some(said)
}

/// Whoever is trusted says who the client is: the ingress controller's pods, not a whole cluster.
#[test]
fn no_overlay_trusts_more_than_a_small_network() {
    for overlay in ["dev", "prod"] {
        let file = deploy(&format!("kubernetes/overlays/{overlay}/config/gateway.toml"));
        let config: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
        let trusted = config["trusted_proxies"].as_array().unwrap();
        assert!(!trusted.is_empty());
        for network in trusted {
            let (_, bits) = network.as_str().unwrap().split_once('/').unwrap();
            assert!(bits.parse::<u8>().unwrap() >= 24, "{overlay}: {network}");
        }
    }
}

#[test]
fn overlays_are_valid_and_what_is_not_is_refused() {
    for name in OVERLAYS {
        let folder = deploy("kubernetes/overlays").join(name);
        let rendered = printed(Command::new("kubectl").arg("kustomize").arg(folder));
        assert_eq!(faults(&rendered), None, "{name}");
        for (right, wrong) in [
            ("readOnlyRootFilesystem:", "readOnlyRootFilesytem:"),
            ("apiVersion: policy/v1\n", "apiVersion: policy/v7\n"),
        ] {
            assert!(rendered.contains(right), "{right}");
            assert!(faults(&rendered.replacen(right, wrong, 1)).is_some(), "{wrong}");
        }
    }
}

#[test]
fn every_pod_is_within_the_restricted_profile() {
    for name in OVERLAYS {
        let resources = overlay(name);
        let namespace = &named(&resources, "Namespace", "latchkey")["metadata"]["labels"];
        assert_eq!(namespace["pod-security.kubernetes.io/enforce"], "restricted", "{name}");
        assert_eq!(namespace["pod-security.kubernetes.io/warn"], "restricted", "{name}");
        let mut containers = 0;
        for workload in workloads(&resources) {
            let pod = &workload["spec"]["template"]["spec"];
            let whose = &workload["metadata"]["name"];
            assert_eq!(workload["metadata"]["namespace"], "latchkey", "{whose}");
            assert_eq!(pod["automountServiceAccountToken"], false, "{whose}");
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{whose}");
            assert!(pod["securityContext"]["runAsUser"].as_u64().unwrap() > 0, "{whose}");
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{whose}");
            for refused in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(pod[refused].is_null(), "{whose}: {refused}");
            }
            for volume in list(&pod["volumes"]) {
                let allowed = ["configMap", "secret", "emptyDir"];
                assert!(allowed.iter().any(|kind| !volume[*kind].is_null()), "{whose}: {volume}");
            }
            for container in list(&pod["containers"]).chain(list(&pod["initContainers"])) {
                containers += 1;
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{whose}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{whose}");
                assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{whose}");
                assert!(context["privileged"].is_null() && context["runAsUser"].is_null(), "{whose}");
            }
        }
        assert!(containers >= 7, "{name}: {containers}");
        // By reference only: what is secret is in no manifest.
        assert_eq!(of_kind(&resources, "Secret").len(), 0, "{name}");
    }
}

fn matches(selector: &Value, labels: &Value) -> bool {
    selector.as_object().unwrap().iter().all(|(name, value)| &labels[name] == value)
}

#[test]
fn selectors_find_their_pods() {
    for name in OVERLAYS {
        let resources = overlay(name);
        let pods: Vec<_> = workloads(&resources)
            .iter()
            .map(|workload| workload["spec"]["template"]["metadata"]["labels"].clone())
            .collect();
        let of = |selector: &Value| pods.iter().filter(|labels| matches(selector, labels)).count();
        for service in of_kind(&resources, "Service") {
            assert_eq!(of(&service["spec"]["selector"]), 1, "{service}");
        }
        for budget in of_kind(&resources, "PodDisruptionBudget") {
            assert_eq!(of(&budget["spec"]["selector"]["matchLabels"]), 1, "{budget}");
        }
        for deployment in of_kind(&resources, "Deployment") {
            assert_eq!(of(&deployment["spec"]["selector"]["matchLabels"]), 1, "{deployment}");
        }
        for scaler in of_kind(&resources, "HorizontalPodAutoscaler") {
            let target = &scaler["spec"]["scaleTargetRef"];
            let scaled = named(&resources, word(&target["kind"]), word(&target["name"]));
            assert!(scaled["spec"]["replicas"].is_null(), "every apply undoes what {target} was scaled to");
        }
        for kind in ["PodDisruptionBudget", "HorizontalPodAutoscaler"] {
            let names: Vec<_> =
                of_kind(&resources, kind).iter().map(|one| word(&one["metadata"]["name"])).collect();
            assert_eq!(names, ["auth", "gateway", "policy", "session"], "{kind}");
        }
    }
}

#[test]
fn every_resource_has_the_recommended_labels() {
    for name in OVERLAYS {
        let resources = overlay(name);
        let gateway =
            &named(&resources, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0];
        let version = word(&gateway["image"]).rsplit(':').next().unwrap();
        let pods = workloads(&resources).into_iter().map(|workload| &workload["spec"]["template"]);
        for resource in resources.iter().chain(pods) {
            let labels = &resource["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/part-of"], "latchkey", "{resource}");
            assert_eq!(labels["app.kubernetes.io/managed-by"], "kustomize", "{resource}");
            assert_eq!(labels["app.kubernetes.io/instance"], format!("latchkey-{name}"), "{resource}");
            assert_eq!(labels["app.kubernetes.io/version"], version, "{resource}");
            for label in ["app.kubernetes.io/name", "app.kubernetes.io/component"] {
                assert!(labels[label].as_str().is_some_and(|value| !value.is_empty()), "{label}: {resource}");
            }
        }
    }
}

/// What differs from one version or overlay to the next must be in no selector, which cannot be changed.
#[test]
fn nothing_is_selected_by_what_changes() {
    for name in OVERLAYS {
        for mut resource in overlay(name) {
            resource["metadata"]["labels"].take();
            if let Some(pod) = resource["spec"].get_mut("template") {
                pod["metadata"]["labels"].take();
            }
            for label in ["version", "instance", "managed-by"] {
                assert!(!resource.to_string().contains(&format!("app.kubernetes.io/{label}")), "{resource}");
            }
        }
    }
}

#[test]
fn replicas_are_spread_scaled_and_taken_away_one_at_a_time() {
    for name in OVERLAYS {
        let resources = overlay(name);
        for scaler in of_kind(&resources, "HorizontalPodAutoscaler") {
            let whose = word(&scaler["metadata"]["name"]);
            let bounds = [&scaler["spec"]["minReplicas"], &scaler["spec"]["maxReplicas"]];
            assert_eq!(bounds, [2, 10], "{name}: {whose}");
            let deployment = &named(&resources, "Deployment", whose)["spec"];
            let pod = &deployment["template"]["spec"];
            // What is scaled by is the share of this that is in use.
            assert_eq!(scaler["spec"]["metrics"][0]["resource"]["name"], "cpu", "{name}: {whose}");
            assert!(pod["containers"][0]["resources"]["requests"]["cpu"].is_string(), "{name}: {whose}");
            let selector = &deployment["selector"];
            let spread = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"].map(|key| {
                json!({
                    "topologyKey": key,
                    "maxSkew": 1,
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": selector,
                })
            });
            assert_eq!(pod["topologySpreadConstraints"], json!(spread), "{name}: {whose}");
            let budget = &named(&resources, "PodDisruptionBudget", whose)["spec"];
            assert_eq!(*budget, json!({"maxUnavailable": 1, "selector": selector}), "{name}");
        }
    }
}

#[test]
fn names_that_are_looked_up_are_those_of_headless_services() {
    let endpoint = Regex::new(r#"(?:dns:|dns = ")([a-z-]+)\.latchkey\.svc\.cluster\.local:(\d+)"#).unwrap();
    for name in OVERLAYS {
        let resources = overlay(name);
        let mut places: Vec<String> = Vec::new();
        let mut calls = 0;
        for map in of_kind(&resources, "ConfigMap") {
            for (file, content) in map["data"].as_object().unwrap() {
                places.push(word(content).to_owned());
                for (service, purpose, address) in called(word(content)) {
                    let (host, port) = address.split_once(':').unwrap();
                    let port: u64 = port.parse().unwrap();
                    let there = named(&resources, "Service", host.split('.').next().unwrap());
                    assert_eq!(there["spec"]["selector"]["app.kubernetes.io/name"], service, "{file}");
                    let named = list(&there["spec"]["ports"]).find(|there| there["port"] == port);
                    assert_eq!(named.unwrap()["name"], purpose, "{file}: {address}");
                    calls += 1;
                }
            }
        }
        assert_eq!(calls, 7, "{name}");
        places.push(named(&resources, "Job", "bootstrap")["spec"].to_string());
        let mut found = 0;
        for place in &places {
            for names in endpoint.captures_iter(place) {
                found += 1;
                let service = named(&resources, "Service", &names[1]);
                assert_eq!(service["spec"]["clusterIP"], "None", "{}", &names[1]);
                let has = list(&service["spec"]["ports"])
                    .any(|port| port["port"] == names[2].parse::<u64>().unwrap());
                assert!(has, "{}:{}", &names[1], &names[2]);
            }
        }
        assert!(found >= 7, "{name}: {found}");
    }
}

/// `from → to:port`, of pods in this namespace.
fn edges(resources: &[Value], direction: &str, peers: &str) -> BTreeSet<String> {
    let mut edges = BTreeSet::new();
    for policy in of_kind(resources, "NetworkPolicy") {
        let own = &policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"];
        for rule in list(&policy["spec"][direction]) {
            for peer in list(&rule[peers]) {
                let Some(other) = peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"].as_str()
                else {
                    continue;
                };
                for port in list(&rule["ports"]) {
                    let (from, to) =
                        if direction == "egress" { (word(own), other) } else { (other, word(own)) };
                    edges.insert(format!("{from} → {to}:{}", port["port"]));
                }
            }
        }
    }
    edges
}

/// Without it spans stay where they are.
#[test]
fn the_way_to_a_collector_that_is_described_is_one_for_every_service() {
    let page = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let traces = page.split("\n## Traces\n").nth(1).unwrap();
    let described = traces.split("\n```yaml\n").nth(1).unwrap().split("\n```\n").next().unwrap();
    assert_eq!(faults(described), None);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, described).unwrap();
    let spec = &yaml(&file)[0]["spec"];
    let chosen = &spec["podSelector"]["matchExpressions"][0];
    assert_eq!((&chosen["key"], &chosen["operator"]), (&json!("app.kubernetes.io/name"), &json!("In")));
    let chosen: BTreeSet<&str> = list(&chosen["values"]).map(word).collect();
    let prod = overlay("prod");
    let services = of_kind(&prod, "Deployment").into_iter();
    assert_eq!(chosen, services.map(|one| word(&one["metadata"]["name"])).collect());
    assert_eq!(spec["policyTypes"], json!(["Egress"]));
    // OTLP over HTTP: opentelemetry.io/docs/specs/otlp/#otlphttp-default-port.
    assert_eq!(spec["egress"][0]["ports"], json!([{"protocol": "TCP", "port": 4318}]));
}

#[test]
fn the_network_is_closed_but_for_the_edges_of_the_architecture() {
    let between = [
        "auth → auth:7011",
        "auth → policy:7003",
        "bootstrap → auth:7001",
        "bootstrap → policy:7003",
        "gateway → auth:7001",
        "gateway → auth:7011",
        "gateway → policy:7003",
        "gateway → policy:7013",
        "gateway → session:7002",
        "policy → policy:7013",
        "session → auth:7001",
    ];
    let stores = [
        "auth → postgres:5432",
        "gateway → echo:4001",
        "migrate-auth → postgres:5432",
        "migrate-policy → postgres:5432",
        "policy → postgres:5432",
        "session → redis:6379",
    ];
    for name in OVERLAYS {
        let resources = overlay(name);
        let closed = &named(&resources, "NetworkPolicy", "default-deny")["spec"];
        assert_eq!(closed["podSelector"], json!({}));
        assert_eq!(closed["policyTypes"], json!(["Ingress", "Egress"]));
        assert!(closed["ingress"].is_null() && closed["egress"].is_null());
        let mut expected: BTreeSet<String> = between.map(str::to_owned).into();
        if name == "dev" {
            expected.extend(stores.map(str::to_owned));
        }
        assert_eq!(edges(&resources, "egress", "to"), expected, "{name}");
        assert_eq!(edges(&resources, "ingress", "from"), expected, "{name}");
        // Nobody is let in at a port that is not listened on.
        for policy in of_kind(&resources, "NetworkPolicy") {
            let Some(own) = policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"].as_str()
            else {
                continue;
            };
            for port in list(&policy["spec"]["ingress"]).flat_map(|rule| list(&rule["ports"])) {
                let pod = &named(&resources, "Deployment", own)["spec"]["template"]["spec"];
                assert!(
                    list(&pod["containers"][0]["ports"])
                        .any(|listens| listens["containerPort"] == port["port"]),
                    "{own}: {port}"
                );
            }
        }
    }
}
