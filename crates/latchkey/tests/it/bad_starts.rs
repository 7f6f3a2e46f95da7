//! Starts that must fail: each says what is wrong in words a user can act on, and leaves nothing half-started.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::stack::{Builder, Stack, program, program_up, text};

const ANY_PORT: [&str; 2] = ["--port", "0"];

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    Builder::new().fail(&["--port", &port]).await.assert_clean(&["port in use", &port]);
}

#[tokio::test]
async fn the_internal_listeners_port_in_use_is_named() {
    // Two neighbouring ports, the first free and the second taken.
    let (port, _taken) = (20_000..30_000)
        .find_map(|port| {
            let _free = TcpListener::bind(("127.0.0.1", port)).ok()?;
            Some((port, TcpListener::bind(("127.0.0.1", port + 1)).ok()?))
        })
        .unwrap();
    let failed = Builder::new().fail(&["--port", &port.to_string()]).await;
    failed.assert_clean(&["port in use", &(port + 1).to_string(), "internal"]);
}

#[tokio::test]
async fn a_corrupt_database_is_named_and_kept() {
    let builder = Builder::new();
    let data = builder.state_dir().join("data");
    fs::create_dir_all(&data).unwrap();
    let rubbish = "this is no database, but it is somebody's only copy of something\n".repeat(100);
    fs::write(data.join("policy.sqlite"), &rubbish).unwrap();
    let failed = builder.fail(&ANY_PORT).await;
    failed.assert_clean(&["policy-0 did not start", "policy.sqlite"]);
    assert_eq!(fs::read_to_string(failed.state_dir.join("data/policy.sqlite")).unwrap(), rubbish);
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_made_is_named() {
    // Below a file: a mode would not stop root.
    let builder = Builder::new().state_dir_at("file/state");
    fs::write(builder.folder().join("file"), "").unwrap();
    let failed = builder.fail(&ANY_PORT).await;
    failed.assert_clean(&["file/state", "cannot be created"]);
}

/// Somebody whom a folder's mode stops. Root is stopped by none, so then it is somebody else who owns the folder and starts.
fn start_as_its_unprivileged_owner(readable: &Path, state_dir: &Path) -> Output {
    const NOBODY: u32 = 65_534;
    let program = readable.join("latchkey");
    // The build's own folder may be closed to others.
    fs::copy(env!("CARGO_BIN_EXE_latchkey"), &program).unwrap();
    let mut command = Command::new(&program);
    command.args(["up", "--port", "0", "--state-dir"]).arg(state_dir).env("LATCHKEY_TEST_FOLDER", readable);
    if rustix::process::geteuid().is_root() {
        for folder in [state_dir.to_owned(), state_dir.join("data"), state_dir.join("logs")] {
            if folder.exists() {
                chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        fs::set_permissions(readable, Permissions::from_mode(0o755)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().unwrap()
}

#[test]
fn folders_without_write_permission_are_named_before_anything_starts() {
    for closed in [&[""][..], &["data"], &["logs"], &["data", "logs"]] {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        for name in closed {
            let path = state_dir.join(name);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o500)).unwrap();
        }
        let output = start_as_its_unprivileged_owner(folder.path(), &state_dir);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{closed:?}: {said}");
        let expected: String = closed
            .iter()
            .map(|name| {
                let path = if name.is_empty() { state_dir.clone() } else { state_dir.join(name) };
                format!(
                    "the directory {} cannot be written: Permission denied (os error 13)\n",
                    path.display()
                )
            })
            .collect();
        assert_eq!(said, expected, "{closed:?}");
        assert!(
            !state_dir.join("config/auth-0.toml").exists() && !state_dir.join("secrets/master.key").exists()
        );
        assert_eq!(crate::stack::processes_of(folder.path()), Vec::<String>::new());
        // So that it can be removed again.
        for name in closed {
            fs::set_permissions(state_dir.join(name), Permissions::from_mode(0o700)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_read_only_file_system_is_named() {
    // A directory in which not even root can make anything.
    let failed = Builder::new().state_dir_at("/proc/sys").fail(&ANY_PORT).await;
    failed.assert_clean(&["/proc/sys"]);
}

#[tokio::test]
async fn a_state_directory_that_others_can_write_to_is_named_with_what_helps() {
    let builder = Builder::new();
    let folder = builder.state_dir().to_owned();
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
    let failed = builder.fail(&ANY_PORT).await;
    failed.assert_clean(&["others may write", &format!("chmod 700 {}", folder.display())]);
}

#[tokio::test]
async fn an_invalid_route_file_is_named_with_what_is_wrong() {
    let failed = Builder::new().routes("[[route]]\npath = 7\n").fail(&ANY_PORT).await;
    failed.assert_clean(&["gateway-0 did not start", "routes.toml", "path"]);
}

#[tokio::test]
async fn two_overlapping_routes_are_both_named() {
    let routes = r#"
        [upstream.echo]
        endpoints = ["http://127.0.0.1:4001"]
        [[route]]
        path = "/things/{id}"
        accept = []
        upstream = "echo"
        [[route]]
        path = "/things/{name}"
        accept = []
        upstream = "echo"
    "#;
    let failed = Builder::new().routes(routes).fail(&ANY_PORT).await;
    failed.assert_clean(&["gateway-0 did not start", "/things/{id}", "/things/{name}"]);
}

#[tokio::test]
async fn a_route_on_the_gateways_own_paths_is_refused() {
    let routes = r#"
        [upstream.echo]
        endpoints = ["http://127.0.0.1:4001"]
        [[route]]
        path = "/v1/*"
        accept = []
        upstream = "echo"
    "#;
    Builder::new().routes(routes).fail(&ANY_PORT).await.assert_clean(&["gateway-0 did not start", "/v1"]);
}

#[tokio::test]
async fn every_unknown_key_and_bad_value_is_reported_at_once() {
    let settings =
        "unheard_of = 1\n[server]\nlisten = \"nowhere\"\n[log]\nlevle = \"info\"\nformat = \"prose\"\n";
    let failed = Builder::new().settings("session", settings).fail(&ANY_PORT).await;
    let all = [
        "session-0 did not start",
        "unheard_of",
        "server.listen",
        "log.levle",
        "log.format",
        "session-0.toml",
    ];
    failed.assert_clean(&all);
}

#[tokio::test]
async fn a_bad_variable_is_named() {
    let failed = Builder::new().variable("LATCHKEY__LOG__LEVLE", "info").fail(&ANY_PORT).await;
    failed.assert_clean(&["LATCHKEY__LOG__LEVLE"]);
}

#[tokio::test]
async fn settings_that_are_no_toml_are_named() {
    Builder::new().settings("auth", "[server").fail(&ANY_PORT).await.assert_clean(&["settings/auth.toml"]);
}

#[tokio::test]
async fn a_second_start_on_a_running_stack_is_refused_and_harms_nothing() {
    let stack = Stack::start().await;
    let second = program_up().args(["--port", "0", "--state-dir"]).arg(stack.state_dir()).output().unwrap();
    assert!(!second.status.success());
    let said = text(&second.stderr);
    assert!(said.contains("already runs") && said.contains(&stack.up_pid().to_string()), "{said}");
    assert!(stack.state_dir().join("stack.json").exists());
    assert_eq!(stack.get("/app/public/x").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_was_wrong_can_be_put_right_without_starting_over() {
    let builder = Builder::new().settings("gateway", "nonsense = true\n");
    let state_dir = builder.state_dir().to_owned();
    let failed = builder.fail(&ANY_PORT).await;
    failed.assert_clean(&["nonsense"]);
    fs::remove_file(state_dir.join("settings/gateway.toml")).unwrap();
    let mut up = program_up().args(["--port", "0", "--state-dir"]).arg(&state_dir).spawn().unwrap();
    crate::stack::eventually("it starts", async || state_dir.join("stack.json").exists().then_some(())).await;
    rustix::process::kill_process(rustix::process::Pid::from_child(&up), rustix::process::Signal::TERM)
        .unwrap();
    assert!(up.wait().unwrap().success());
}

#[test]
fn checking_a_configuration_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = folder.path().join("policy.toml");
    let address = taken.local_addr().unwrap();
    let database = folder.path().join("policy.sqlite");
    let written =
        program().args(["certificates", "dev"]).arg(folder.path().join("certificates")).output().unwrap();
    assert!(written.status.success(), "{}", text(&written.stderr));
    let tls = ["certificate = \"policy.crt\"", "key = \"policy.key\"", "authority = \"ca.crt\""]
        .map(|line| line.replace("= \"", &format!("= \"{}/certificates/", folder.path().display())))
        .join("\n");
    fs::write(
        &path,
        format!(
            "[server]\nlisten = \"{address}\"\n[tls]\ndomain = \"latchkey.local\"\n{tls}\n[store]\nurl = \"sqlite:{}\"\n",
            database.display()
        ),
    )
    .unwrap();
    let output =
        program().args(["serve", "policy", "--check-config", "--config"]).arg(&path).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.contains(&address.to_string()), "{said}");
    assert!(!database.exists());
}

#[tokio::test]
async fn replicas_that_cannot_be_are_named() {
    for (replicas, said) in
        [("web=2", "\"web\" is none of auth"), ("0", "\"0\" is no number"), ("auth=2,3", "list")]
    {
        Builder::new()
            .fail(&["--port", "0", "--replicas", replicas])
            .await
            .assert_clean(&["--replicas", said]);
    }
    let failed = Builder::new().fail(&["--port", "0", "--replicas", "2", "--sessions", "memory"]).await;
    failed.assert_clean(&["--sessions memory", "one session-service"]);
}

#[tokio::test]
async fn stores_that_cannot_be_are_named() {
    let cases = [
        ("--database", "mysql://localhost/x", "must be sqlite, or postgres://"),
        ("--database", "postgres://localhost", "names no role"),
        ("--database", "postgres://a@db.example.com/d", "sslmode=verify-full"),
        ("--sessions", "somewhere", "must be sqlite, memory"),
        ("--sessions", "mongodb://x/y", "redis://HOST:PORT/DB"),
    ];
    for (option, url, said) in cases {
        let failed = Builder::new().fail(&["--port", "0", option, url]).await;
        failed.assert_clean(&[&format!("{option} {url}: "), said]);
        // One line, and nothing was started.
        assert_eq!(failed.stderr.lines().count(), 1, "{}", failed.stderr);
        assert!(!failed.state_dir.join("config/auth-0.toml").exists(), "{url}");
    }
    let port = servers::free_port();
    let url = format!("postgres://latchkey:very-secret@127.0.0.1:{port}/latchkey");
    let failed = Builder::new().fail(&["--port", "0", "--database", &url]).await;
    failed.assert_clean(&["auth cannot bring its schema up to date", &port.to_string()]);
    assert!(!failed.stderr.contains("very-secret"), "{}", failed.stderr);
}

#[tokio::test]
async fn a_redis_that_is_away_is_named_while_it_is_waited_for() {
    let port = servers::free_port();
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("up.err");
    let mut up = program_up()
        .args(["--port", "0", "--sessions", &format!("redis://127.0.0.1:{port}"), "--state-dir"])
        .arg(folder.path().join("state"))
        .stderr(fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let expected =
        format!("session-0 is not ready yet: store: waiting for the Redis at 127.0.0.1:{port}, database 0: ");
    crate::stack::eventually("it is told", async || {
        fs::read_to_string(&said).unwrap().contains(&expected).then_some(())
    })
    .await;
    rustix::process::kill_process(rustix::process::Pid::from_child(&up), rustix::process::Signal::TERM)
        .unwrap();
    assert!(!up.wait().unwrap().success());
    let said = fs::read_to_string(&said).unwrap();
    assert_eq!(said.matches(&expected).count(), 1, "{said}");
    assert!(said.ends_with("stopped before everything was ready\n"), "{said}");
    assert!(!said.contains("did not stop well"), "{said}");
}

#[tokio::test]
async fn of_many_that_were_starting_only_the_one_that_could_not_is_spoken_of() {
    let failed = Builder::new().settings("session", "unheard_of = 1\n").fail(&ANY_PORT).await;
    failed.assert_clean(&["session-0 did not start"]);
    assert!(!failed.stderr.contains("did not stop well"), "{}", failed.stderr);
}

#[test]
fn the_help_names_every_store_that_sessions_can_be_in() {
    let help = text(&program().args(["up", "--help"]).output().unwrap().stdout);
    let (_, of_sessions) = help.split_once("--sessions").unwrap();
    for store in ["sqlite", "memory", "postgres://ROLE@HOST/DATABASE", "redis://HOST:PORT/DB", "rediss://"] {
        assert!(of_sessions.contains(store), "{store} is not in {help}");
    }
}
