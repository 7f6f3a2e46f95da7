//! What a refresh costs on PostgreSQL: this process is the clients, and auth-service a child whose CPU time is its own.
//! The server syncs each commit to the disk, as in production; policy-service is an answer without a call.
//!
//! `cargo run --release -p auth-service --example refresh_speed`
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement, run by hand")]

use std::{
    path::Path,
    process::{Child, Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use auth_service::{
    Config, Injected, Listeners,
    config::{DEFAULTS, config_from},
    domain::claims::SubjectRoles,
    migrate,
    peers::{PeerCall, Policy, PolicyUnavailable, Subject},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chassis::{
    clock::{Clock as _, SystemClock},
    config::Shutdown,
    grpc::{
        client::{Call, Channel, channel},
        server::bind,
    },
    lifecycle::Lifecycle,
    process,
};
use proto::auth::v1::{
    self as wire, login_service_client::LoginServiceClient, token_service_client::TokenServiceClient,
};
use servers::{Postgres, Sync};
use tempfile::TempDir;
use token::RecipientKey;
use tokio::task::JoinSet;

#[path = "../tests/it/authority.rs"]
mod authority;

use authority::{Authority, DOMAIN, private};

const CHAINS: usize = 16;
const WARM: usize = 20;
const MEASURED: usize = 500;
const PASSWORD: &str = "violet anchor gravel tundra";
/// `/proc` counts in hundredths of a second.
const TICK: f64 = 0.01;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve(),
        _ => measure(),
    }
}

struct NoRoles;

#[async_trait]
impl Policy for NoRoles {
    async fn roles_of(&self, _: Subject<'_>, _: &PeerCall) -> Result<SubjectRoles, PolicyUnavailable> {
        Ok(SubjectRoles { roles: Vec::new(), revision: 1 })
    }
}

fn serve() -> ExitCode {
    process::start("auth-service", || {
        let config = config_from(None)?.config;
        process::serve(config.shutdown, |lifecycle| async move {
            let listeners = Listeners {
                grpc: bind("server.listen", config.server.listen)?,
                feed: bind("feed.listen", config.feed.listen)?,
            };
            let injected = Injected { policy: Some(Arc::new(NoRoles)), ..Injected::system() };
            Ok(auth_service::start(config, injected, &lifecycle, listeners).await?)
        })
    })
}

#[tokio::main]
async fn measure() -> ExitCode {
    process::prepare();
    let folder = TempDir::new().unwrap();
    let (server, authority) = (Postgres::start(Sync::On), Authority::new(folder.path()));
    let port = servers::free_port();
    let environment = environment(folder.path(), &authority, &server, port);
    let config: Config = chassis::config::load(DEFAULTS, None, environment.clone()).unwrap();
    migrate(&config).await.unwrap();
    let service = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .env_clear()
        .envs(environment)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let service = Service(service);

    let lifecycle = Lifecycle::new(Shutdown::default());
    let address = format!("https://127.0.0.1:{port}");
    let gateway = channel(&[address], &authority.identity("gateway"), "auth", &lifecycle).unwrap();
    let mut tokens = Vec::new();
    for number in 0..CHAINS {
        tokens.push(login(&gateway, &format!("user{number}")).await);
    }
    let tokens = refresh_all(&gateway, tokens, WARM).await;

    let before = (service.cpu(), cpu_of(&server), SystemClock.boottime());
    refresh_all(&gateway, tokens, MEASURED).await;
    let refreshes = f64::from(u32::try_from(CHAINS * MEASURED).unwrap());
    let took = (SystemClock.boottime() - before.2).as_secs_f64();
    let (own, database) = (service.cpu() - before.0, cpu_of(&server) - before.1);
    println!("{refreshes} refreshes by {CHAINS} clients in {took:.1} s: {:.0} a second", refreshes / took);
    println!("auth-service: {own:.2} s of CPU: {:.0} refreshes per CPU second", refreshes / own);
    println!("PostgreSQL:   {database:.2} s of CPU: {:.0} refreshes per CPU second", refreshes / database);
    ExitCode::SUCCESS
}

/// Each token `times` times, one after another; all tokens at once.
async fn refresh_all(gateway: &Channel, tokens: Vec<String>, times: usize) -> Vec<String> {
    let mut chains = JoinSet::new();
    for mut token in tokens {
        let mut client = TokenServiceClient::new(gateway.clone());
        chains.spawn(async move {
            for _ in 0..times {
                let first_party = wire::ClientAuthentication {
                    client_id: "first-party".into(),
                    client_secret: String::new(),
                };
                let message = wire::RefreshRequest {
                    client: Some(first_party),
                    refresh_token: token,
                    scope: String::new(),
                };
                token =
                    client.refresh(call(message)).await.unwrap().into_inner().tokens.unwrap().refresh_token;
            }
            token
        });
    }
    chains.join_all().await
}

/// Registered first; the very first of them waits until the service is there.
async fn login(gateway: &Channel, name: &str) -> String {
    let mut logins = LoginServiceClient::new(gateway.clone());
    let address = "192.0.2.1";
    loop {
        let message = wire::RegisterRequest {
            username: name.into(),
            password: PASSWORD.into(),
            client_address: address.into(),
        };
        match logins.register(call(message)).await {
            Ok(_) => break,
            Err(status) if status.code() == tonic::Code::Unavailable => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(status) => panic!("{status:?}"),
        }
    }
    let message = wire::LoginRequest {
        identifier: name.into(),
        password: PASSWORD.into(),
        mode: wire::LoginMode::Token.into(),
        client_address: address.into(),
    };
    match logins.login(call(message)).await.unwrap().into_inner().result.unwrap() {
        wire::login_response::Result::Tokens(tokens) => tokens.refresh_token,
        wire::login_response::Result::LoginProof(_) => panic!("tokens were asked for"),
    }
}

fn call<T>(message: T) -> tonic::Request<T> {
    Call::new("refresh-speed".to_owned(), Duration::from_secs(10)).request(message)
}

fn environment(folder: &Path, authority: &Authority, server: &Postgres, port: u16) -> Vec<(String, String)> {
    let tls = authority.tls("auth");
    let recipient = RecipientKey::generate("gateway-1").unwrap();
    let public = folder.join("gateway.public.jwk.json");
    std::fs::write(&public, recipient.public().to_jwk_json()).unwrap();
    let master = private(&folder.join("master.key"), &BASE64_STANDARD.encode([42; 32]));
    let text = |path: &Path| path.display().to_string();
    [
        ("ISSUER", "http://127.0.0.1:8080".to_owned()),
        ("SERVER__LISTEN", format!("127.0.0.1:{port}")),
        ("FEED__LISTEN", "127.0.0.1:0".to_owned()),
        ("TLS__CERTIFICATE", text(&tls.certificate)),
        ("TLS__KEY", text(&tls.key)),
        ("TLS__AUTHORITY", text(&tls.authority)),
        ("TLS__DOMAIN", DOMAIN.to_owned()),
        ("STORE__URL", server.url()),
        ("STORE__TIMEOUT", "10s".to_owned()),
        ("FIRST_PARTY__ENCRYPT_TO", text(&public)),
        ("SIGNING__MASTER_KEY", text(&master)),
        ("REGISTRATION__OPEN", "true".to_owned()),
        ("LOG__LEVEL", "warn".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (format!("LATCHKEY__{name}"), value))
    .collect()
}

struct Service(Child);

impl Service {
    fn cpu(&self) -> f64 {
        cpu(&self.0.id().to_string())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Of all its processes but the one that starts them.
fn cpu_of(server: &Postgres) -> f64 {
    server.psql("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").lines().map(cpu).sum()
}

/// Seconds, in the program and in the kernel for it.
fn cpu(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let ticks = after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap());
    ticks.sum::<f64>() * TICK
}
