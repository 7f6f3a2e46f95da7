//! The command line as an operator's shell and scripts use it, against a running stack.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::stack::{PASSWORD, Stack, program, text};

fn said(output: &std::process::Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn users_are_added_shown_disabled_and_removed() {
    let stack = Stack::start().await;
    let file = stack.folder().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    stack.cli(&["user", "add", "alice", "--password-file", file.to_str().unwrap()]);
    stack.token("alice", PASSWORD).await;
    let shown = stack.cli_json(&["user", "show", "alice"]);
    assert_eq!(shown["username"], "alice");
    assert_eq!(shown["status"], "active");
    let listed = stack.cli_json(&["user", "list"]);
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap()).collect();
    assert!(names.contains(&"admin") && names.contains(&"alice"), "{names:?}");

    stack.cli(&["user", "set", "alice", "--disable"]);
    let login = json!({ "identifier": "alice", "password": PASSWORD, "mode": "token" });
    assert_eq!(stack.post("/v1/login", &login).send().await.unwrap().status(), 401);
    stack.cli(&["user", "set", "alice", "--enable"]);
    stack.token("alice", PASSWORD).await;

    let generated = stack.cli_json(&["user", "add", "bob", "--generate"]);
    stack.token("bob", generated["password"].as_str().unwrap()).await;
    let again = stack.latchkey(&["user", "add", "bob", "--generate"]);
    assert!(!again.status.success() && said(&again).contains("username_taken"), "{}", said(&again));

    stack.cli(&["user", "remove", "bob"]);
    let gone = stack.latchkey(&["user", "show", "bob"]);
    assert!(!gone.status.success() && said(&gone).contains("user_not_found"), "{}", said(&gone));
}

#[tokio::test]
async fn a_password_can_come_from_standard_input_and_be_replaced() {
    let stack = Stack::start().await;
    let typed = |arguments: &[&str], password: &str| {
        let mut child = program()
            .arg("--state-dir")
            .arg(stack.state_dir())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{password}\n").as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };
    typed(&["user", "add", "alice"], PASSWORD);
    stack.token("alice", PASSWORD).await;
    typed(&["user", "set", "alice", "--password-file", "-"], "another rather long password");
    stack.token("alice", "another rather long password").await;
}

#[tokio::test]
async fn roles_and_grants_as_the_readme_shows_them() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let denied = stack.latchkey(&["check", "alice", "document:read", "document/42"]);
    assert_eq!((denied.status.code(), text(&denied.stdout).trim()), (Some(3), "deny"));

    stack.cli(&["role", "add", "editor", "document:read", "document:write"]);
    stack.cli(&["grant", "add", "alice", "editor", "--within", "document/42"]);
    assert_eq!(stack.cli(&["check", "alice", "document:read", "document/42"]).trim(), "allow");
    // What was not asked, or could not be, is no deny.
    assert_eq!(stack.latchkey(&["check", "alice"]).status.code(), Some(2));
    assert_eq!(stack.latchkey(&["check", "nobody", "document:read"]).status.code(), Some(1));
    assert_eq!(stack.latchkey(&["check", "alice", "document:read", "document/43"]).status.code(), Some(3));
    assert_eq!(stack.latchkey(&["check", "alice", "document:read"]).status.code(), Some(3));
    stack.cli(&["grant", "add", "alice", "editor"]);
    assert_eq!(stack.cli_json(&["check", "alice", "document:write", "document/43"])["allowed"], true);

    let grants = stack.cli_json(&["grant", "list", "alice"]);
    assert_eq!(grants.as_array().unwrap().len(), 2, "{grants}");
    stack.cli(&["grant", "remove", "alice", "editor"]);
    let left = stack.cli_json(&["grant", "list", "alice"]);
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left[0]["within"], json!({ "kind": "document", "id": "42" }), "the other one is left");
    stack.cli(&["grant", "remove", left[0]["id"].as_str().unwrap()]);
    assert_eq!(stack.latchkey(&["check", "alice", "document:read", "document/42"]).status.code(), Some(3));

    assert_eq!(
        stack.cli_json(&["role", "show", "editor"])["permissions"],
        json!(["document:read", "document:write"])
    );
    stack.cli(&["role", "set", "editor", "document:read"]);
    assert_eq!(stack.cli_json(&["role", "show", "editor"])["permissions"], json!(["document:read"]));
    stack.cli(&["role", "remove", "editor"]);
    let built_in = stack.latchkey(&["role", "remove", "latchkey-admin"]);
    assert!(!built_in.status.success() && said(&built_in).contains("role_built_in"), "{}", said(&built_in));
}

#[tokio::test]
async fn groups_carry_grants_to_their_members() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    stack.cli(&["role", "add", "reader", "document:read"]);
    stack.cli(&["group", "add", "staff"]);
    stack.cli(&["grant", "add", "staff", "reader", "--group"]);
    assert_eq!(stack.latchkey(&["check", "alice", "document:read"]).status.code(), Some(3));
    stack.cli(&["group", "set", "staff", "--add", "alice"]);
    stack.cli(&["check", "alice", "document:read"]);
    let members = stack.cli_json(&["group", "show", "staff"])["members"].clone();
    assert_eq!(members.as_array().unwrap().len(), 1, "{members}");
    stack.cli(&["group", "set", "staff", "--remove", "alice"]);
    assert_eq!(stack.latchkey(&["check", "alice", "document:read"]).status.code(), Some(3));
    stack.cli(&["group", "remove", "staff"]);
    assert_eq!(stack.cli_json(&["group", "list"]), json!([]));
}

#[tokio::test]
async fn a_client_is_told_its_secret_once_and_uses_it() {
    let stack = Stack::start().await;
    let made = stack.cli_json(&["client", "add", "app", "--audience", "reports", "--scope", "read"]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let ask = async |secret: &str| {
        let form = [("grant_type", "client_credentials")];
        let request = stack.request(reqwest::Method::POST, "/oauth2/token").form(&form);
        request.basic_auth(id, Some(secret)).send().await.unwrap()
    };
    assert_eq!(ask(secret).await.status(), 200);
    assert!(!stack.cli(&["client", "show", "app"]).contains(secret));
    assert!(!stack.cli_json(&["client", "list"]).to_string().contains(secret));

    let rotated = stack.cli_json(&["client", "set", "app", "--rotate-secret"]);
    assert_eq!(ask(secret).await.status(), 401, "the former secret is dead");
    let secret = rotated["client_secret"].as_str().unwrap();
    let issued: Value = ask(secret).await.json().await.unwrap();
    let is_active = async |token: &str| {
        let form = [("token", token)];
        let request = stack.request(reqwest::Method::POST, "/oauth2/introspect").form(&form);
        let answer: Value = request.basic_auth(id, Some(secret)).send().await.unwrap().json().await.unwrap();
        answer["active"].as_bool().unwrap()
    };
    let token = issued["access_token"].as_str().unwrap();
    assert!(is_active(token).await);
    stack.cli(&["client", "revoke", "app"]);
    assert!(!is_active(token).await);
    let issued: Value = ask(secret).await.json().await.unwrap();
    assert!(is_active(issued["access_token"].as_str().unwrap()).await, "the secret is as good as before");

    stack.cli(&["role", "add", "reader", "document:read"]);
    stack.cli(&["grant", "add", "app", "reader", "--client"]);
    stack.cli(&["check", "app", "document:read", "--client"]);
    stack.cli(&["client", "remove", "app"]);
    assert_eq!(stack.latchkey(&["client", "show", "app"]).status.code(), Some(1));
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let (one, other) = (stack.session("alice", PASSWORD).await, stack.session("alice", PASSWORD).await);
    let listed = stack.cli_json(&["session", "list", "alice"]);
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    for browser in [&one, &other] {
        let secret = browser.cookie.split_once('=').unwrap().1;
        assert!(!listed.to_string().contains(secret));
    }
    assert_eq!(stack.cli_json(&["session", "show", &one.session_id])["username"], "alice");
    stack.cli(&["session", "remove", &one.session_id]);
    let get = async |cookie: &str| {
        stack.get("/app/session/x").header("cookie", cookie).send().await.unwrap().status().as_u16()
    };
    assert_eq!((get(&one.cookie).await, get(&other.cookie).await), (401, 200));
    stack.cli(&["session", "remove", "--user", "alice"]);
    assert_eq!(get(&other.cookie).await, 401);
}

#[tokio::test]
async fn status_shows_every_process() {
    let stack = Stack::start().await;
    let status = stack.cli_json(&["status"]);
    let rows = status.as_array().unwrap();
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().all(|row| row["ready"] == true), "{status}");
    stack.kill("session-0");
    crate::stack::eventually("it is seen", async || {
        let output = stack.latchkey(&["--json", "status"]);
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
        let dead = rows.as_array().unwrap().iter().find(|row| row["process"] == "session-0").unwrap();
        (dead["ready"] == false && output.status.code() == Some(1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_administrators_token_is_kept_private_and_got_anew() {
    let stack = Stack::start().await;
    stack.cli(&["user", "list"]);
    let kept = stack.state_dir().join("admin-token.json");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    let first = fs::read_to_string(&kept).unwrap();
    stack.cli(&["user", "list"]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), first, "used again");
    // Spoiled, as if it had been voided meanwhile.
    let mut spoiled: Value = serde_json::from_str(&first).unwrap();
    spoiled["access_token"] = "nonsense".into();
    fs::write(&kept, spoiled.to_string()).unwrap();
    stack.cli(&["user", "list"]);
    assert_ne!(fs::read_to_string(&kept).unwrap(), spoiled.to_string());
}

#[tokio::test]
async fn after_the_administrators_password_was_changed_login_is_named_and_works() {
    let stack = Stack::start().await;
    let new = "a password of the administrator's own";
    let body = json!({
        "identifier": "admin",
        "current_password": stack.admin_password(),
        "new_password": new,
        "mode": "token",
    });
    let changed = stack.post("/v1/password", &body).send().await.unwrap();
    assert!(changed.status().is_success(), "{}", changed.status());
    let _ = fs::remove_file(stack.state_dir().join("admin-token.json"));
    let refused = stack.latchkey(&["user", "list"]);
    assert!(!refused.status.success() && said(&refused).contains("latchkey login"), "{}", said(&refused));

    let home = stack.folder().join("home");
    fs::create_dir(&home).unwrap();
    let run = |arguments: &[&str]| {
        let mut child = program()
            .args(["--server", stack.internal()])
            .args(arguments)
            .env("HOME", &home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{new}\n").as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let before = run(&["user", "list"]);
    assert!(said(&before).contains("latchkey login"), "{}", said(&before));
    let login = run(&["login", "--public", stack.url()]);
    assert!(login.status.success(), "{}", said(&login));
    let kept = home.join(".config/latchkey/logins.json");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    let listed = run(&["user", "list"]);
    assert!(listed.status.success() && said(&listed).contains("admin"), "{}", said(&listed));

    // Expired: the refresh token gets another.
    let mut logins: Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    logins["servers"][stack.internal()]["expires_at"] = 1.into();
    fs::write(&kept, logins.to_string()).unwrap();
    let listed = run(&["user", "list"]);
    assert!(listed.status.success(), "{}", said(&listed));
}

#[tokio::test]
async fn only_an_administrator_administers() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let token = stack.token("alice", PASSWORD).await.access_token;
    let url = format!("{}/v1/admin/users", stack.internal());
    let client = crate::stack::client();
    assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
    assert_eq!(client.get(&url).bearer_auth(&token).send().await.unwrap().status(), 403);
    // And the public listener has none of it.
    let admin = stack.token("admin", &stack.admin_password()).await.access_token;
    assert_eq!(stack.get("/v1/admin/users").bearer_auth(&admin).send().await.unwrap().status(), 404);
    assert_eq!(client.get(&url).bearer_auth(&admin).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_token_is_inspected_with_the_recipients_key() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let token = stack.token("alice", PASSWORD).await.access_token;
    let closed = stack.cli_json(&["token", "inspect", &token]);
    assert_eq!(closed["header"]["alg"], "ECDH-ES");
    assert!(!closed.to_string().contains("usr_"));
    let key = stack.state_dir().join("secrets/gateway-token-key.jwk.json");
    let open = stack.cli_json(&["token", "inspect", &token, "--key", key.to_str().unwrap()]);
    assert_eq!(open["inside"]["claims"]["name"], "alice", "{open}");
    assert_eq!(open["inside"]["header"]["typ"], "at+jwt");
}

#[test]
fn configurations_are_printed_and_checked() {
    for service in ["auth", "session", "policy", "gateway"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bad.toml");
        fs::write(&file, "no_such_key = 1\n[log]\nlevel = 7\n").unwrap();
        let checked = program().args(["config", "check", service, "--config"]).arg(&file).output().unwrap();
        assert!(!checked.status.success());
        let said = said(&checked);
        assert!(said.contains("no_such_key") && said.contains("log.level"), "{service}: {said}");
    }
}

#[tokio::test]
async fn the_effective_configuration_is_printed_with_its_leeway() {
    let stack = Stack::start().await;
    for (service, shown) in
        [("gateway", "leeway"), ("session", "leeway"), ("auth", "issuer"), ("policy", "sqlite:")]
    {
        let file = stack.state_dir().join(format!("config/{service}-0.toml"));
        let printed = stack.cli(&["config", "print", service, "--config", file.to_str().unwrap()]);
        let table: toml::Table = printed.parse().unwrap_or_else(|error| panic!("{error}: {printed}"));
        assert!(table.contains_key("tls"));
        assert!(printed.contains(shown), "{service}: {printed}");
        stack.cli(&["config", "check", service, "--config", file.to_str().unwrap()]);
    }
}

#[test]
fn without_a_stack_the_way_to_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = program()
        .args(["user", "list", "--state-dir", "nowhere"])
        .env("HOME", folder.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = said(&output);
    assert!(said.contains("latchkey up") && said.contains("latchkey login"), "{said}");
}

#[tokio::test]
async fn without_a_terminal_the_way_to_give_a_password_is_named() {
    let stack = Stack::start().await;
    for arguments in [&["user", "add", "bob"][..], &["login", "--server", stack.internal()]] {
        // Nothing to read, and nobody to ask.
        let refused = stack.latchkey(arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(said(&refused).contains("--password-file"), "{}", said(&refused));
    }
    assert_eq!(stack.latchkey(&["user", "show", "bob"]).status.code(), Some(1));
}

#[tokio::test]
async fn a_stack_that_was_killed_is_said_not_to_be_running() {
    let mut stack = Stack::start().await;
    stack.cli(&["user", "list"]);
    let gateway = stack.pid("gateway-0");
    let up = rustix::process::Pid::from_raw(stack.up_pid()).unwrap();
    rustix::process::kill_process(up, rustix::process::Signal::KILL).unwrap();
    stack.ended().await;
    crate::stack::eventually("its gateway is gone", async || (!crate::stack::alive(gateway)).then_some(()))
        .await;
    assert!(stack.state_dir().join("stack.json").exists(), "nobody took it along");
    for arguments in [&["user", "list"][..], &["status"]] {
        crate::stack::eventually("everything of it is gone", async || {
            let output = stack.latchkey(arguments);
            assert_eq!(output.status.code(), Some(1));
            (said(&output).contains("is not running") && said(&output).contains("latchkey up")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn grants_are_listed_with_the_names_that_people_know() {
    let stack = Stack::start().await;
    stack.cli(&["client", "add", "shop", "--audience", "orders"]);
    stack.cli(&["role", "add", "reader", "document:read"]);
    stack.cli(&["group", "add", "staff"]);
    stack.cli(&["grant", "add", "shop", "reader", "--client"]);
    stack.cli(&["grant", "add", "staff", "reader", "--group"]);
    let listed = stack.cli(&["grant", "list"]);
    let row = |subject: &str| {
        let line = listed.lines().find(|line| line.contains(subject));
        line.unwrap_or_else(|| panic!("{subject}: {listed}")).split_whitespace().map(str::to_owned).collect()
    };
    let user: Vec<String> = row("user/usr_");
    assert_eq!(user[2..], ["admin", "latchkey-admin", "-"]);
    let client: Vec<String> = row("client/cli_");
    assert_eq!(client[2..], ["shop", "reader", "-"]);
    let group: Vec<String> = row("group/staff");
    assert_eq!(group[2..], ["-", "reader", "-"]);
    assert!(stack.cli(&["grant", "show", &user[0]]).contains("admin"));
    // Programs get what the API answers.
    assert!(stack.cli_json(&["grant", "list"])[0].get("name").is_none());
}
