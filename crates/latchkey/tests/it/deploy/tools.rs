//! The real tools, and what they print. One that is missing fails the test: `cargo xtask setup` installs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::stack::text;

pub const OVERLAYS: [&str; 2] = ["dev", "prod"];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub fn deploy(path: &str) -> PathBuf {
    root().join("deploy").join(path)
}

/// A program of `target/tools/python`.
pub fn python(program: &str) -> Command {
    Command::new(root().join("target/tools/python/bin").join(program))
}

/// What a command that must succeed prints.
pub fn printed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; cargo xtask setup installs what is missing"));
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The documents of a YAML file.
pub fn yaml(file: &Path) -> Vec<Value> {
    let program =
        "import json, sys, yaml; print(json.dumps([d for d in yaml.safe_load_all(open(sys.argv[1])) if d]))";
    serde_json::from_str(&printed(python("python").args(["-c", program]).arg(file))).unwrap()
}

pub fn kustomize(folder: &Path, into: &Path) -> Vec<Value> {
    std::fs::write(into, printed(Command::new("kubectl").arg("kustomize").arg(folder))).unwrap();
    yaml(into)
}

/// The resources of an overlay.
pub fn overlay(name: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    kustomize(&deploy("kubernetes/overlays").join(name), &folder.path().join("rendered.yaml"))
}

/// Makes the secrets as the documentation says, and returns the Secrets of the dev overlay.
pub fn secrets(folder: &Path) -> Vec<Value> {
    let program = Path::new(env!("CARGO_BIN_EXE_latchkey")).parent().unwrap();
    let path = [program.as_os_str().to_owned(), ":".into(), std::env::var_os("PATH").unwrap()];
    let path: std::ffi::OsString = path.into_iter().collect();
    printed(Command::new(deploy("development-secrets.sh")).arg(folder).env("PATH", path));
    let file = folder.join("secrets.yaml");
    let made = printed(Command::new(deploy("kubernetes/overlays/dev/secrets.sh")).arg(folder));
    std::fs::write(&file, made).unwrap();
    yaml(&file)
}

pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// What no test looks at must not be there.
pub fn only(value: &Value, looked_at: &[&str]) {
    for key in value.as_object().into_iter().flat_map(|object| object.keys()) {
        assert!(looked_at.contains(&key.as_str()), "not looked at: {key}: {value}");
    }
}

pub fn of_kind<'a>(resources: &'a [Value], kind: &str) -> Vec<&'a Value> {
    resources.iter().filter(|resource| resource["kind"] == kind).collect()
}

pub fn named<'a>(resources: &'a [Value], kind: &str, name: &str) -> &'a Value {
    of_kind(resources, kind)
        .into_iter()
        .find(|resource| resource["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// Deployments and Jobs, which have pods.
pub fn workloads(resources: &[Value]) -> Vec<&Value> {
    resources.iter().filter(|resource| !resource["spec"]["template"].is_null()).collect()
}

/// Whom a service's settings call: the service, the purpose of the port (`grpc`, `feed`), and `host:port`.
pub fn called(settings: &str) -> Vec<(String, &'static str, String)> {
    let settings: toml::Table = settings.parse().unwrap();
    let mut called = Vec::new();
    for (section, purpose) in [("peers", "grpc"), ("feeds", "feed")] {
        for (service, peer) in settings.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
            for endpoint in peer["endpoints"].as_array().unwrap() {
                let address = endpoint.as_str().unwrap().strip_prefix("dns:").unwrap();
                called.push((service.clone(), purpose, address.to_owned()));
            }
        }
    }
    called
}
