//! The Dockerfile, as far as it can be told without building: what a stage takes is what the build makes, and what it starts.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use super::tools::*;

/// The binaries that these arguments of `cargo build` make, as cargo chooses them: of the packages named, or else of the
/// workspace's default members.
fn binaries(arguments: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).current_dir(root());
    let metadata: Value = serde_json::from_str(&printed(&mut cargo)).unwrap();
    let after = |option: &str| -> BTreeSet<String> {
        let named = Regex::new(&format!(r"{option} (\S+)")).unwrap();
        named.captures_iter(arguments).map(|found| found[1].to_owned()).collect()
    };
    let (packages, wanted) = (after("-p"), after("--bin"));
    let defaults: Vec<&Value> = list(&metadata["workspace_default_members"]).collect();
    let mut made = BTreeSet::new();
    for package in list(&metadata["packages"]) {
        let is_chosen = match packages.is_empty() {
            true => arguments.contains("--workspace") || defaults.contains(&&package["id"]),
            false => packages.contains(word(&package["name"])),
        };
        let targets =
            list(&package["targets"]).filter(|target| list(&target["kind"]).any(|kind| kind == "bin"));
        made.extend(targets.filter(|_| is_chosen).map(|target| word(&target["name"]).to_owned()));
    }
    if wanted.is_empty() {
        return made;
    }
    assert!(
        wanted.is_subset(&made),
        "no such binaries in the packages that are built: {:?}",
        &wanted - &made
    );
    wanted
}

#[test]
fn every_image_holds_a_program_that_the_build_makes() {
    let dockerfile = fs::read_to_string(deploy("Dockerfile")).unwrap().replace("\\\n", " ");
    let build = dockerfile.lines().find_map(|line| line.strip_prefix("RUN cargo build ")).unwrap();
    let made = binaries(build);
    let stage = Regex::new(concat!(
        r"FROM runtime AS (\S+)\nCOPY --from=build /source/target/dist/(\S+) /usr/local/bin/\n",
        r#"ENTRYPOINT \["/usr/local/bin/(\S+)"\]"#
    ))
    .unwrap();
    let mut images = BTreeSet::new();
    for found in stage.captures_iter(&dockerfile) {
        assert!(found[1] == found[2] && found[2] == found[3], "{}", &found[0]);
        images.insert(found[1].to_owned());
    }
    assert!(build.contains("--profile dist "), "{build}");
    assert_eq!(images, made);
    assert_eq!(dockerfile.matches("FROM runtime AS").count(), images.len(), "a stage that is not looked at");
}

/// What lets `latchkey serve` stand for the images' own binaries in the tests of containers.
#[test]
fn a_service_s_own_binary_runs_what_latchkey_serve_runs() {
    let serve = fs::read_to_string(root().join("crates/latchkey/src/serve.rs")).unwrap();
    for service in ["auth-service", "session-service", "policy-service", "gateway"] {
        let main = fs::read_to_string(root().join(service).join("src/main.rs")).unwrap();
        let own = service.replace('-', "_");
        assert!(main.contains(&format!("    {own}::run({own}::Args::parse())\n}}")), "{service}");
        assert!(serve.contains(&format!("{own}::run(args)")), "{service}");
    }
}
