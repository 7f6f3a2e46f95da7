//! The first administrator: how one is made, who is never taken for one, and what happens when there is none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::stack::{PASSWORD, Stack, program, text};

fn said(output: &std::process::Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// What `latchkey bootstrap` leaves beside the password file while it runs.
const NOTE: &str = "admin-password.unfinished";

#[tokio::test]
async fn bootstrap_leaves_a_system_with_an_administrator_alone() {
    let stack = Stack::start().await;
    let password = stack.folder().join("second-password");
    // A job that is tried again until it succeeds must not be, for this.
    for (more, code) in [(&[][..], 3), (&["--if-none"], 0)] {
        let output = program()
            .args(["bootstrap", "--auth", &stack.file.services["auth"][0]])
            .args(["--policy", &stack.file.services["policy"][0]])
            .arg("--certificates")
            .arg(stack.state_dir().join("certificates"))
            .args(["--username", "second", "--generate"])
            .arg(&password)
            .args(more)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains("an administrator exists"), "{}", said(&output));
        assert!(!password.exists());
    }
    assert_eq!(stack.latchkey(&["user", "show", "second"]).status.code(), Some(1));
}

#[tokio::test]
async fn bootstrap_by_itself_demands_another_password_at_the_first_login() {
    let stack = Stack::start().await;
    // As in a new system: nobody is an administrator.
    stack.leave_no_administrator().await;
    let password = stack.folder().join("root-password");
    stack.register("alice").await;
    let bootstrap = |name: &str| {
        program()
            .args(["bootstrap", "--auth", &stack.file.services["auth"][0]])
            .args(["--policy", &stack.file.services["policy"][0]])
            .arg("--certificates")
            .arg(stack.state_dir().join("certificates"))
            .args(["--username", name, "--generate"])
            .arg(&password)
            .output()
            .unwrap()
    };
    // Somebody's account is not made an administrator's by having the right name.
    let taken = bootstrap("alice");
    assert!(!taken.status.success() && said(&taken).contains("alice exists"), "{}", said(&taken));
    stack.token("alice", PASSWORD).await;

    let output = bootstrap("root");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::metadata(&password).unwrap().permissions().mode() & 0o777, 0o600);
    let current = fs::read_to_string(&password).unwrap().trim().to_owned();
    let login = json!({ "identifier": "root", "password": current, "mode": "token" });
    let refused = stack.post("/v1/login", &login).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "password_change_required");
    let change = json!({
        "identifier": "root",
        "current_password": current,
        "new_password": "chosen by root and by nobody else",
        "mode": "token",
    });
    assert!(stack.post("/v1/password", &change).send().await.unwrap().status().is_success());
    stack.token("root", "chosen by root and by nobody else").await;
    assert_eq!(bootstrap("root").status.code(), Some(3));
}

/// Between making the user and granting the role everything can stop: the next start goes on from there.
#[tokio::test]
async fn a_first_start_that_was_cut_short_is_taken_up() {
    let mut stack = Stack::start().await;
    let note = stack.state_dir().join(NOTE);
    assert!(!note.exists(), "it came to its end");
    let password = stack.admin_password();
    for with_id in [true, false] {
        let before = stack.cli_json(&["user", "show", "admin"])["id"].clone();
        stack.leave_no_administrator().await;
        let mut run = json!({ "username": "admin", "must_change_password": false });
        if with_id {
            run["id"] = before.clone();
        }
        fs::write(&note, run.to_string()).unwrap();
        stack.restart().await;
        let after = stack.cli_json(&["user", "show", "admin"])["id"].clone();
        assert_ne!(before, after, "what was issued to the half-made one stays without rights");
        assert!(!note.exists());
        assert_eq!(stack.admin_password(), password, "the run's own");
        stack.restart().await;
        assert_eq!(stack.cli_json(&["user", "show", "admin"])["id"], after, "and that is that");
    }
}

/// The grant was given, and then everything stopped: nothing is half made, now or later.
#[tokio::test]
async fn a_first_start_that_was_cut_short_after_its_grant_is_over() {
    let mut stack = Stack::start().await;
    let before = stack.cli_json(&["user", "show", "admin"])["id"].clone();
    let note = stack.state_dir().join(NOTE);
    fs::write(&note, json!({ "username": "admin", "must_change_password": false, "id": before }).to_string())
        .unwrap();
    stack.restart().await;
    assert!(!note.exists());
    assert_eq!(stack.cli_json(&["user", "show", "admin"])["id"], before);
}

#[tokio::test]
async fn without_the_note_of_an_unfinished_run_nobodys_account_is_touched_and_the_stack_starts() {
    let mut stack = Stack::start().await;
    let before = stack.cli_json(&["user", "show", "admin"])["id"].clone();
    let password = stack.admin_password();
    stack.leave_no_administrator().await;
    let change = json!({
        "identifier": "admin",
        "current_password": password,
        "new_password": PASSWORD,
        "mode": "token",
    });
    assert!(stack.post("/v1/password", &change).send().await.unwrap().status().is_success());
    // Somebody else's account of an unfinished run's name is not that run's either.
    let foreign = json!({ "username": "admin", "must_change_password": false, "id": "usr_another" });
    for note in [None, Some(foreign)] {
        let left = note.is_some();
        if let Some(note) = note {
            fs::write(stack.state_dir().join(NOTE), note.to_string()).unwrap();
        }
        stack.restart().await;
        let said = stack.said();
        assert!(said.contains("NO ADMINISTRATOR") && said.contains("latchkey bootstrap"), "{left}: {said}");
        assert_eq!(stack.get("/app/public/x").send().await.unwrap().status(), 200);
        assert_eq!(stack.admin_password(), password, "{left}: nothing was made, so nothing was written");
        // The account is the same, with its own password, and no administrator.
        let token = stack.token("admin", PASSWORD).await.access_token;
        let me = stack.get("/v1/me").bearer_auth(&token).send().await.unwrap();
        let me: Value = me.json().await.unwrap();
        assert_eq!((&me["user"]["id"], &me["roles"]), (&before, &json!([])), "{left}: {me}");
    }

    // What it said to run works as pasted.
    let said = stack.said();
    let command = said.lines().find_map(|line| line.trim().strip_prefix("latchkey bootstrap ")).unwrap();
    let output = program().arg("bootstrap").args(command.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    stack.restart().await;
    assert!(!stack.said().contains("NO ADMINISTRATOR"), "{}", stack.said());
}

#[tokio::test]
async fn an_administrator_who_is_made_anew_gets_another_password() {
    let mut stack = Stack::start().await;
    let (before, token) = (stack.admin_password(), stack.state_dir().join("admin-token.json"));
    stack.cli(&["user", "add", "other", "--generate"]);
    stack.cli(&["grant", "add", "other", "latchkey-admin"]);
    stack.cli(&["user", "remove", "admin"]);
    let _ = fs::remove_file(&token);
    assert!(stack.stop().await.success());
    for file in ["policy.sqlite", "policy.sqlite-wal", "policy.sqlite-shm"] {
        let _ = fs::remove_file(stack.state_dir().join("data").join(file));
    }
    stack.start_again().await;
    let after = stack.admin_password();
    assert_ne!(before, after);
    stack.token("admin", &after).await;
    let old = json!({ "identifier": "admin", "password": before, "mode": "token" });
    assert_eq!(stack.post("/v1/login", &old).send().await.unwrap().status(), 401);
    stack.cli(&["user", "list"]);
}

#[tokio::test]
async fn the_last_administrator_is_not_locked_out() {
    let stack = Stack::start().await;
    let attempts: [&[&str]; 3] = [
        &["user", "remove", "admin"],
        &["user", "set", "admin", "--disable"],
        &["grant", "remove", "admin", "latchkey-admin"],
    ];
    for attempt in attempts {
        let refused = stack.latchkey(attempt);
        assert_eq!(refused.status.code(), Some(1), "{attempt:?}");
        let said = said(&refused);
        for part in ["Nobody would be left", "give `latchkey-admin` to another", "last_administrator, 409"] {
            assert!(said.contains(part), "{attempt:?}: {said}");
        }
    }
    stack.cli(&["grant", "list"]);

    stack.register("alice").await;
    stack.cli(&["grant", "add", "alice", "latchkey-admin"]);
    stack.cli(&["grant", "remove", "admin", "latchkey-admin"]);
    stack.token("admin", &stack.admin_password()).await;
}

/// As its user does who changed the password: what is printed then asks for it.
#[tokio::test]
async fn after_the_password_was_changed_the_printed_commands_ask_for_it() {
    let mut stack = Stack::start().await;
    let file = stack.file.admin.password_file.clone();
    let shown = format!("admin, password in {}", file.display());
    assert!(stack.printed().contains(&shown));
    stack.restart().await;
    assert!(stack.printed().contains(&shown), "it still is the one: {}", stack.printed());

    // Everything that JSON, sed and a shell could stumble over.
    let new = r#"purple "lantern" \ under & 'glacier' $HOME / %s"#;
    let change = json!({
        "identifier": "admin",
        "current_password": stack.admin_password(),
        "new_password": new,
        "mode": "token",
    });
    assert!(stack.post("/v1/password", &change).send().await.unwrap().status().is_success());
    let refusals = |stack: &Stack| {
        let log = stack.log("auth-0");
        log.lines().filter(|line| line.contains("INVALID_CREDENTIALS")).count()
    };
    for start in 1..=2 {
        stack.restart().await;
        let printed = stack.printed();
        assert!(!printed.contains(&shown), "{printed}");
        assert!(printed.contains("the password was changed"), "{printed}");
        assert_eq!(
            refusals(&stack),
            1,
            "start {start}: tried once, and not against its owner's throttle again"
        );
    }
    let printed = stack.printed();
    let commands: Vec<&str> = printed
        .lines()
        .zip(printed.lines().skip(1))
        .filter_map(|(above, line)| above.starts_with("# ").then_some(line))
        .collect();
    assert_eq!(commands.len(), 3, "{printed}");
    for (command, shows) in commands.iter().zip(["/app/token/hello", "/app/session/hello", "role_required"]) {
        let mut shell = std::process::Command::new("/bin/sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut shell.stdin.take().unwrap(), format!("{new}\n").as_bytes()).unwrap();
        let output = shell.wait_with_output().unwrap();
        assert!(text(&output.stdout).contains(shows), "{command}\n{}", said(&output));
        assert_eq!(text(&output.stderr), "Password of admin: \n");
    }
    // Whoever puts it into the file is believed.
    fs::write(&file, format!("{new}\n")).unwrap();
    stack.restart().await;
    assert!(stack.printed().contains(&shown), "{}", stack.printed());
}
