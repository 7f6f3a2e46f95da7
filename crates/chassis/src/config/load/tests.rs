use std::net::SocketAddr;

use serde::Deserialize;

use super::*;
use crate::config::{Peer, Server, TlsMode, prefixed};

const DEFAULTS: &str = r#"
trusted = []

[server]
listen = "127.0.0.1:7001"
max_message_bytes = 1048576

[hash]
memory_kib = 19456
strict = true
pepper_file = ""

[store]
url = "sqlite:here"

[audience]
"#;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    trusted: Vec<SocketAddr>,
    server: Server,
    hash: Hash,
    store: Store,
    audience: BTreeMap<String, Audience>,
    #[serde(default)]
    route: Vec<Route>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hash {
    memory_kib: u32,
    strict: bool,
    #[serde(deserialize_with = "crate::config::optional")]
    pepper_file: Option<std::path::PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by Debug")]
struct Audience {
    lifetime: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    path: String,
}

impl Validate for Config {
    fn problems(&self) -> Vec<String> {
        let mut problems = prefixed("server", self.server.problems());
        if self.hash.memory_kib < 19456 {
            problems.push("hash.memory_kib: must be at least 19456".to_owned());
        }
        problems
    }

    fn open_tables() -> &'static [&'static str] {
        &["audience", "route"]
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let file = file("[server]\nlisten = \"127.0.0.1:1\"\n[hash]\nmemory_kib = 20000\npepper_file = \"/p\"\n");
    let env = env(&[
        ("LATCHKEY__SERVER__LISTEN", "127.0.0.1:2"),
        ("LATCHKEY__HASH__STRICT", "false"),
        ("LATCHKEY__TRUSTED", "127.0.0.1:5, 127.0.0.1:6"),
    ]);
    let config: Config = load(DEFAULTS, Some(file.path()), env).unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.hash.memory_kib, 20000);
    assert_eq!(config.hash.pepper_file.as_deref(), Some(Path::new("/p")));
    assert!(!config.hash.strict);
    assert_eq!(config.trusted.len(), 2);
    assert_eq!(config.store.url, "sqlite:here");
    assert_eq!(load::<Config>(DEFAULTS, None, vec![]).unwrap().hash.pepper_file, None);
}

#[test]
fn f38_everything_wrong_is_reported_at_once_with_key_and_source() {
    let file = file(
        "surplus = 1\n[server]\nlistn = \"x\"\nlisten = \"nowhere\"\n[hash]\nmemory_kib = 8\n[store]\nurl = 5\n\
         [audience.good]\nlifetime = 1\n[audience.bad]\nlifetime = \"long\"\n[[route]]\npath = \"/\"\n[[route]]\npth = 1\n",
    );
    let path = file.path().display().to_string();
    let env =
        env(&[("LATCHKEY__HASH__STRICT", "maybe"), ("LATCHKEY__NO__SUCH", "1"), ("LATCHKEY__SERVER", "x")]);
    let error = load::<Config>(DEFAULTS, Some(file.path()), env).unwrap_err();
    let found: Vec<(&str, Option<&str>)> =
        error.problems.iter().map(|p| (p.key.as_str(), p.source.as_deref())).collect();
    let from_file = Some(path.as_str());
    for expected in [
        ("surplus", from_file),
        ("server.listn", from_file),
        ("server.listen", from_file),
        ("hash.memory_kib", from_file),
        ("store.url", from_file),
        ("audience.bad.lifetime", from_file),
        ("hash.strict", Some("LATCHKEY__HASH__STRICT")),
        ("no", Some("LATCHKEY__NO__SUCH")),
        ("server", Some("LATCHKEY__SERVER")),
    ] {
        assert!(found.contains(&expected), "{expected:?} is missing in {found:#?}");
    }
    assert!(found.iter().any(|(key, _)| key.starts_with("route[1]")), "{found:#?}");
    assert_eq!(found.len(), 10, "{error}");
    let text = error.to_string();
    assert_eq!(text.lines().count(), 10, "one line a problem:\n{text}");
    assert!(text.contains("server.listn: unknown key; did you mean server.listen?"), "{text}");
    assert!(text.contains("(from LATCHKEY__HASH__STRICT)"), "{text}");
}

#[test]
fn names_in_open_tables_are_free() {
    let file = file("[audience.one]\nlifetime = 1\n[audience.two]\nlifetime = 2\n[[route]]\npath = \"/a\"\n");
    let config: Config = load(DEFAULTS, Some(file.path()), vec![]).unwrap();
    assert_eq!(config.audience.keys().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(config.route.first().unwrap().path, "/a");
}

#[test]
fn a_broken_or_missing_file_is_one_problem_with_its_place() {
    let broken = file("[server]\nlisten = \n");
    let error = load::<Config>(DEFAULTS, Some(broken.path()), vec![]).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    assert!(error.to_string().contains("line 2"), "{error}");

    let error = load::<Config>(DEFAULTS, Some(Path::new("/nowhere/latchkey.toml")), vec![]).unwrap_err();
    assert!(error.to_string().contains("/nowhere/latchkey.toml cannot be read"), "{error}");
}

#[test]
fn what_is_printed_loads_again_and_shows_no_password() {
    let file = file(
        "[store]\nurl = \"postgres://latchkey:hunter2@db:5432/auth?x=@\"\n[audience.one]\nlifetime = 7\n",
    );
    let resolved = resolve::<Config>(DEFAULTS, Some(file.path()), vec![]).unwrap();
    let printed = resolved.print();
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("postgres://latchkey:***@db:5432/auth"), "{printed}");
    let again = self::file(&printed);
    let config: Config = load(DEFAULTS, Some(again.path()), vec![]).unwrap();
    assert_eq!(config.audience.get("one").unwrap().lifetime, 7);
}

#[test]
fn endpoints_are_one_or_many_and_each_is_judged() {
    let peer = |text: &str| toml::from_str::<Peer>(text);
    let one = peer("endpoints = \"dns:auth.internal:7001\"").unwrap();
    assert_eq!(one.endpoints, ["dns:auth.internal:7001"]);
    assert!(one.problems(TlsMode::Mutual).is_empty());
    let many = peer("endpoints = [\"https://a:1\", \"dns:auth\", \"b\"]").unwrap();
    let problems = many.problems(TlsMode::Mutual);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(peer("endpoints = []").unwrap().problems(TlsMode::Mutual).len(), 1);
    let error = peer("endpoints = 3").unwrap_err().to_string();
    assert!(error.contains("a text or a list of texts"), "{error}");
}

#[test]
fn endpoints_that_tls_mode_forbids_are_told_by_the_check_and_not_by_the_start() {
    let peer: Peer = toml::from_str("endpoints = [\"https://a:1\", \"http://b:1\", \"dns:c:1\"]").unwrap();
    assert_eq!(
        peer.problems(TlsMode::Mutual),
        ["endpoints: \"http://b:1\" must begin with https://, because tls.mode is \"mutual\""]
    );
    assert_eq!(
        peer.problems(TlsMode::External),
        ["endpoints: \"https://a:1\" must begin with http://, because tls.mode is \"external\""]
    );
}
