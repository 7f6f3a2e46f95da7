//! The Dockerfile, as far as it can be told without building: what a stage takes is what the build makes, and what it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use super::tools::*;

fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).current_dir(root());
    serde_json::from_str(&printed(&mut cargo)).unwrap()
}

fn targets<'a>(package: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a str> {
    let is_meant = move |target: &&Value| list(&target["kind"]).any(|its| its == kind);
    list(&package["targets"]).filter(is_meant).map(|target| word(&target["name"]))
}

/// The binaries that these arguments of `cargo build` make, as cargo chooses them: of the packages named, or else of the
/// workspace's default members.
fn binaries(arguments: &str) -> BTreeSet<String> {
    let metadata = metadata();
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
        made.extend(targets(package, "bin").filter(|_| is_chosen).map(str::to_owned));
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

fn dockerfile() -> String {
    fs::read_to_string(deploy("Dockerfile")).unwrap().replace("\\\n", " ")
}

/// What each image starts, by its stage.
fn entrypoints(dockerfile: &str) -> BTreeMap<String, String> {
    let stage = Regex::new(concat!(
        r"FROM runtime AS (\S+)\nCOPY --from=build /source/target/dist/(\S+) /usr/local/bin/\n",
        r#"ENTRYPOINT \["/usr/local/bin/(\S+)"\]"#
    ))
    .unwrap();
    let mut entrypoints = BTreeMap::new();
    for found in stage.captures_iter(dockerfile) {
        assert_eq!(&found[2], &found[3], "{}", &found[0]);
        entrypoints.insert(found[1].to_owned(), found[3].to_owned());
    }
    entrypoints
}

/// What the image of that stage starts, as it was built beside the program under test.
pub fn entrypoint(stage: &str) -> PathBuf {
    let name = entrypoints(&dockerfile()).remove(stage).unwrap_or_else(|| panic!("no image is {stage}"));
    let program = Path::new(env!("CARGO_BIN_EXE_latchkey")).with_file_name(name);
    assert!(program.is_file(), "{}: not built; a run of the whole --workspace builds it", program.display());
    program
}

#[test]
fn every_image_holds_a_program_that_the_build_makes() {
    let dockerfile = dockerfile();
    let build = dockerfile.lines().find_map(|line| line.strip_prefix("RUN cargo build ")).unwrap();
    let made = binaries(build);
    let mut images = BTreeSet::new();
    for (stage, program) in entrypoints(&dockerfile) {
        assert_eq!(stage, program);
        images.insert(stage);
    }
    assert!(build.contains("--profile dist "), "{build}");
    assert_eq!(images, made);
    assert_eq!(dockerfile.matches("FROM runtime AS").count(), images.len(), "a stage that is not looked at");
}

/// Cargo builds a package's programs anew before its tests outside `src`, and only for them: with such tests in each package,
/// what the tests of containers start is never older than its source in a run of the whole workspace.
#[test]
fn every_program_of_an_image_is_built_with_the_workspace_s_tests() {
    let metadata = metadata();
    for (_, program) in entrypoints(&dockerfile()) {
        let is_its = |package: &&Value| targets(package, "bin").any(|name| name == program);
        let package = list(&metadata["packages"]).find(is_its).unwrap();
        assert_ne!(targets(package, "test").count(), 0, "{program} may be stale, or not there");
    }
}

/// What lets `latchkey up`, which starts `latchkey serve`, stand for the images' own programs in every other test.
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
