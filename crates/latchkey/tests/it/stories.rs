//! What a user does on the first day: start, log in both ways, call, be refused, stop, start again.

use std::process::{Command, Stdio};

use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::stack::{Builder, PASSWORD, Stack, alive, eventually, processes_of, program_up, text};
use crate::taken_back::ended;

#[tokio::test]
async fn register_log_in_by_token_and_call() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let tokens = stack.token("alice", PASSWORD).await;
    assert_eq!(tokens.token_type, "Bearer");
    assert_eq!(tokens.expires_in, 300);
    assert!(!tokens.refresh_token.is_empty());

    let answer = stack.get("/app/token/hello?x=1").bearer_auth(&tokens.access_token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let echo: Value = answer.json().await.unwrap();
    assert_eq!(echo["method"], "GET");
    assert_eq!(echo["path"], "/app/token/hello");
    assert_eq!(echo["query"], "x=1");
    assert_eq!(echo["headers"]["x-latchkey-name"], json!(["alice"]));
    assert_eq!(echo["headers"]["x-latchkey-kind"], json!(["user"]));
    assert!(echo["headers"]["x-latchkey-subject"][0].as_str().unwrap().starts_with("usr_"));
    assert!(echo["headers"].get("authorization").is_none(), "the application never sees the token");
}

#[tokio::test]
async fn log_in_by_session_and_call() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let browser = stack.session("alice", PASSWORD).await;
    let answer = stack.get("/app/session/hello").header("cookie", &browser.cookie).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let echo: Value = answer.json().await.unwrap();
    assert_eq!(echo["headers"]["x-latchkey-name"], json!(["alice"]));
    assert_eq!(echo["headers"]["x-latchkey-session"], json!([browser.session_id]));
    assert!(echo["headers"].get("cookie").is_none(), "the application never sees our cookie");
    // The public id and the secret in the cookie are two things.
    assert!(!browser.cookie.contains(&browser.session_id));
    let attributes: Vec<String> = browser.set_cookie.split("; ").skip(1).map(str::to_lowercase).collect();
    for attribute in ["httponly", "samesite=lax", "path=/"] {
        assert!(attributes.iter().any(|it| it == attribute), "{attribute} is missing in {attributes:?}");
    }
    assert!(!attributes.iter().any(|it| it.starts_with("domain")));

    let logout = stack.request(Method::POST, "/v1/logout").header("cookie", &browser.cookie);
    let logout = logout.header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert!(logout.status().is_success(), "{}", logout.status());
    let after = stack.get("/app/session/hello").header("cookie", &browser.cookie).send().await.unwrap();
    assert_eq!(after.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_route_takes_what_it_says_and_nothing_else() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let token = stack.token("alice", PASSWORD).await.access_token;
    let cookie = stack.session("alice", PASSWORD).await.cookie;
    let hits = stack.upstream_hits().await;
    // Path, then what is answered without a credential, with a token, with a session.
    let table = [
        ("/app/public/x", 200, 200, 200),
        ("/app/token/x", 401, 200, 401),
        ("/app/session/x", 401, 401, 200),
        ("/app/any/x", 401, 200, 200),
        ("/app/admin/x", 401, 403, 403),
        ("/app/documents/42", 401, 403, 403),
        ("/nowhere", 404, 404, 404),
    ];
    let mut expected_hits = 0;
    for (path, nobody, by_token, by_session) in table {
        let requests = [
            (stack.get(path), nobody),
            (stack.get(path).bearer_auth(&token), by_token),
            (stack.get(path).header("cookie", &cookie), by_session),
        ];
        for (number, (request, expected)) in requests.into_iter().enumerate() {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), expected, "{path}, request {number}");
            assert!(answer.headers().contains_key("x-request-id"), "{path}, request {number}");
            expected_hits += u64::from(expected == 200);
            if expected >= 400 {
                assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
                let problem: Value = answer.json().await.unwrap();
                assert!(problem["code"].is_string() && problem["request_id"].is_string(), "{problem}");
            }
        }
    }
    assert_eq!(stack.upstream_hits().await - hits, expected_hits, "what was refused never got further");
}

#[tokio::test]
async fn roles_in_the_database_decide() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    stack.cli(&["role", "add", "app-admin", "app:administer"]);
    stack.cli(&["role", "add", "editor", "document:read", "document:write"]);
    stack.cli(&["role", "add", "reader", "document:read"]);
    stack.cli(&["grant", "add", "alice", "app-admin"]);
    stack.cli(&["grant", "add", "alice", "reader"]);
    stack.cli(&["grant", "add", "alice", "editor", "--within", "document/42"]);
    let token = stack.token("alice", PASSWORD).await.access_token;
    let cookie = stack.session("alice", PASSWORD).await.cookie;
    let table = [
        (Method::GET, "/app/admin/x", 200),
        (Method::GET, "/app/documents/42", 200),
        (Method::PUT, "/app/documents/42", 200),
        (Method::DELETE, "/app/documents/42", 200),
        (Method::GET, "/app/documents/43", 200),
        (Method::PUT, "/app/documents/43", 403),
    ];
    for (method, path, expected) in table {
        let by_token = stack.request(method.clone(), path).bearer_auth(&token).send().await.unwrap();
        assert_eq!(by_token.status().as_u16(), expected, "{method} {path} by token");
        let by_session = stack.request(method.clone(), path).header("cookie", &cookie);
        let by_session = by_session.header("sec-fetch-site", "same-origin").send().await.unwrap();
        assert_eq!(by_session.status().as_u16(), expected, "{method} {path} by session");
    }

    let me: Value = stack.get("/v1/me").bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    assert_eq!(me["roles"], json!(["app-admin", "reader"]), "{me}");
    assert_eq!(me["permissions"], json!(["app:administer", "document:read"]), "{me}");
}

/// Whatever the token says that was issued before.
#[tokio::test]
async fn a_role_given_or_taken_away_counts_at_once() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    stack.cli(&["role", "add", "app-admin", "app:administer"]);
    stack.cli(&["role", "add", "reader", "document:read"]);
    let early = stack.token("alice", PASSWORD).await.access_token;
    let cookie = stack.session("alice", PASSWORD).await.cookie;
    let status = async |path: &str, token: &str| {
        stack.get(path).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let by_session =
        async |path: &str| stack.get(path).header("cookie", &cookie).send().await.unwrap().status().as_u16();

    stack.cli(&["grant", "add", "alice", "app-admin"]);
    stack.cli(&["grant", "add", "alice", "reader"]);
    assert_eq!(status("/app/documents/1", &early).await, 200, "a permission holds at once");
    assert_eq!(status("/app/admin/x", &early).await, 200, "and a role");
    assert_eq!(by_session("/app/admin/x").await, 200, "a session's roles are asked for");
    let late = stack.token("alice", PASSWORD).await.access_token;
    assert_eq!(status("/app/admin/x", &late).await, 200);

    stack.cli(&["grant", "remove", "alice", "app-admin"]);
    stack.cli(&["grant", "remove", "alice", "reader"]);
    assert_eq!(status("/app/documents/1", &late).await, 403, "a permission is gone at once");
    for token in [&early, &late] {
        assert_eq!(status("/app/admin/x", token).await, 403, "and a role");
    }
    assert_eq!(by_session("/app/admin/x").await, 403);
}

#[tokio::test]
async fn the_three_printed_commands_work_as_pasted() {
    let stack = Builder::new().state_dir_at("my state's dir/état").start().await;
    let printed = stack.printed();
    let commands: Vec<(&str, &str)> = printed
        .lines()
        .zip(printed.lines().skip(1))
        .filter_map(|(above, line)| Some((above.strip_prefix("# ")?, line)))
        .collect();
    assert_eq!(commands.len(), 3, "{printed}");
    // Somewhere else, with nothing but curl and sed.
    let tools = stack.folder().join("tools");
    std::fs::create_dir(&tools).unwrap();
    for tool in ["curl", "sed"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap();
        std::os::unix::fs::symlink(text(&found.stdout).trim(), tools.join(tool)).unwrap();
    }
    let pasted = |command: &str| {
        let mut shell = Command::new("/bin/sh");
        let output = shell.args(["-c", command]).current_dir("/").env("PATH", &tools).output().unwrap();
        assert!(output.status.success(), "{command}\n{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{command}");
        text(&output.stdout)
    };
    for (number, path) in [(0, "/app/token/hello"), (1, "/app/session/hello")] {
        let answer = pasted(commands[number].1);
        let echo: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(echo["path"], path);
        assert_eq!(echo["headers"]["x-latchkey-name"], json!(["admin"]));
    }
    let refusal = pasted(commands[2].1);
    assert!(refusal.starts_with("HTTP/1.1 403"), "{refusal}");
    assert!(refusal.contains("role_required"), "{refusal}");
}

#[tokio::test]
async fn what_is_printed_says_where_everything_is() {
    let stack = Stack::start().await;
    let printed = stack.printed();
    let file = &stack.file;
    let mut places = vec![file.admin.password_file.to_str().unwrap().to_owned()];
    places.extend(file.gateways.iter().chain(&file.internal).chain(&file.echo).cloned());
    places.extend(file.services.values().flatten().cloned());
    places.extend(file.operations.values().cloned());
    for place in places {
        assert!(printed.contains(&place), "{place} is missing in:\n{printed}");
    }
    assert!(!printed.contains(&stack.admin_password()));
    assert_eq!(file.admin.username, "admin");
    let processes = ["auth-0", "echo-0", "echo-1", "gateway-0", "policy-0", "session-0"];
    assert_eq!(file.pids.keys().collect::<Vec<_>>(), processes);
    assert_eq!(file.operations.keys().collect::<Vec<_>>(), ["auth-0", "gateway-0", "policy-0", "session-0"]);
    assert_eq!(file.services.keys().collect::<Vec<_>>(), ["auth", "policy", "session"]);
}

#[tokio::test]
async fn a_second_start_finds_its_data_sessions_included() {
    let mut stack = Stack::start().await;
    stack.register("alice").await;
    stack.cli(&["role", "add", "reader", "document:read"]);
    stack.cli(&["grant", "add", "alice", "reader"]);
    let (token, ends) = (stack.token("alice", PASSWORD).await, stack.token("alice", PASSWORD).await);
    ended(stack.url(), &ends).await;
    let browser = stack.session("alice", PASSWORD).await;
    let (before, password) = (stack.file.clone(), stack.admin_password());

    stack.restart().await;
    assert_eq!(stack.file.gateways, before.gateways);
    assert_ne!(stack.file.pids, before.pids);
    assert_eq!(stack.admin_password(), password);
    let get = async |path: &str| {
        let answer = stack.get(path).header("cookie", &browser.cookie).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(get("/app/session/x").await, 200, "the session is there");
    assert_eq!(get("/app/documents/7").await, 200, "so is the grant");
    let by_token = stack.get("/app/token/x").bearer_auth(&token.access_token).send().await.unwrap();
    assert_eq!(by_token.status(), StatusCode::OK, "and the key that signed the token");
    let by_token = stack.get("/app/token/x").bearer_auth(&ends.access_token).send().await.unwrap();
    assert_eq!(by_token.status(), StatusCode::UNAUTHORIZED, "and what ended");
    stack.token("alice", PASSWORD).await;
    stack.token("admin", &password).await;
}

#[tokio::test]
async fn ctrl_c_stops_every_process_and_the_stack_file_goes() {
    let mut stack = Stack::start().await;
    let (pids, folder) = (stack.file.pids.clone(), stack.folder().to_owned());
    assert_eq!(processes_of(&folder).len(), 7, "up and its six");
    let status = stack.stop().await;
    assert!(status.success(), "{status}");
    assert!(!stack.state_dir().join("stack.json").exists());
    assert_eq!(processes_of(&folder), Vec::<String>::new());
    for process in ["auth-0", "gateway-0", "policy-0", "session-0"] {
        let log = stack.log(process);
        assert!(log.lines().last().unwrap().contains("\"stopped\""), "{process} was not cut off: {log}");
    }
    assert!(!stack.logs().contains("\"level\":\"ERROR\""), "{}", stack.logs());
    assert!(pids.values().all(|pid| !alive(*pid)), "{pids:?}");
}

#[tokio::test]
async fn a_terminal_that_closes_stops_every_process_in_good_order() {
    let mut stack = Stack::start().await;
    for _ in 0..2 {
        kill_process(Pid::from_raw(stack.up_pid()).unwrap(), Signal::HUP).unwrap();
    }
    let status = stack.ended().await;
    assert!(status.success(), "{status}");
    // auth and policy listen for watchers of their feed as well.
    for (process, ports) in [("auth-0", 2), ("gateway-0", 1), ("policy-0", 2), ("session-0", 1)] {
        let log = stack.log(process);
        assert!(log.lines().last().unwrap().contains("\"stopped\""), "{process} was not cut off: {log}");
        let times = log.lines().filter(|line| line.contains("\"message\":\"listening\"")).count();
        assert_eq!(times, ports, "{process}: {log}");
    }
    assert!(!stack.log("gateway-0").contains("Some("));
}

#[tokio::test]
async fn ctrl_c_lets_open_requests_finish() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut stack = Stack::start().await;
    let address = stack.url().strip_prefix("http://").unwrap().to_owned();
    let mut open = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /app/public/x HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\nConnection: close\r\n\r\na"
    );
    open.write_all(head.as_bytes()).await.unwrap();
    // The head is at the application, which waits for the rest: only then is it told to stop.
    eventually("the request is on its way", async || (stack.upstream_hits().await > 0).then_some(())).await;
    let (status, answer) = tokio::join!(stack.stop(), async {
        eventually("the gateway stops listening", async || {
            tokio::net::TcpStream::connect(&address).await.is_err().then_some(())
        })
        .await;
        open.write_all(b"b").await.unwrap();
        let mut answer = String::new();
        open.read_to_string(&mut answer).await.unwrap();
        answer
    });
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"body_bytes\":2"), "{answer}");
    assert!(status.success());
}

#[tokio::test]
async fn no_process_outlives_up_however_it_dies_and_the_next_start_is_like_any_other() {
    let mut stack = Stack::start().await;
    let (pids, up) = (stack.file.pids.clone(), stack.up_pid());
    kill_process(Pid::from_raw(up).unwrap(), Signal::KILL).unwrap();
    eventually("they are gone", async || pids.values().all(|pid| !alive(*pid)).then_some(())).await;
    // It could not take its stack file along, and the next one does not believe it.
    assert!(stack.state_dir().join("stack.json").exists());
    let stale = stack.file.pids.clone();
    stack.start_again().await;
    assert_ne!(stack.file.pids, stale);
    assert_eq!(stack.get("/app/public/x").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn stopped_while_starting_it_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("state");
    let mut up = program_up()
        .args(["--port", "0", "--state-dir"])
        .arg(&state_dir)
        .env("LATCHKEY_TEST_FOLDER", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The last of the six is about to start.
    let log = state_dir.join("logs/echo-1.log");
    eventually("it is starting", async || log.exists().then_some(())).await;
    kill_process(Pid::from_child(&up), Signal::INT).unwrap();
    eventually("it stops", async || up.try_wait().unwrap()).await;
    assert_eq!(processes_of(folder.path()), Vec::<String>::new());
    assert!(!state_dir.join("stack.json").exists());
}

#[tokio::test]
async fn the_port_is_the_one_asked_for_and_the_internal_listeners_the_next() {
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let port = (30_000..32_000).step_by(7).find(|port| free(*port) && free(port + 1)).unwrap();
    let stack = Builder::new().port(port).start().await;
    assert_eq!(stack.url(), format!("http://127.0.0.1:{port}"));
    assert_eq!(stack.internal(), format!("http://127.0.0.1:{}", port + 1));
    assert_eq!(stack.get("/app/public/x").send().await.unwrap().status(), StatusCode::OK);
    stack.cli(&["user", "list"]);
}
