//! The rules of the house that no compiler knows: which room may see what, which crates may be used and by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

const SERVICES: [&str; 3] = ["auth-service", "session-service", "policy-service"];
const MSRV: (u64, u64) = (1, 94);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let about = Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let about = String::from_utf8(about.stdout).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // This platform's crates are there, or this test would not run; those of others may not have been downloaded.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
});

fn array<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn string<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// Every package that is built for this platform. `cargo tree` says so; the graph in `cargo metadata` also has what a feature
/// would add that nobody turned on.
fn resolved() -> Vec<&'static Value> {
    built(&["--workspace", "--edges", "normal,build,dev"])
}

/// Every package that `cargo tree` shows with these arguments.
fn built(arguments: &[&str]) -> Vec<&'static Value> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let built: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(" v"))
        .map(|(name, version)| (name, version.split_whitespace().next().unwrap()))
        .collect();
    let packages = array(&METADATA, "packages").iter();
    let found: Vec<&Value> = packages
        .filter(|package| built.contains(&(string(package, "name"), string(package, "version"))))
        .collect();
    assert_eq!(found.len(), built.len());
    found
}

fn members() -> Vec<&'static Value> {
    let ids: BTreeSet<&str> =
        array(&METADATA, "workspace_members").iter().filter_map(Value::as_str).collect();
    array(&METADATA, "packages").iter().filter(|package| ids.contains(string(package, "id"))).collect()
}

/// Names of what a workspace member depends on; tests' needs aside.
fn dependencies(member: &str) -> BTreeSet<&'static str> {
    let package = members().into_iter().find(|package| string(package, "name") == member);
    let package = package.unwrap_or_else(|| panic!("no member is called {member}"));
    array(package, "dependencies")
        .iter()
        .filter(|dep| dep["kind"] != "dev")
        .map(|dep| string(dep, "name"))
        .collect()
}

#[test]
fn what_is_banned_is_not_there() {
    let all: BTreeSet<&str> = resolved().into_iter().map(|package| string(package, "name")).collect();
    assert!(all.contains("aws-lc-rs"), "the list is the real one");
    for banned in ["ring", "openssl-sys", "openssl", "native-tls", "rsa"] {
        assert!(!all.contains(banned), "{banned}: see `cargo tree -i {banned}`");
    }
}

#[test]
fn key_crates_have_one_version() {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in resolved() {
        versions.entry(string(package, "name")).or_default().push(string(package, "version"));
    }
    for name in [
        "aws-lc-rs",
        "axum",
        "h2",
        "http",
        "hyper",
        "opentelemetry",
        "prost",
        "redis",
        "rustls",
        "sqlx",
        "tokio",
        "tonic",
        "tower",
    ] {
        let found =
            versions.get(name).unwrap_or_else(|| panic!("{name} is not used any more: take it off the list"));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
    }
}

#[test]
fn licences_allow_what_we_do() {
    for package in resolved() {
        let (name, licence) = (string(package, "name"), string(package, "license"));
        let allowed = !licence.is_empty() && allowed(licence);
        assert!(allowed, "{name} {}: {licence:?}", string(package, "version"));
    }
    for package in members() {
        assert_eq!(string(package, "license"), "MIT OR Apache-2.0", "{}", string(package, "name"));
    }
}

/// An SPDX expression of OR, AND, parentheses and names. `/` is an old OR.
fn allowed(expression: &str) -> bool {
    fn any<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut result = all(words);
        while words.next_if_eq(&"OR").is_some() {
            result |= all(words);
        }
        result
    }
    fn all<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut result = one(words);
        while words.next_if_eq(&"AND").is_some() {
            result &= one(words);
        }
        result
    }
    fn one<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        match words.next() {
            Some("(") => {
                let result = any(words);
                assert_eq!(words.next(), Some(")"));
                result
            }
            Some(name) => {
                if words.next_if_eq(&"WITH").is_some() {
                    words.next();
                }
                const ALLOWED: [&str; 14] = [
                    "0BSD",
                    "Apache-2.0",
                    "BSD-2-Clause",
                    "BSD-3-Clause",
                    "BSL-1.0",
                    "CC0-1.0",
                    "CDLA-Permissive-2.0",
                    "ISC",
                    "MIT",
                    "MIT-0",
                    "OpenSSL",
                    "Unicode-3.0",
                    "Unlicense",
                    "Zlib",
                ];
                ALLOWED.contains(&name) || name == "MPL-2.0"
            }
            None => false,
        }
    }
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    any(&mut spaced.split_whitespace().peekable())
}

#[test]
fn licence_expressions_are_understood() {
    assert!(allowed("MIT OR GPL-3.0"));
    assert!(allowed("MIT/Apache-2.0"));
    assert!(allowed("(MIT OR GPL-3.0) AND Unicode-3.0"));
    assert!(allowed("Apache-2.0 WITH LLVM-exception"));
    assert!(!allowed("MIT AND GPL-3.0"));
    assert!(!allowed("GPL-3.0"));
}

fn number(version: &str) -> (u64, u64) {
    let mut parts = version.split('.').map(|part| part.parse::<u64>().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn the_oldest_compiler_is_the_one_we_name() {
    for package in members() {
        // The guard is for others' services too, and says what it needs itself.
        assert!(number(string(package, "rust_version")) <= MSRV, "{}", string(package, "name"));
    }
    for package in resolved() {
        if let Some(needs) = package["rust_version"].as_str() {
            assert!(number(needs) <= MSRV, "{} needs {needs}", string(package, "name"));
        }
    }
}

#[test]
fn crates_depend_inwards_only() {
    for service in SERVICES {
        let of = dependencies(service);
        for other in SERVICES.into_iter().chain(["gateway", "latchkey"]) {
            assert!(!of.contains(other), "{service} depends on {other}");
        }
    }
    let inner = [
        (
            "gateway",
            &["auth-service", "session-service", "policy-service", "latchkey", "sqlx", "jsonwebtoken"][..],
        ),
        ("latchkey-guard", &["axum", "sqlx", "redis", "jsonwebtoken"]),
        (
            "latchkey-token",
            &["tokio", "axum", "tonic", "sqlx", "hyper", "latchkey-chassis", "latchkey-proto", "async-trait"],
        ),
        (
            "latchkey-chassis",
            &["latchkey-proto", "latchkey-token", "latchkey-guard", "jsonwebtoken", "argon2"],
        ),
        ("latchkey-proto", &["latchkey-chassis", "latchkey-token", "sqlx"]),
    ];
    for (member, never) in inner {
        let of = dependencies(member);
        for name in never {
            assert!(!of.contains(name), "{member} depends on {name}");
        }
    }
}

/// What the guard brings into a service of somebody else's that asks for these features of it.
fn brought_by_the_guard(features: &[&str]) -> Vec<&'static Value> {
    built(&[&["--package", "latchkey-guard", "--edges", "normal"], features].concat())
}

/// The guard is for others' services too: what it brings is its promise to them.
#[test]
fn the_guard_brings_no_driver_and_no_younger_compiler_than_it_says() {
    const OLDEST: (u64, u64) = (1, 88);
    let brought = brought_by_the_guard(&["--all-features"]);
    let names: BTreeSet<&str> = brought.iter().map(|package| string(package, "name")).collect();
    for needed in ["latchkey-chassis", "latchkey-proto", "latchkey-feed", "latchkey-token", "tonic"] {
        assert!(names.contains(needed), "the list is the real one, but lacks {needed}");
    }
    let drivers = |name: &&&str| {
        ["sqlx", "redis", "sqlite", "rusqlite", "postgres", "cedar", "argon2", "latchkey-servers"]
            .iter()
            .any(|driver| name.contains(driver))
    };
    assert_eq!(names.iter().filter(drivers).collect::<Vec<_>>(), Vec::<&&str>::new());
    for service in SERVICES.into_iter().chain(["gateway", "latchkey"]) {
        assert!(!names.contains(service), "{service}");
    }
    let own: BTreeSet<&str> = members().into_iter().map(|member| string(member, "name")).collect();
    for package in brought {
        let (name, needs) = (string(package, "name"), package["rust_version"].as_str());
        // What states nothing cannot be judged; ours does.
        assert!(needs.is_none_or(|needs| number(needs) <= OLDEST), "{name} needs {needs:?}");
        assert_eq!(own.contains(name).then(|| needs.map(number)), own.contains(name).then_some(Some(OLDEST)));
    }
}

#[test]
fn without_features_the_guard_is_verification_only() {
    let brought = brought_by_the_guard(&[]);
    let names: BTreeSet<&str> = brought.iter().map(|package| string(package, "name")).collect();
    assert!(names.contains("latchkey-token") && names.contains("latchkey-feed"));
    for heavy in ["latchkey-chassis", "latchkey-proto", "tonic", "hyper", "axum", "rustls", "opentelemetry"] {
        assert!(!names.contains(heavy), "{heavy}");
    }
    // Its own tests and a service's need no network either.
    for package in brought_by_the_guard(&["--features", "testing"]) {
        let name = string(package, "name");
        assert!(!["tonic", "hyper", "axum", "rustls"].contains(&name), "{name}");
    }
}

#[test]
fn drivers_and_dangerous_crates_have_few_users() {
    let may_use = [
        // The chassis opens a file, for whoever asks it to; see `only_services_open_databases`. Benchmarks ask how long a commit takes.
        (
            "sqlx",
            &[
                "auth-service",
                "session-service",
                "policy-service",
                "latchkey-chassis",
                "latchkey-feed",
                "latchkey-bench",
            ][..],
        ),
        ("redis", &["session-service"]),
        ("jsonwebtoken", &["latchkey-token"]),
        ("argon2", &["auth-service"]),
        ("rcgen", &["latchkey"]),
        // Servers to try things on: `latchkey demo` and benchmarks start them. Whoever else does is a test.
        ("latchkey-servers", &["latchkey", "latchkey-bench"]),
    ];
    for (name, users) in may_use {
        for member in members() {
            let member = string(member, "name");
            assert!(!dependencies(member).contains(name) || users.contains(&member), "{member} uses {name}");
        }
    }
}

/// How a database file is opened is the same for all services, so the chassis does it: behind a feature, off by default,
/// that nobody else asks for. It sees no row.
#[test]
fn only_services_open_databases() {
    const FEATURE: &str = "sql";
    for member in members() {
        let name = string(member, "name");
        let asks = array(member, "dependencies")
            .iter()
            .filter(|dep| string(dep, "name") == "latchkey-chassis" && dep["kind"] != "dev")
            .any(|dep| array(dep, "features").iter().any(|feature| feature == FEATURE));
        assert_eq!(asks, SERVICES.contains(&name), "{name}");
    }
    let chassis = members().into_iter().find(|member| string(member, "name") == "latchkey-chassis").unwrap();
    assert!(chassis["features"][FEATURE].is_array() && chassis["features"]["default"].is_null());
    let driver = array(chassis, "dependencies").iter().find(|dep| dep["name"] == "sqlx").unwrap();
    assert_eq!(driver["optional"], true);
    let mut files = Vec::new();
    collect(&root().join("crates/chassis/src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let path = file.to_str().unwrap();
        let is_its_home = ["src/sqlite", "src/postgres"].iter().any(|home| path.contains(home));
        assert!(is_its_home || !mentions(&text, "sqlx::"), "{}", file.display());
        assert!(!["INSERT", "UPDATE", "DELETE"].iter().any(|word| text.contains(word)), "{}", file.display());
    }
}

/// A room, and what its files must not mention.
const ROOMS: [(&str, &[&str]); 6] = [
    (
        "domain",
        &[
            "async fn",
            "async move",
            ".await",
            "tokio::",
            "tonic::",
            "sqlx::",
            "axum::",
            "hyper::",
            "reqwest::",
            "proto::",
            "chassis::",
            "std::fs",
            "TcpStream",
            "TcpListener",
            "std::env",
            "std::time::Instant",
            "SystemTime",
            "now_utc",
            "crate::flows",
            "crate::store",
            "crate::peers",
            "crate::rpc",
            "crate::app",
        ],
    ),
    (
        "store.rs",
        &[
            "sqlx::",
            "tonic::",
            "proto::",
            "crate::flows",
            "crate::rpc",
            "crate::store::sqlite",
            "crate::store::postgres",
            "crate::store::redis",
        ],
    ),
    ("peers.rs", &["sqlx::", "tonic::", "proto::", "crate::flows", "crate::rpc", "crate::store"]),
    (
        "flows",
        &[
            "tonic::",
            "sqlx::",
            "proto::",
            "axum::",
            "crate::rpc",
            "crate::app",
            "store::sqlite",
            "store::postgres",
            "store::redis",
        ],
    ),
    ("store", &["crate::flows", "crate::rpc", "crate::peers", "crate::app", "tonic::", "proto::"]),
    ("peers", &["crate::flows", "crate::rpc", "crate::store", "crate::app", "sqlx::"]),
];

#[test]
fn rooms_see_what_they_may() {
    let mut looked_at = 0;
    for service in SERVICES {
        let source = root().join(service).join("src");
        let rooms = ROOMS.iter().copied().chain([(
            "rpc",
            &["sqlx::", "store::sqlite", "store::postgres", "store::redis", "crate::app"][..],
        )]);
        for (room, never) in rooms {
            looked_at += look(&source.join(room), never);
            if !room.ends_with(".rs") && !matches!(room, "store" | "peers") {
                looked_at += look(&source.join(format!("{room}.rs")), never);
            }
        }
    }
    assert!(looked_at > 40, "the rooms are where they are looked for: {looked_at}");
}

#[test]
fn the_gateways_rooms_see_what_they_may() {
    let source = root().join("gateway/src");
    let wire = ["tonic::", "proto::", "sqlx::"];
    let mut looked_at = 0;
    for room in ["routing", "layers", "proxy", "http1"] {
        // What is forwarded never meets axum: only requests for the own endpoints are handed to its router.
        let never = [
            &wire[..],
            if matches!(room, "proxy" | "http1") { &["axum::routing", "axum::extract"] } else { &[] },
        ]
        .concat();
        looked_at += look(&source.join(room), &never);
        looked_at += look(&source.join(format!("{room}.rs")), &never);
    }
    looked_at += look(&source.join("own"), &wire);
    looked_at += look(&source.join("peers.rs"), &wire);
    assert!(looked_at > 20, "the rooms are where they are looked for: {looked_at}");
}

#[test]
fn a_main_is_short() {
    for member in SERVICES.into_iter().chain(["gateway", "crates/latchkey"]) {
        let text = fs::read_to_string(root().join(member).join("src/main.rs")).unwrap();
        assert!(text.lines().count() < 40, "{member}");
    }
}

/// Looks through a file or folder, tests aside; how many files there were.
fn look(path: &Path, never: &[&str]) -> usize {
    let mut files = Vec::new();
    collect(path, &mut files);
    for file in &files {
        for (number, line) in production(&fs::read_to_string(file).unwrap()).lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for word in never {
                assert!(!mentions(code, word), "{}:{}: {word} in: {line}", file.display(), number + 1);
            }
        }
    }
    files.len()
}

/// Whether `word` is there as a path of its own: `proto::` is not in `crate::proto::` or `latchkey_proto::`.
fn mentions(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || (c == ':' && !word.contains(' ')))
    })
}

/// What stands before a file's tests.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap()
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_owned());
        return;
    }
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            collect(&path, files);
        } else if name.ends_with(".rs") && !matches!(name, "tests.rs" | "fakes.rs") {
            files.push(path);
        }
    }
}

#[test]
fn a_mention_is_a_path_of_its_own() {
    assert!(mentions("use proto::auth::v1;", "proto::"));
    assert!(mentions("Err(tonic::Status::x())", "tonic::"));
    assert!(mentions("pub(crate) async fn x()", "async fn"));
    assert!(!mentions("use latchkey_proto::x;", "proto::"));
    assert!(!mentions("use crate::proto::x;", "proto::"));
    assert_eq!(production("a\n#[cfg(test)]\nmod tests {\nasync fn x\n"), "a\n");
}
