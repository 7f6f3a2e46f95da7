//! What a start that cannot succeed says.

use std::process::Command;

fn started(settings: &[(&str, &str)]) -> (bool, String) {
    let authority = crate::authority::Authority::new();
    let tls = authority.tls("session");
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-service"));
    command
        .env("LATCHKEY__ISSUER", "https://login.example")
        .env("LATCHKEY__SERVER__LISTEN", "127.0.0.1:0")
        .env("LATCHKEY__OPERATIONS__LISTEN", "127.0.0.1:0")
        .env("LATCHKEY__TLS__CERTIFICATE", tls.certificate)
        .env("LATCHKEY__TLS__KEY", tls.key)
        .env("LATCHKEY__TLS__AUTHORITY", tls.authority)
        .env("LATCHKEY__TLS__DOMAIN", tls.domain)
        .args(settings.iter().any(|(name, _)| *name == "check").then_some("--check-config"));
    for (name, value) in settings.iter().filter(|(name, _)| *name != "check") {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    let said = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn a_store_that_cannot_be_opened_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.sqlite");
    std::fs::write(&garbage, [0x5a; 8192]).unwrap();
    let missing = folder.path().join("missing/session.sqlite");
    for (path, says) in [(garbage, "is not an intact SQLite file"), (missing, "check that its folder exists")]
    {
        let (success, said) = started(&[("LATCHKEY__STORE__URL", &format!("sqlite:{}", path.display()))]);
        assert!(!success);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(says) && said.contains(&path.display().to_string()), "{said}");
    }
}

#[test]
fn a_port_in_use_is_told_before_the_database_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("session.sqlite");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (success, said) = started(&[
        ("LATCHKEY__SERVER__LISTEN", &taken.local_addr().unwrap().to_string()),
        ("LATCHKEY__STORE__URL", &format!("sqlite:{}", database.display())),
    ]);
    assert!(!success);
    assert!(said.contains("server.listen") && said.contains("in use"), "{said}");
    assert!(!database.exists());
}

#[test]
fn everything_wrong_with_the_configuration_is_told_at_once() {
    let (success, said) = started(&[
        ("LATCHKEY__SESSIONS__LIMIT", "0"),
        ("LATCHKEY__SESSIONS__IDLE", "30m"),
        ("LATCHKEY__STORE__URL", "redis://:password@localhost"),
    ]);
    assert!(!success);
    for part in ["sessions.limit", "sessions.idle", "store.url", "store.password_file"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains(":password@"), "{said}");
}

#[test]
fn checking_the_configuration_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("session.sqlite");
    let url = format!("sqlite:{}", database.display());
    let (success, said) = started(&[("check", ""), ("LATCHKEY__STORE__URL", &url)]);
    assert!(success, "{said}");
    assert!(said.contains("would listen on 127.0.0.1:0"), "{said}");
    assert!(!database.exists());
}

#[test]
fn f11_a_redis_that_would_evict_sessions_is_one_clear_line() {
    let server = servers::Redis::start_with(&["maxmemory-policy volatile-lru"]);
    let (success, said) = started(&[("LATCHKEY__STORE__URL", &server.url())]);
    assert!(!success);
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["maxmemory-policy volatile-lru", "noeviction", &server.port().to_string()] {
        assert!(said.contains(part), "{said}");
    }
}
