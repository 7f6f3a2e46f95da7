//! A whole auth-service in this process: real TLS, real gRPC, a real SQLite file; the clock, the randomness and the
//! password function are the test's.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use auth_service::{
    Config, Injected, Listeners, Running, StartError,
    config::DEFAULTS,
    domain::{phc::Cost, sealing::SealingKey},
    hashing::{HashingError, Kdf, argon2id::Memory},
};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chassis::{
    clock::{Clock, SystemClock, TestClock},
    config::Shutdown,
    entropy::TestEntropy,
    grpc::client::{Call, Channel, channel},
    lifecycle::{Exit, Lifecycle},
};
use proto::auth::v1::{
    self as wire, client_admin_service_client::ClientAdminServiceClient,
    client_read_service_client::ClientReadServiceClient, key_admin_service_client::KeyAdminServiceClient,
    key_read_service_client::KeyReadServiceClient, login_service_client::LoginServiceClient,
    token_admin_service_client::TokenAdminServiceClient, token_read_service_client::TokenReadServiceClient,
    token_service_client::TokenServiceClient, user_admin_service_client::UserAdminServiceClient,
    user_read_service_client::UserReadServiceClient,
};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use time::OffsetDateTime;
use token::{AccessClaims, Algorithm, Expect, KeySet, RecipientKey};
use tonic::Status;

use crate::{
    audit,
    authority::{Authority, DOMAIN, private},
    policy::FakePolicy,
};

pub const ISSUER: &str = "http://127.0.0.1:8080";
pub const ADDRESS: &str = "192.0.2.1";
pub const PASSWORD: &str = "violet anchor gravel tundra";
pub const OTHER_PASSWORD: &str = "marble harbour ticket onion";
pub const T0: OffsetDateTime = time::macros::datetime!(2026-11-23 12:00:00 UTC);

/// Settings beyond the defaults, as variables of the environment.
pub type Env<'a> = &'a [(&'a str, &'a str)];

/// The wall clock is moved by hand. Boot time, by which leases are counted, is the machine's.
#[derive(Debug)]
pub struct HandsOfTheTest(pub Arc<TestClock>);

impl Clock for HandsOfTheTest {
    fn now(&self) -> OffsetDateTime {
        self.0.now()
    }

    fn boottime(&self) -> Duration {
        SystemClock.boottime()
    }
}

/// What is on disk and outlives a service.
pub struct Place {
    pub directory: TempDir,
    pub authority: Authority,
    pub recipient: RecipientKey,
    pub clock: Arc<TestClock>,
    pub kdf: Arc<CountingKdf>,
    pub entropy_seed: AtomicU64,
}

/// A running service and the ways to it.
pub struct Stack {
    pub place: Arc<Place>,
    pub policy: FakePolicy,
    pub running: Running,
    pub lifecycle: Lifecycle,
    stopped: tokio::task::JoinHandle<Exit>,
    gateway: Channel,
    calls: AtomicU64,
}

/// Cheap, and keeps account of what it was asked for: runs are compared, not timed.
#[derive(Default)]
pub struct CountingKdf {
    runs: Mutex<Vec<Cost>>,
}

impl CountingKdf {
    /// The runs since last asked.
    pub fn take(&self) -> Vec<Cost> {
        std::mem::take(&mut self.runs.lock().unwrap())
    }
}

impl Kdf for CountingKdf {
    fn run(
        &self,
        _: &mut Memory,
        cost: Cost,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), HashingError> {
        self.runs.lock().unwrap().push(cost);
        let input = [salt, password, &cost.memory_kib.to_be_bytes()].concat();
        for (to, from) in out.iter_mut().zip(digest(&SHA256, &input).as_ref().iter().cycle()) {
            *to = *from;
        }
        Ok(())
    }
}

impl Place {
    pub fn new() -> Arc<Self> {
        audit::install();
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path());
        let recipient = RecipientKey::generate("gateway-1").unwrap();
        std::fs::write(directory.path().join("gateway.public.jwk.json"), recipient.public().to_jwk_json())
            .unwrap();
        private(&directory.path().join("master.key"), &BASE64_STANDARD.encode([42; 32]));
        Arc::new(Self {
            directory,
            authority,
            recipient,
            clock: Arc::new(TestClock::new(T0)),
            kdf: Arc::default(),
            entropy_seed: AtomicU64::new(1),
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The service's own, for what no call shows.
    pub async fn database(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path("auth.sqlite"));
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    pub fn config(&self, env: Env<'_>) -> Config {
        chassis::config::load(DEFAULTS, None, self.environment(env)).unwrap()
    }

    /// Everything that the service's own binary needs.
    pub fn environment(&self, env: Env<'_>) -> Vec<(String, String)> {
        let tls = self.authority.tls("auth");
        let text = |path: PathBuf| path.display().to_string();
        let mut all = vec![
            ("LATCHKEY__ISSUER".to_owned(), ISSUER.to_owned()),
            ("LATCHKEY__SERVER__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("LATCHKEY__FEED__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("LATCHKEY__TLS__CERTIFICATE".to_owned(), text(tls.certificate)),
            ("LATCHKEY__TLS__KEY".to_owned(), text(tls.key)),
            ("LATCHKEY__TLS__AUTHORITY".to_owned(), text(tls.authority)),
            ("LATCHKEY__TLS__DOMAIN".to_owned(), DOMAIN.to_owned()),
            ("LATCHKEY__STORE__URL".to_owned(), format!("sqlite:{}", self.path("auth.sqlite").display())),
            // Generous: a loaded test machine is not what is tested.
            ("LATCHKEY__STORE__READ_WAIT".to_owned(), "30s".to_owned()),
            ("LATCHKEY__STORE__WRITE_WAIT".to_owned(), "30s".to_owned()),
            ("LATCHKEY__FIRST_PARTY__ENCRYPT_TO".to_owned(), text(self.path("gateway.public.jwk.json"))),
            ("LATCHKEY__SIGNING__MASTER_KEY".to_owned(), text(self.path("master.key"))),
            ("LATCHKEY__REGISTRATION__OPEN".to_owned(), "true".to_owned()),
        ];
        for (name, value) in env {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        all
    }

    pub fn injected(&self) -> Injected {
        let seed = self.entropy_seed.fetch_add(1, Ordering::Relaxed);
        Injected {
            clock: Arc::new(HandsOfTheTest(self.clock.clone())),
            entropy: Arc::new(TestEntropy::new(seed)),
            kdf: self.kdf.clone(),
            policy: None,
        }
    }

    pub async fn try_start(self: &Arc<Self>, config: Config) -> Result<Running, StartError> {
        let lifecycle = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::from_secs(5) });
        let started = auth_service::start(config, self.injected(), &lifecycle, listeners().await).await;
        lifecycle.end();
        started
    }
}

/// On free ports.
pub async fn listeners() -> Listeners {
    let any = || tokio::net::TcpListener::bind("127.0.0.1:0");
    Listeners { grpc: any().await.unwrap(), feed: any().await.unwrap() }
}

impl Stack {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(env: Env<'_>) -> Self {
        Self::start_in(Place::new(), env).await
    }

    pub async fn start_in(place: Arc<Place>, env: Env<'_>) -> Self {
        let injected = place.injected();
        Self::start_injected(place, env, injected).await
    }

    pub async fn start_injected(place: Arc<Place>, env: Env<'_>, injected: Injected) -> Self {
        let lifecycle = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::from_secs(5) });
        let (policy, policy_address) = FakePolicy::serve(&place.authority, &lifecycle).await;
        let mut config = place.config(env);
        config.peers.policy.endpoints = vec![format!("https://{policy_address}")];
        let running = auth_service::start(config, injected, &lifecycle, listeners().await).await.unwrap();
        let gateway = channel(
            &[format!("https://{}", running.address)],
            &place.authority.identity("gateway"),
            "auth",
            &lifecycle,
        )
        .unwrap();
        let life = lifecycle.clone();
        #[allow(clippy::disallowed_methods, reason = "the test stands outside of the lifecycle that it ends")]
        let stopped = tokio::spawn(async move { life.run_until_stopped().await });
        Self { place, policy, running, lifecycle, stopped, gateway, calls: AtomicU64::new(0) }
    }

    /// Drains and ends it, as SIGTERM does.
    pub async fn stop(self) -> (Arc<Place>, Exit) {
        let Self { place, running, lifecycle, stopped, gateway, .. } = self;
        drop((gateway, running));
        lifecycle.trigger();
        (place, stopped.await.unwrap())
    }

    pub fn advance(&self, by: Duration) {
        self.place.clock.advance(by);
    }

    /// Upkeep happens every few seconds by itself; here it happens now.
    pub async fn upkeep(&self) {
        let auth = &self.running.auth;
        let now = auth.clock.now();
        auth.keys.advance(now).await.unwrap();
        auth_service::flows::sweep::sweep(auth, now, 100).await.unwrap();
    }

    /// A call with a request id of its own.
    pub fn call(&self) -> Call {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let place = self.place.directory.path().file_name().unwrap().to_string_lossy().into_owned();
        let place: String = place.chars().filter(char::is_ascii_alphanumeric).collect();
        Call::new(format!("test-{place}-{number}"), Duration::from_secs(20))
    }

    pub fn channel_as(&self, name: &str) -> Channel {
        let address = format!("https://{}", self.running.address);
        channel(&[address], &self.place.authority.identity(name), "auth", &self.lifecycle).unwrap()
    }

    pub fn logins(&self) -> LoginServiceClient<Channel> {
        LoginServiceClient::new(self.gateway.clone())
    }

    pub fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.gateway.clone())
    }

    pub fn token_admin(&self) -> TokenAdminServiceClient<Channel> {
        TokenAdminServiceClient::new(self.gateway.clone())
    }

    pub fn token_reads(&self) -> TokenReadServiceClient<Channel> {
        TokenReadServiceClient::new(self.gateway.clone())
    }

    pub fn user_admin(&self) -> UserAdminServiceClient<Channel> {
        UserAdminServiceClient::new(self.gateway.clone())
    }

    pub fn user_reads(&self) -> UserReadServiceClient<Channel> {
        UserReadServiceClient::new(self.gateway.clone())
    }

    pub fn client_reads(&self) -> ClientReadServiceClient<Channel> {
        ClientReadServiceClient::new(self.gateway.clone())
    }

    pub fn client_admin(&self) -> ClientAdminServiceClient<Channel> {
        ClientAdminServiceClient::new(self.gateway.clone())
    }

    pub fn key_reads(&self) -> KeyReadServiceClient<Channel> {
        KeyReadServiceClient::new(self.gateway.clone())
    }

    pub fn key_admin(&self) -> KeyAdminServiceClient<Channel> {
        KeyAdminServiceClient::new(self.gateway.clone())
    }

    pub async fn register(&self, username: &str, password: &str) -> Result<wire::User, Status> {
        let message = wire::RegisterRequest {
            username: username.into(),
            password: password.into(),
            client_address: ADDRESS.into(),
        };
        self.logins()
            .register(self.call().request(message))
            .await
            .map(|reply| reply.into_inner().user.unwrap())
    }

    pub async fn login(&self, username: &str, password: &str) -> Result<wire::TokenSet, Status> {
        self.login_from(username, password, ADDRESS).await
    }

    pub async fn login_from(
        &self,
        username: &str,
        password: &str,
        address: &str,
    ) -> Result<wire::TokenSet, Status> {
        let message = login_request(username, password, wire::LoginMode::Token, address);
        let reply = self.logins().login(self.call().request(message)).await?.into_inner();
        match reply.result.unwrap() {
            wire::login_response::Result::Tokens(tokens) => Ok(tokens),
            wire::login_response::Result::LoginProof(_) => panic!("tokens were asked for"),
        }
    }

    pub async fn login_proof(&self, username: &str, password: &str) -> Result<String, Status> {
        let message = login_request(username, password, wire::LoginMode::Session, ADDRESS);
        let reply = self.logins().login(self.call().request(message)).await?.into_inner();
        match reply.result.unwrap() {
            wire::login_response::Result::LoginProof(proof) => Ok(proof),
            wire::login_response::Result::Tokens(_) => panic!("a proof was asked for"),
        }
    }

    pub async fn change_password(
        &self,
        username: &str,
        current: &str,
        new: &str,
    ) -> Result<wire::ChangePasswordResponse, Status> {
        let message = wire::ChangePasswordRequest {
            identifier: username.into(),
            current_password: current.into(),
            new_password: new.into(),
            mode: wire::LoginMode::Token.into(),
            client_address: ADDRESS.into(),
        };
        self.logins().change_password(self.call().request(message)).await.map(tonic::Response::into_inner)
    }

    pub async fn refresh(&self, token: &str) -> Result<wire::TokenSet, Status> {
        self.refresh_as(first_party(), token, "").await
    }

    pub async fn refresh_as(
        &self,
        client: wire::ClientAuthentication,
        token: &str,
        scope: &str,
    ) -> Result<wire::TokenSet, Status> {
        let message =
            wire::RefreshRequest { client: Some(client), refresh_token: token.into(), scope: scope.into() };
        self.tokens()
            .refresh(self.call().request(message))
            .await
            .map(|reply| reply.into_inner().tokens.unwrap())
    }

    pub async fn create_client(
        &self,
        name: &str,
        audiences: &[&str],
        scopes: &[&str],
    ) -> Result<(wire::Client, wire::ClientAuthentication), Status> {
        let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
        let message = wire::CreateClientRequest {
            name: name.into(),
            audiences: owned(audiences),
            scopes: owned(scopes),
        };
        let reply = self.client_admin().create_client(self.call().request(message)).await?.into_inner();
        let client = reply.client.unwrap();
        let credentials =
            wire::ClientAuthentication { client_id: client.id.clone(), client_secret: reply.client_secret };
        Ok((client, credentials))
    }

    pub async fn client_token(
        &self,
        client: wire::ClientAuthentication,
        scope: &str,
        audience: &str,
    ) -> Result<wire::TokenSet, Status> {
        let message = wire::IssueClientTokenRequest {
            client: Some(client),
            scope: scope.into(),
            audience: audience.into(),
        };
        let reply = self.tokens().issue_client_token(self.call().request(message)).await?;
        Ok(reply.into_inner().tokens.unwrap())
    }

    pub async fn introspect(
        &self,
        client: wire::ClientAuthentication,
        token: &str,
    ) -> Result<wire::IntrospectResponse, Status> {
        let message = wire::IntrospectRequest { client: Some(client), token: token.into() };
        self.token_reads().introspect(self.call().request(message)).await.map(tonic::Response::into_inner)
    }

    pub async fn key_set(&self) -> KeySet {
        let reply = self.token_reads().get_key_set(self.call().request(wire::GetKeySetRequest {})).await;
        KeySet::from_json(&reply.unwrap().into_inner().jwks).unwrap()
    }

    /// A first-party token, opened with the gateway's key and verified with the published set.
    pub async fn claims(&self, access_token: &str) -> AccessClaims {
        let jws = token::open(access_token, std::slice::from_ref(&self.place.recipient)).unwrap();
        self.verify(&jws, "latchkey").await.unwrap()
    }

    pub async fn verify(&self, jws: &str, audience: &str) -> Result<AccessClaims, token::Refused> {
        let expect = Expect::new(ISSUER, audience, Algorithm::ALL, Duration::ZERO).unwrap();
        let now = chassis::clock::Clock::now(self.place.clock.as_ref());
        token::verify_access(jws, &self.key_set().await, &expect, now)
    }
}

pub fn first_party() -> wire::ClientAuthentication {
    wire::ClientAuthentication { client_id: "first-party".into(), client_secret: String::new() }
}

pub fn login_request(
    username: &str,
    password: &str,
    mode: wire::LoginMode,
    address: &str,
) -> wire::LoginRequest {
    wire::LoginRequest {
        identifier: username.into(),
        password: password.into(),
        mode: mode.into(),
        client_address: address.into(),
    }
}

/// The stable reason of a refusal.
pub fn reason<T>(result: Result<T, Status>) -> String {
    let status = result.err().expect("a refusal");
    chassis::status::reason(&status).unwrap_or_else(|| format!("no reason: {status:?}"))
}

/// The master key of every place.
pub fn master_key() -> SealingKey {
    SealingKey::master(&BASE64_STANDARD.encode([42; 32])).unwrap()
}
