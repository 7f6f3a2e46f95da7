//! The process itself, with its own clock and randomness, its keys from a neighbour over mTLS, and signals.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use chassis::grpc::AccessTable;
use chassis::grpc::client::channel;
use chassis::grpc::server::Server;
use proto::auth::v1::token_read_service_server::TokenReadServiceServer;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::authority::Authority;
use crate::issuer::{ISSUER, Issuer, Published};
use crate::stack::{Caller, create, life, not_found, opened, refused};

const KEYS_FOR_SESSION: AccessTable = &[("/latchkey.auth.v1.TokenReadService/GetKeySet", &["session"])];

struct Process {
    child: Child,
    endpoint: String,
    lines: Lines<BufReader<ChildStdout>>,
}

async fn start(authority: &Authority, auth: &str, database: &Path) -> Process {
    let tls = authority.tls("session");
    let mut child = Command::new(env!("CARGO_BIN_EXE_session-service"))
        .env("LATCHKEY__ISSUER", ISSUER)
        .env("LATCHKEY__SERVER__LISTEN", "127.0.0.1:0")
        .env("LATCHKEY__OPERATIONS__LISTEN", "127.0.0.1:0")
        .env("LATCHKEY__TLS__CERTIFICATE", tls.certificate)
        .env("LATCHKEY__TLS__KEY", tls.key)
        .env("LATCHKEY__TLS__AUTHORITY", tls.authority)
        .env("LATCHKEY__TLS__DOMAIN", tls.domain)
        .env("LATCHKEY__PEERS__AUTH__ENDPOINTS", format!("[\"{auth}\"]"))
        .env("LATCHKEY__STORE__URL", format!("sqlite:{}", database.display()))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["message"] == "listening" {
            let address = line["address"].as_str().unwrap();
            return Process { child, endpoint: format!("https://{address}"), lines };
        }
    }
    panic!("it did not start: {:?}", child.wait().await);
}

/// auth-service's part of the conversation, and the files of both.
struct Surroundings {
    authority: Authority,
    issuer: Arc<Issuer>,
    auth: String,
    folder: TempDir,
}

impl Surroundings {
    async fn new() -> Surroundings {
        let (authority, issuer) = (Authority::new(), Arc::new(Issuer::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let auth = format!("https://{}", listener.local_addr().unwrap());
        let auth_life = life();
        let server = Server::new("auth", &authority.identity("auth"), KEYS_FOR_SESSION, auth_life.clone())
            .service(TokenReadServiceServer::new(Published(issuer.clone())));
        auth_life.spawn("auth", server.serve(listener));
        Surroundings { authority, issuer, auth, folder: tempfile::tempdir().unwrap() }
    }

    async fn start(&self) -> Process {
        start(&self.authority, &self.auth, &self.folder.path().join("session.sqlite")).await
    }

    fn caller(&self, name: &str, process: &Process) -> Caller {
        let identity = self.authority.identity(name);
        Caller(channel(std::slice::from_ref(&process.endpoint), &identity, "session", &life()).unwrap())
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the process reads the machine's clock, and so must its proofs"
    )]
    fn proof(&self, subject: &str) -> String {
        self.issuer.sign(&self.issuer.claims(subject, OffsetDateTime::now_utc()))
    }
}

#[tokio::test]
async fn what_was_answered_survives_the_kill_of_the_process() {
    let around = Surroundings::new().await;
    let mut first = around.start().await;
    let caller = around.caller("gateway", &first);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..30 {
        let (caller, proof) = (caller.clone(), around.proof(&format!("usr_{number}")));
        calls.spawn(async move {
            let (_, secret) = opened(caller.create(create(proof)).await.unwrap());
            if number % 3 == 0 {
                assert!(caller.log_out(&secret).await.unwrap());
            }
            let rotated = if number % 3 == 1 { caller.rotate(&secret).await.unwrap().secret } else { secret };
            (rotated, number % 3 == 0)
        });
    }
    let sessions = calls.join_all().await;
    // SIGKILL: no drain, no flush, no close.
    first.child.start_kill().unwrap();
    first.child.wait().await.unwrap();

    let second = around.start().await;
    let caller = around.caller("gateway", &second);
    for (secret, ended) in sessions {
        let resolved = caller.resolve(&secret).await;
        if ended {
            assert_eq!(refused(resolved), not_found());
        } else {
            resolved.unwrap();
        }
    }
}

#[tokio::test]
async fn s08_the_audit_says_who_ended_what_and_the_log_holds_no_secret() {
    let around = Surroundings::new().await;
    let mut process = around.start().await;
    let (gateway, operator) = (around.caller("gateway", &process), around.caller("operator", &process));
    let spent = around.proof("usr_1");
    let (own, first) = opened(gateway.create(create(spent.clone())).await.unwrap());
    let (replaced, second) = opened(gateway.create(create(around.proof("usr_1"))).await.unwrap());
    let mut again = create(around.proof("usr_1"));
    again.former_secret = second.clone();
    let (administered, third) = opened(gateway.create(again).await.unwrap());
    let fourth = gateway.rotate(&third).await.unwrap().secret;
    assert!(gateway.log_out(&first).await.unwrap());
    assert!(operator.end_by_id(&administered.id).await.unwrap());
    assert_eq!(operator.end_subject("usr_2").await.unwrap(), 0);
    assert!(gateway.create(create(spent.clone())).await.is_err());

    let pid = process.child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let mut log = Vec::new();
    while let Some(line) = process.lines.next_line().await.unwrap() {
        log.push(line);
    }
    assert!(process.child.wait().await.unwrap().success());

    for secret in [&spent, &first, &second, &third, &fourth] {
        assert!(!log.iter().any(|line| line.contains(secret.as_str())), "a secret is in the log");
    }
    let audit: Vec<serde_json::Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["target"] == "audit")
        .collect();
    let said = |event: &str, outcome: &str, session: Option<&str>, members: &[(&str, &str)]| {
        let told = audit.iter().filter(|line| {
            line["event"] == event
                && line["outcome"] == outcome
                && line["session"].as_str() == session
                && line["request_id"] == "test"
                && members.iter().all(|(name, value)| line[*name] == *value)
        });
        assert_eq!(told.count(), 1, "{event} {outcome} {members:?} in {audit:#?}");
    };
    said("session.end", "success", Some(&replaced.id), &[("subject", "usr_1"), ("reason", "replaced")]);
    said("logout", "success", Some(&own.id), &[("subject", "usr_1")]);
    let by_admin = [("subject", "usr_1"), ("reason", "administration"), ("actor", "usr_admin")];
    said("session.end", "success", Some(&administered.id), &by_admin);
    said("session.end", "success", None, &[("subject", "usr_2"), ("actor", "usr_admin")]);
    said("session.create", "refused", None, &[("reason", "PROOF_INVALID"), ("address", "192.0.2.1")]);
    assert_eq!(audit.len(), 5);
}
