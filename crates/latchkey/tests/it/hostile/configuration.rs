//! Starts that would be weak or wrong: refused before anything listens or is created, with one line for each thing that is
//! wrong, which says where.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::stack::{SOON, program, text};

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Three spellings of "any free port", so that one can be replaced without the others.
const SERVER: &str = "listen = \"127.0.0.1:0\"\n";
const OPERATIONS: &str = "listen = \"127.0.0.1:00\"\n";
const FEED: &str = "[feed]\nlisten = \"127.0.0.1:000\"\n";

/// What a service needs to start, less what a test spoils.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = folder.path().join("certificates");
        let made = program().args(["certificates", "dev"]).arg(&certificates).output().unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        let new = Self { folder };
        new.secret("master.key", &format!("{}=", "A".repeat(43)));
        let key = token::RecipientKey::generate("gw-1").unwrap();
        new.secret("gateway.jwk.json", &key.to_jwk_json().unwrap());
        new.secret("gateway.public.jwk.json", &key.public().to_jwk_json());
        new.secret("routes.toml", "[upstream.a]\nendpoints = [\"http://127.0.0.1:1\"]\n");
        new
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn secret(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A configuration with which the service would start, on any free ports.
    fn sound(&self, service: &str) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        let tls = format!(
            "[tls]\ndomain = \"latchkey.local\"\ncertificate = \"{}\"\nkey = \"{}\"\nauthority = \"{}\"\n",
            path(&format!("certificates/{service}.crt")),
            path(&format!("certificates/{service}.key")),
            path("certificates/ca.crt"),
        );
        let listen = format!("[server]\n{SERVER}[operations]\n{OPERATIONS}");
        let store = format!("[store]\nurl = \"sqlite:{}\"\n", path("store.sqlite"));
        let peer = |name: &str| format!("[peers.{name}]\nendpoints = [\"https://127.0.0.1:1\"]\n");
        let feed = |name: &str| format!("[feeds.{name}]\nendpoints = [\"https://127.0.0.1:1\"]\n");
        let own = match service {
            "auth" => format!(
                "{store}{FEED}{}[first_party]\nencrypt_to = \"{}\"\n[signing]\nmaster_key = \"{}\"\n",
                peer("policy"),
                path("gateway.public.jwk.json"),
                path("master.key")
            ),
            "session" => format!("{store}{}", peer("auth")),
            "policy" => store + FEED,
            _ => format!(
                "[token]\nkeys = [\"{}\"]\n{}{}{}{}{}",
                path("gateway.jwk.json"),
                peer("auth"),
                peer("session"),
                peer("policy"),
                feed("auth"),
                feed("policy")
            ),
        };
        let top = match service {
            "auth" | "session" => "issuer = \"https://app.example\"\n".to_owned(),
            "gateway" => {
                format!("public_url = \"https://app.example\"\nroutes = \"{}\"\n", path("routes.toml"))
            }
            _ => String::new(),
        };
        format!("{top}{listen}{tls}{own}")
    }
}

/// Runs a service with this configuration to its end, which must come by itself; what it said, a line each.
fn refused(folder: &Folder, service: &str, config: &str) -> Vec<String> {
    let file = folder.path(&format!("{service}.toml"));
    fs::write(&file, config).unwrap();
    let mut child = program();
    child.args(["serve", service, "--config"]).arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    for _ in 0..SOON.as_millis() / LOOK_EVERY.as_millis() {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    if child.try_wait().unwrap().is_none() {
        child.kill().unwrap();
        panic!("{service} started with\n{config}");
    }
    let output = child.wait_with_output().unwrap();
    let (said, log) = (text(&output.stderr), text(&output.stdout));
    assert_eq!(output.status.code(), Some(1), "{service}: {said}");
    assert!(!said.contains("panic"), "{said}");
    assert!(!log.contains("listening"), "{service} listened: {log}");
    assert_eq!(
        databases(folder.folder.path()),
        0,
        "{service} made a database before it knew that it could run"
    );
    said.lines().map(str::to_owned).collect()
}

fn databases(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().contains("sqlite")).count()
}

/// Exactly one line for each of `expected`, which has all of its parts.
fn assert_said(lines: &[String], expected: &[&[&str]]) {
    for parts in expected {
        let found = lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count();
        assert_eq!(found, 1, "{parts:?} in {lines:#?}");
    }
    assert_eq!(lines.len(), expected.len(), "one line a problem: {lines:#?}");
}

const SERVICES: [&str; 4] = ["auth", "session", "policy", "gateway"];

/// Nothing else is wrong with what the other tests spoil.
#[test]
fn f38_a_port_in_use_is_all_that_is_wrong() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for service in SERVICES {
        for (whose, key) in [(SERVER, "server.listen"), (OPERATIONS, "operations.listen")] {
            let config = folder.sound(service).replace(whose, &format!("listen = \"{address}\"\n"));
            assert_said(&refused(&folder, service, &config), &[&[key, "in use", &address]]);
        }
    }
}

#[test]
fn f38_all_unknown_keys_and_bad_values_are_said_at_once() {
    let folder = Folder::new();
    for service in SERVICES {
        let sound = folder.sound(service);
        let spoiled = format!(
            "unheard_of = 1\n{sound}\n[log]\nlevle = \"info\"\nformat = \"prose\"\n[nonsense]\nx = 1\n"
        )
        .replace(OPERATIONS, "listen = \"nowhere\"\n");
        let lines = refused(&folder, service, &spoiled);
        let file = format!("{service}.toml");
        let keys = ["unheard_of", "log.levle", "log.format", "nonsense", "operations.listen"];
        let expected: Vec<[&str; 2]> = keys.iter().map(|key| [*key, file.as_str()]).collect();
        assert_said(&lines, &expected.iter().map(|parts| &parts[..]).collect::<Vec<_>>());
    }
}

#[test]
fn f38_missing_and_readable_keys() {
    let folder = Folder::new();
    let files = [
        ("auth", "master.key", true),
        ("auth", "gateway.public.jwk.json", false),
        ("auth", "certificates/auth.key", true),
        ("session", "certificates/session.key", true),
        ("policy", "certificates/policy.key", true),
        ("policy", "certificates/policy.crt", false),
        ("policy", "certificates/ca.crt", false),
        ("gateway", "gateway.jwk.json", true),
        ("gateway", "certificates/gateway.key", true),
    ];
    for (service, name, secret) in files {
        let (path, config) = (folder.path(name), folder.sound(service));
        let content = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_said(&refused(&folder, service, &config), &[&[name]]);
        folder.secret(name, "");
        assert_said(&refused(&folder, service, &config), &[&[name]]);
        folder.secret(name, "this is no key");
        let lines = refused(&folder, service, &config);
        assert_said(&lines, &[&[name]]);
        assert!(!lines[0].contains("this is no key"), "{lines:?}");
        fs::write(&path, content).unwrap();
        if secret {
            for mode in [0o604, 0o644, 0o666] {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                assert_said(&refused(&folder, service, &config), &[&[name, "chmod 600"]]);
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

#[test]
fn f38_what_would_let_cookies_travel_in_clear() {
    let folder = Folder::new();
    let sound = folder.sound("gateway");
    let url = |url: &str| sound.replace("https://app.example", url);
    for config in [
        url("http://app.example"),
        url("http://192.0.2.1:8080"),
        url("http://localhost.evil.example"),
        url("http://127.0.0.1.evil.example"),
        url("http://127.0.0.1:8080").replace(SERVER, "listen = \"0.0.0.0:0\"\n"),
        url("http://[::1]:8080").replace(SERVER, "listen = \"[::]:0\"\n"),
    ] {
        assert_said(&refused(&folder, "gateway", &config), &[&["public_url", "https"]]);
    }
    // There is no switch that would turn it off, under any name that one might look for.
    for (table, key) in
        [("cookies", "secure = false"), ("own", "secure = false"), ("own", "http_only = false")]
    {
        let lines = refused(&folder, "gateway", &format!("{sound}[{table}]\n{key}\n"));
        assert_said(&lines, &[&[table]]);
    }
    for (key, value) in [
        ("origins", "[\"*\"]"),
        ("origins", "[\"null\"]"),
        ("origins", "[\"https://*.example\"]"),
        ("trusted_proxies", "[\"everybody\"]"),
        ("public_url", "\"ftp://app.example\""),
        ("public_url", "\"https://app.example/base\""),
        ("public_url", "\"app.example\""),
    ] {
        let sound = if key == "public_url" {
            sound.replace("public_url = \"https://app.example\"\n", "")
        } else {
            sound.clone()
        };
        assert_said(&refused(&folder, "gateway", &format!("{key} = {value}\n{sound}")), &[&[key]]);
    }
    let leeway = sound.replace("[token]\n", "[token]\nleeway = \"61s\"\n");
    assert_said(&refused(&folder, "gateway", &leeway), &[&["token.leeway", "60s"]]);
}

#[test]
fn f38_services_that_anybody_could_call() {
    let folder = Folder::new();
    for service in ["auth", "session", "policy"] {
        let sound = folder.sound(service);
        let lines = refused(&folder, service, &sound.replace("[tls]\n", "[tls]\nmode = \"none\"\n"));
        assert_said(&lines, &[&["tls.mode"]]);
        let without = sound.split("[tls]").next().unwrap().to_owned()
            + "[store]"
            + sound.split("[store]").nth(1).unwrap();
        let lines = refused(&folder, service, &without);
        for key in ["tls.certificate", "tls.key", "tls.authority", "tls.domain"] {
            assert_eq!(lines.iter().filter(|line| line.contains(key)).count(), 1, "{key}: {lines:#?}");
        }
    }
}

#[test]
fn f38_routes_that_contradict_each_other_or_nothing() {
    let folder = Folder::new();
    let config = folder.sound("gateway");
    let upstream = "[upstream.a]\nendpoints = [\"http://127.0.0.1:1\"]\n";
    let route = |path: &str, more: &str| {
        format!("[[route]]\npath = \"{path}\"\naccept = []\nupstream = \"a\"\n{more}\n")
    };
    let two = |one: &str, other: &str| format!("{upstream}{}{}", route(one, ""), route(other, ""));
    let one = |path: &str, more: &str| format!("{upstream}{}", route(path, more));
    for (routes, parts) in [
        (two("/a/{x}", "/a/{y}"), &["/a/{x}", "/a/{y}"][..]),
        (two("/a/*", "/a/*"), &["/a/*"]),
        (one("/v1/login", ""), &["/v1"]),
        (one("/.well-known/*", ""), &["/.well-known"]),
        (one("/a", "require = { role = \"r\" }"), &["/a", "accept"]),
        (one("/a", "requires = { role = \"r\" }"), &["requires"]),
        (
            one("/a/{x}", "require = { permission = \"p:q\", resource = \"d/{y}\" }")
                .replace("[]", "[\"token\"]"),
            &["{y}"],
        ),
        (one("/a//b", ""), &["/a//b"]),
        (one("/a", "").replace("upstream = \"a\"", "upstream = \"b\""), &["b"]),
        (one("/a", "").replace("accept = []\n", ""), &["accept"]),
        (one("/a", "").replace("[]", "[\"password\"]"), &["password"]),
        (one("/a", "").replace("http://127.0.0.1:1", "not a url"), &["not a url"]),
        ("[[route]".to_owned(), &["routes.toml"]),
    ] {
        folder.secret("routes.toml", &routes);
        let lines = refused(&folder, "gateway", &config);
        assert!(!lines.is_empty() && lines[0].contains("routes.toml"), "{lines:#?}");
        for part in parts {
            assert!(lines.iter().any(|line| line.contains(part)), "{part} in {lines:#?}\n{routes}");
        }
    }
    fs::remove_file(folder.path("routes.toml")).unwrap();
    assert_said(&refused(&folder, "gateway", &config), &[&["routes.toml"]]);
}
