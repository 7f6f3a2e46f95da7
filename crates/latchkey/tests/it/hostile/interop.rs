//! Foreign implementations read our tokens and call our services, as a stranger's would: npm `jose`, PyPI `jwcrypto`,
//! `PyJWT` and `grpcio`. `cargo xtask setup` installs them; where they are missing these tests fail.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::forge::{Signer, part};
use super::scene::{Scene, application, opener};
use crate::stack::{PASSWORD, Stack, text};

const AUDIENCE: &str = "https://reports.example";

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("target/tools")
}

fn installed(path: &str) -> PathBuf {
    let path = tools().join(path);
    assert!(path.exists(), "{} is missing: run cargo xtask setup", path.display());
    path
}

fn python() -> Command {
    Command::new(installed("python/bin/python"))
}

fn node() -> Command {
    let mut command = Command::new("node");
    // Where the script looks for what it imports.
    command.env("LATCHKEY_NODE_MODULES", installed("npm/node_modules/jose").parent().unwrap());
    command
}

/// Runs a script from `foreign/` with `input` as JSON on its standard input; what it printed, as JSON.
async fn run(mut program: Command, script: &str, input: &Value) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hostile/foreign").join(script);
    let mut child = program
        .arg(path)
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{script}: {error}: run cargo xtask setup"));
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let missing = ["ModuleNotFoundError", "MODULE_NOT_FOUND"].iter().any(|error| stderr.contains(error));
    assert!(!missing, "{script}: run cargo xtask setup\n{stderr}");
    assert!(output.status.success(), "{script}: {}\n{stderr}", output.status);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{script}: {error}: {stdout}\n{stderr}"))
}

/// What every script is given, and what it must find.
async fn tokens(scene: &Scene) -> Value {
    let reports = application(&scene.stack, "reports", &["--audience", AUDIENCE, "--scope", "reports:read"]);
    let key = scene.stack.state_dir().join("secrets/gateway-token-key.jwk.json");
    let key: Value = serde_json::from_str(&std::fs::read_to_string(key).unwrap()).unwrap();
    let plain = reports.token(&scene.stack, &scene.http).await;
    // By nobody, under the issuer's key id: a verifier that takes it verifies nothing.
    let stranger = Signer::stranger(&scene.issuer.kid);
    let forged = stranger.jws(&stranger.header(), &part(&plain, 1));
    json!({
        "issuer": scene.stack.url(),
        "jwks": format!("{}/.well-known/jwks.json", scene.stack.url()),
        "key": key,
        "encrypted": { "token": scene.tokens.access_token, "audience": "latchkey" },
        "plain": { "token": plain, "audience": AUDIENCE },
        "forged": forged,
    })
}

fn assert_read(answer: &Value, scene: &Scene, given: &Value) {
    assert_eq!(answer["encrypted"], scene.claims, "{answer}");
    let plain = part(given["plain"]["token"].as_str().unwrap(), 1);
    assert_eq!(plain["scope"], "reports:read");
    assert_eq!(answer["plain"], plain, "{answer}");
    assert_eq!(answer["forged"], "refused", "{answer}");
    assert_eq!(answer["another_audience"], "refused", "{answer}");
}

#[tokio::test]
async fn jose_opens_and_verifies_our_tokens() {
    let scene = Scene::begin().await;
    let given = tokens(&scene).await;
    assert_read(&run(node(), "jose_reads.mjs", &given).await, &scene, &given);
}

#[tokio::test]
async fn jwcrypto_opens_and_verifies_our_tokens() {
    let scene = Scene::begin().await;
    let given = tokens(&scene).await;
    assert_read(&run(python(), "jwcrypto_reads.py", &given).await, &scene, &given);
}

/// PyJWT reads no JWE: it is given what the recipient's key opened.
#[tokio::test]
async fn pyjwt_verifies_our_tokens() {
    let scene = Scene::begin().await;
    let mut given = tokens(&scene).await;
    given["encrypted"]["token"] = json!(scene.opened(&scene.tokens.access_token));
    assert_read(&run(python(), "pyjwt_reads.py", &given).await, &scene, &given);
}

/// The other direction: what they encrypt and sign, the gateway reads.
#[tokio::test]
async fn jose_encrypts_what_the_gateway_opens() {
    let scene = Scene::begin().await;
    let given = json!({ "key": scene_public(&scene), "inner": scene.signed(json!({}), json!({})) });
    let made = run(node(), "jose_seals.mjs", &given).await;
    scene.accept(made["token"].as_str().unwrap(), "a token sealed by jose").await;
    scene
        .refuse([("a token sealed by jose with A128GCM", made["a128gcm"].as_str().unwrap().to_owned())])
        .await;
}

fn scene_public(scene: &Scene) -> Value {
    serde_json::from_str(&opener(&scene.stack).public().to_jwk_json()).unwrap()
}

#[tokio::test]
async fn grpcio_calls_the_services_by_reflection() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    stack.cli(&["role", "add", "reader", "document:read"]);
    stack.cli(&["grant", "add", "alice", "reader"]);
    let foreign = stack.folder().join("foreign");
    assert!(crate::stack::latchkey(&["certificates", "dev", foreign.to_str().unwrap()]).status.success());
    let given = json!({
        "certificates": stack.state_dir().join("certificates"),
        "foreign": foreign,
        "services": stack.file.services,
        "username": "alice",
        "password": PASSWORD,
    });
    let answer = run(python(), "grpcio_calls.py", &given).await;

    // The operator is shown what there is and may read it.
    let listed = |service: &str| -> Vec<&str> {
        answer["listed"][service].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
    };
    assert!(listed("auth").contains(&"latchkey.auth.v1.UserReadService"), "{answer}");
    assert!(listed("session").contains(&"latchkey.session.v1.SessionReadService"), "{answer}");
    assert!(listed("policy").contains(&"latchkey.policy.v1.CheckService"), "{answer}");
    for service in ["auth", "session", "policy"] {
        let other = listed(service)
            .into_iter()
            .find(|name| name.starts_with("latchkey.") && !name.starts_with(&format!("latchkey.{service}.")));
        assert_eq!(other, None, "what is not served is not shown");
    }
    assert_eq!(answer["user"]["username"], "alice", "{answer}");
    assert!(answer["users"].as_array().unwrap().contains(&json!("admin")), "{answer}");
    assert_eq!(answer["check"]["decision"], "DECISION_ALLOW", "{answer}");
    assert_eq!(answer["denied"]["decision"], "DECISION_DENY", "{answer}");
    assert_eq!(answer["unknown_user"], json!(["NOT_FOUND", "USER_NOT_FOUND"]), "{answer}");

    // Everybody else is refused: at the door with a reason, or before there is a connection.
    let not_listed = json!(["PERMISSION_DENIED", "CALLER_NOT_LISTED"]);
    for refused in [
        "session_deletes_a_user",
        "auth_checks",
        "policy_lists_sessions",
        "operator_logs_in",
        "session_reflects",
    ] {
        assert_eq!(answer[refused], not_listed, "{refused}: {answer}");
    }
    for service in ["auth", "session", "policy"] {
        for stranger in ["without_certificate", "foreign_authority", "without_tls"] {
            assert_eq!(
                answer[stranger][service],
                json!(["UNAVAILABLE", null]),
                "{stranger} at {service}: {answer}"
            );
        }
    }
    // Whoever was refused has changed nothing.
    stack.token("alice", PASSWORD).await;
}
