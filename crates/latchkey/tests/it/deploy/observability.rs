//! Alerts and the dashboard name only what the processes export, and each alert fires when it should.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};
use servers::Collector;

use super::tools::{deploy, printed, root};
use crate::stack::{Builder, PASSWORD, client};

#[test]
fn rules_are_sound_and_fire_when_they_should() {
    let folder = deploy("observability");
    let rules =
        printed(Command::new("promtool").args(["check", "rules", "alerts.yaml"]).current_dir(&folder));
    assert!(rules.contains("13 rules found"), "{rules}");
    printed(Command::new("promtool").args(["test", "rules", "alerts.test.yaml"]).current_dir(&folder));
    let tested = fs::read_to_string(folder.join("alerts.test.yaml")).unwrap();
    let described = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for alert in fs::read_to_string(folder.join("alerts.yaml")).unwrap().lines() {
        let Some((_, name)) = alert.split_once("- alert: ") else { continue };
        // One series on which it fires, one on which it does not.
        assert_eq!(tested.matches(&format!("alertname: {name}\n")).count(), 2, "{name}");
        assert!(described.contains(&format!("`{name}`")), "{name} is not in docs/operations.md");
    }
}

#[test]
fn a_rule_that_is_wrong_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = fs::read_to_string(deploy("observability/alerts.yaml")).unwrap().replace("== 0", "=== 0");
    fs::write(folder.path().join("alerts.yaml"), wrong).unwrap();
    let checked =
        Command::new("promtool").args(["check", "rules", "alerts.yaml"]).current_dir(folder.path()).output();
    assert!(!checked.unwrap().status.success());
}

/// What a panel asks, as rules: promtool reads no dashboards.
#[test]
fn what_the_dashboard_asks_is_sound() {
    let dashboard = fs::read(deploy("observability/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_slice(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(
        expressions.len() >= panels.iter().filter(|panel| panel["type"] != "row").count(),
        "{expressions:?}"
    );
    let check = |expressions: &[&str]| {
        let rules: Vec<Value> = expressions
            .iter()
            .enumerate()
            .map(|(number, expression)| json!({ "record": format!("panel:{number}"), "expr": expression }))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        // JSON is YAML.
        let rules = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
        fs::write(folder.path().join("rules.yaml"), rules.to_string()).unwrap();
        Command::new("promtool")
            .args(["check", "rules", "rules.yaml"])
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let checked = check(&expressions);
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(
        checked.status.success() && told.contains(&format!("{} rules found", expressions.len())),
        "{checked:?}"
    );
    assert!(!check(&["sum(rate(latchkey_gateway_answers_total[5m])"]).status.success(), "the control");
}

#[tokio::test]
async fn every_metric_that_is_named_is_exported() {
    let collector = Collector::start().await;
    let stack = Builder::new().variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()).start().await;
    // A counter with labels is there once it has counted.
    stack.register("alice").await;
    stack.token("alice", PASSWORD).await;
    stack.session("alice", PASSWORD).await;
    assert_eq!(stack.latchkey(&["check", "alice", "document:read", "document/1"]).status.code(), Some(3));
    // Counted only once it happens, and no replica misbehaves here: who counts must call it so.
    let counting = fs::read_to_string(root().join("crates/chassis/src/grpc/client.rs")).unwrap();
    assert!(counting.contains("u64_counter(\"latchkey_process_replica_ejections\")"));
    let mut exported = BTreeSet::from(["latchkey_process_replica_ejections_total".to_owned()]);
    for address in stack.file.operations.values() {
        let page = client().get(format!("{address}/metrics")).send().await.unwrap().text().await.unwrap();
        for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            exported.insert(name.to_owned());
            if kind == "histogram" {
                exported.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
            }
        }
    }
    let name = Regex::new(r"latchkey_[a-z_]+").unwrap();
    let mut counted = 0;
    let mut missing = BTreeSet::new();
    for file in ["alerts.yaml", "dashboard.json"] {
        let page = fs::read_to_string(deploy("observability").join(file)).unwrap();
        for found in name.find_iter(&page) {
            counted += 1;
            if !exported.contains(found.as_str()) {
                missing.insert(format!("{file}: {}", found.as_str()));
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
    assert!(counted > 20, "{counted}");
}
