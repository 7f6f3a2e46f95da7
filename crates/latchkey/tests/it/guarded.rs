//! Services that stand on the guard: the very code of its examples, against a running stack.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::stack::{Builder, PASSWORD, Stack, client, eventually, text};

#[path = "../../../guard/examples/axum.rs"]
#[allow(dead_code, reason = "its `main` is for who runs it")]
mod axum_service;
#[path = "../../../guard/examples/tonic.rs"]
#[allow(dead_code, reason = "its `main` is for who runs it")]
mod tonic_service;

use tonic_service::greeter::{ReadReportRequest, ReadReportResponse};

pub const AUTH: &str = "[feed]\nlease = \"1s\"\n[access]\nservices = [\"reports\"]\n";
const POLICY: &str = "[access]\nservices = [\"reports\"]\n";

type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// A stack that admits `reports`, with a user.
async fn begin() -> Stack {
    let stack = Builder::new().settings("auth", AUTH).settings("policy", POLICY).start().await;
    stack.register("alice").await;
    stack.cli(&["role", "add", "analyst", "report:read"]);
    stack.cli(&["grant", "add", "alice", "analyst", "--within", "report/42"]);
    stack
}

/// What a service called `name` is told: its certificate from the stack's authority, addresses as the gateway has them.
pub fn configuration(stack: &Stack, name: &str, audience: &str) -> PathBuf {
    let certificates = stack.state_dir().join("certificates");
    let made =
        crate::stack::latchkey(&["certificates", "dev", certificates.to_str().unwrap(), "--service", name]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let gateway = fs::read_to_string(stack.state_dir().join("config/gateway-0.toml")).unwrap();
    let gateway: toml::Table = gateway.parse().unwrap();
    let file = |name: String| certificates.join(name).to_str().unwrap().to_owned();
    let key = stack.state_dir().join("secrets/gateway-token-key.jwk.json");
    let mut config = toml::Table::new();
    for (key, value) in [
        ("issuer", stack.url().into()),
        // Nothing here is to fail because the machine is busy.
        ("patience", "2s".into()),
        ("audience", audience.into()),
        ("recipient_keys", vec![key.to_str().unwrap()].into()),
        ("auth", gateway["peers"]["auth"].clone()),
        ("policy", gateway["peers"]["policy"].clone()),
        ("feed", gateway["feeds"]["auth"].clone()),
    ] {
        config.insert(key.to_owned(), value);
    }
    let mut tls = toml::Table::new();
    for (key, value) in [
        ("mode", "mutual".to_owned()),
        ("domain", "latchkey.local".to_owned()),
        ("certificate", file(format!("{name}.crt"))),
        ("key", file(format!("{name}.key"))),
        ("authority", file("ca.crt".to_owned())),
    ] {
        tls.insert(key.to_owned(), value.into());
    }
    config.insert("tls".to_owned(), tls.into());
    let path = stack.folder().join(format!("{name}.toml"));
    fs::write(&path, config.to_string()).unwrap();
    path
}

/// A service that runs, and how it is stopped.
struct Running {
    address: String,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Ended>,
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

pub async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

#[allow(clippy::disallowed_methods, reason = "a process of its own in a user's hands")]
async fn axum_on(config: PathBuf) -> Running {
    let (listener, address) = listener().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(async move {
        axum_service::serve(&config, listener, async {
            let _ = stopped.await;
        })
        .await
    });
    Running { address, stop, ended }
}

#[allow(clippy::disallowed_methods, reason = "a process of its own in a user's hands")]
async fn tonic_on(config: PathBuf) -> Running {
    let (listener, address) = listener().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(async move {
        tonic_service::serve(&config, listener, async {
            let _ = stopped.await;
        })
        .await
    });
    Running { address, stop, ended }
}

async fn get(service: &Running, path: &str, token: Option<&str>) -> Response {
    let request = client().get(format!("{}{path}", service.address));
    token.into_iter().fold(request, |request, token| request.bearer_auth(token)).send().await.unwrap()
}

async fn report(service: &Running, id: &str, token: Option<&str>) -> Result<String, Status> {
    let channel: Channel = Endpoint::new(service.address.clone()).unwrap().connect_lazy();
    let mut request = Request::new(ReadReportRequest { id: id.to_owned() });
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let mut greeter = tonic_service::greeter::greeter_client::GreeterClient::new(channel);
    greeter.read_report(request).await.map(|answer| {
        let ReadReportResponse { text } = answer.into_inner();
        text
    })
}

pub async fn log_out(stack: &Stack, token: &str) {
    let answer = stack.request(Method::POST, "/v1/logout").bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{}", answer.text().await.unwrap());
}

fn challenge(answer: &Response) -> &str {
    answer.headers()["www-authenticate"].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_axum_service_believes_a_token_until_it_is_taken_back() {
    let stack = begin().await;
    let service = axum_on(configuration(&stack, "reports", "latchkey")).await;
    assert_eq!(get(&service, "/health", None).await.text().await.unwrap(), "ok");
    let nobody = get(&service, "/hello", None).await;
    assert_eq!((nobody.status(), challenge(&nobody)), (StatusCode::UNAUTHORIZED, "Bearer"));
    let nonsense = get(&service, "/hello", Some("nonsense")).await;
    assert!(challenge(&nonsense).starts_with("Bearer error=\"invalid_token\""));

    for round in 0..10 {
        let token = stack.token("alice", PASSWORD).await.access_token;
        let hello = get(&service, "/hello", Some(&token)).await;
        assert_eq!(hello.status(), StatusCode::OK, "round {round}");
        assert_eq!(hello.text().await.unwrap(), "hello alice");
        log_out(&stack, &token).await;
        // Acknowledged is refused, at once and everywhere.
        let refused = get(&service, "/hello", Some(&token)).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "round {round}");
        assert_eq!(challenge(&refused), "Bearer error=\"invalid_token\", error_description=\"ended\"");
    }

    // For somebody else: not for this service, whoever signed it.
    let made = stack.cli_json(&["client", "add", "ci", "--audience", "billing"]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let request = stack.request(Method::POST, "/oauth2/token").basic_auth(id, Some(secret));
    let answer = request.form(&[("grant_type", "client_credentials")]).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let refused = get(&service, "/hello", answer["access_token"].as_str()).await;
    assert_eq!(challenge(&refused), "Bearer error=\"invalid_token\", error_description=\"audience\"");

    // What somebody may do is what policy-service says now, not what the token said then.
    let token = stack.token("alice", PASSWORD).await.access_token;
    assert_eq!(get(&service, "/reports/42", Some(&token)).await.status(), StatusCode::OK);
    assert_eq!(get(&service, "/reports/43", Some(&token)).await.status(), StatusCode::FORBIDDEN);
    stack.cli(&["grant", "remove", "alice", "analyst", "--within", "report/42"]);
    assert_eq!(get(&service, "/reports/42", Some(&token)).await.status(), StatusCode::FORBIDDEN);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auth_service_a_service_on_the_guard_says_503_once_its_lease_is_over() {
    let stack = begin().await;
    let service = axum_on(configuration(&stack, "reports", "latchkey")).await;
    let token = stack.token("alice", PASSWORD).await.access_token;
    assert_eq!(get(&service, "/hello", Some(&token)).await.status(), StatusCode::OK);
    stack.signal("auth-0", Signal::STOP);
    let unknown = eventually("the lease is over", async || {
        let answer = get(&service, "/hello", Some(&token)).await;
        assert!(matches!(answer.status().as_u16(), 200 | 503), "{}", answer.status());
        (answer.status() == 503).then_some(answer)
    })
    .await;
    assert_eq!(unknown.headers()["retry-after"], "1");
    assert!(!unknown.headers().contains_key("www-authenticate"));
    assert_eq!(get(&service, "/hello", None).await.status(), StatusCode::UNAUTHORIZED);
    stack.signal("auth-0", Signal::CONT);
    eventually("it is known again", async || {
        let status = get(&service, "/hello", Some(&token)).await.status().as_u16();
        assert!(matches!(status, 200 | 503), "{status}");
        (status == 200).then_some(())
    })
    .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tonic_service_believes_a_token_until_it_is_taken_back() {
    let stack = begin().await;
    let service = tonic_on(configuration(&stack, "reports", "latchkey")).await;
    let code = |answer: Result<String, Status>| answer.map(drop).map_err(|status| status.code());
    assert_eq!(code(report(&service, "42", None).await), Err(Code::Unauthenticated));
    assert_eq!(code(report(&service, "42", Some("nonsense")).await), Err(Code::Unauthenticated));
    for _ in 0..5 {
        let token = stack.token("alice", PASSWORD).await.access_token;
        assert_eq!(report(&service, "42", Some(&token)).await.unwrap(), "report 42 for alice");
        assert_eq!(code(report(&service, "43", Some(&token)).await), Err(Code::PermissionDenied));
        log_out(&stack, &token).await;
        assert_eq!(code(report(&service, "42", Some(&token)).await), Err(Code::Unauthenticated));
    }
    let token = stack.token("alice", PASSWORD).await.access_token;
    assert!(report(&service, "42", Some(&token)).await.is_ok());
    stack.signal("auth-0", Signal::STOP);
    eventually("the lease is over", async || {
        let answer = code(report(&service, "42", Some(&token)).await);
        assert!(matches!(answer, Ok(()) | Err(Code::Unavailable)), "{answer:?}");
        answer.is_err().then_some(())
    })
    .await;
    stack.signal("auth-0", Signal::CONT);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_admitted_is_told_so() {
    let stack = Builder::new().settings("auth", AUTH).start().await;
    let config = latchkey_guard::connect::Config::from_file(&configuration(&stack, "billing", "latchkey"));
    let guard = latchkey_guard::Guard::connect(&config.unwrap()).unwrap();
    let error = guard.ready(Duration::from_secs(3)).await.unwrap_err().to_string();
    for said in ["billing is not listed", "access.services"] {
        assert!(error.contains(said), "{error}");
    }
    assert!(!guard.status().unwrap().has_keys);
    guard.close().await;
}

/// A service in another language, of which the first word that it prints is the status that it would answer.
fn python(program: PathBuf, script: &str, arguments: &[&str], secret: &str, token: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guard/examples/python");
    let mut child = Command::new(&program)
        .arg(folder.join(script))
        .args(arguments)
        .env("CLIENT_SECRET", secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask setup`", program.display()));
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}");
    text(&output.stdout).split_whitespace().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_language_verifies_by_jwks_or_asks() {
    let mut stack = Stack::start().await;
    let made = stack.cli_json(&["client", "add", "ci", "--audience", "reports"]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let request = stack.request(Method::POST, "/oauth2/token").basic_auth(id, Some(secret));
    let answer = request.form(&[("grant_type", "client_credentials")]).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let issuer = stack.url().to_owned();
    let tools = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/python/bin/python");
    let locally =
        |audience: &str, token: &str| python(tools.clone(), "jwks.py", &[&issuer, audience], "", token);
    let asking = |audience: &str, secret: &str, token: &str| {
        python("python3".into(), "introspection.py", &[&issuer, audience, id], secret, token)
    };
    assert_eq!(locally("reports", token), "200");
    assert_eq!(locally("billing", token), "401");
    assert_eq!(locally("reports", &token.replace('.', ".A")), "401");
    assert_eq!(asking("reports", secret, token), "200");
    assert_eq!(asking("billing", secret, token), "401");
    assert_eq!(asking("reports", secret, "nonsense"), "401");
    assert_eq!(asking("reports", "not the secret", token), "503", "it says nothing about the token");

    let revoke = stack.request(Method::POST, "/oauth2/revoke").basic_auth(id, Some(secret));
    assert_eq!(revoke.form(&[("token", token)]).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(asking("reports", secret, token), "401", "who asks hears of it");
    assert_eq!(locally("reports", token), "200", "what is given up by not asking, until it expires");

    assert!(stack.stop().await.success());
    assert_eq!(asking("reports", secret, token), "503");
    assert_eq!(locally("reports", token), "503");
}
