//! The whole service in this process: real TLS, a port of its own, a clock that is moved, proofs that are signed here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{Clock as _, TestClock};
use chassis::config::Shutdown;
use chassis::entropy::TestEntropy;
use chassis::grpc::client::{Call, Channel, channel};
use chassis::lifecycle::{Exit, Lifecycle};
use proto::session::v1 as wire;
use proto::session::v1::attribute_service_client::AttributeServiceClient;
use proto::session::v1::session_admin_service_client::SessionAdminServiceClient;
use proto::session::v1::session_read_service_client::SessionReadServiceClient;
use proto::session::v1::session_service_client::SessionServiceClient;
use session_service::config::DEFAULTS;
use session_service::{Config, Injected};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;
use tonic::{Code, Request, Status};

use crate::authority::Authority;
use crate::issuer::{ISSUER, Issuer};

pub const START: OffsetDateTime = datetime!(2026-11-01 08:00 UTC);

pub struct Stack {
    pub clock: Arc<TestClock>,
    pub issuer: Arc<Issuer>,
    pub authority: Authority,
    pub endpoint: String,
    pub life: Lifecycle,
    folder: TempDir,
    settings: Vec<(String, String)>,
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A life that does not wait.
pub fn life() -> Lifecycle {
    Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: secs(5) })
}

/// The defaults, what must be given, and `settings` (`sessions.limit` → `LATCHKEY__SESSIONS__LIMIT`).
pub fn configured(authority: &Authority, database: &Path, settings: &[(String, String)]) -> Config {
    let tls = authority.tls("session");
    let path = |path: PathBuf| path.display().to_string();
    let mut env: BTreeMap<String, String> = [
        ("issuer", ISSUER.to_owned()),
        ("server.listen", "127.0.0.1:0".to_owned()),
        ("tls.certificate", path(tls.certificate)),
        ("tls.key", path(tls.key)),
        ("tls.authority", path(tls.authority)),
        ("tls.domain", tls.domain),
        ("store.url", format!("sqlite:{}", database.display())),
        // Generous: a loaded test machine is not what is tested.
        ("store.read_wait", "30s".to_owned()),
        ("store.write_wait", "30s".to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    env.extend(settings.iter().cloned());
    let env = env
        .into_iter()
        .map(|(key, value)| (format!("LATCHKEY__{}", key.replace('.', "__").to_uppercase()), value))
        .collect();
    chassis::config::load(DEFAULTS, None, env).unwrap_or_else(|error| panic!("{error}"))
}

impl Stack {
    pub async fn start() -> Stack {
        Stack::start_with(&[]).await
    }

    pub async fn start_with(settings: &[(&str, &str)]) -> Stack {
        let mut stack = Stack {
            clock: Arc::new(TestClock::new(START)),
            issuer: Arc::new(Issuer::new()),
            authority: Authority::new(),
            endpoint: String::new(),
            life: life(),
            folder: tempfile::tempdir().unwrap(),
            settings: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        stack.begin(1).await;
        stack
    }

    /// The service anew, on the same database. `seed`: what it draws must differ from what it drew before.
    async fn begin(&mut self, seed: u64) {
        let config = configured(&self.authority, &self.database(), &self.settings);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.life = life();
        let injected = Injected {
            clock: self.clock.clone(),
            entropy: Arc::new(TestEntropy::new(seed)),
            keys: Some(self.issuer.clone()),
        };
        let running = session_service::start(config, injected, &self.life, listener).await.unwrap();
        self.endpoint = format!("https://{}", running.address);
    }

    /// On what `kill -9` would leave behind at this moment: the files as they are, with nothing flushed or closed.
    pub async fn crash_and_start_again(&mut self) {
        let left = tempfile::tempdir().unwrap();
        for file in ["session.sqlite", "session.sqlite-wal"] {
            std::fs::copy(self.folder.path().join(file), left.path().join(file)).unwrap();
        }
        self.life.end();
        self.life.run_until_stopped().await;
        self.folder = left;
        self.begin(2).await;
    }

    pub async fn stop_and_start_again(&mut self) {
        self.life.trigger();
        assert_eq!(self.life.run_until_stopped().await, Exit::Clean);
        self.begin(2).await;
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("session.sqlite")
    }

    pub fn as_caller(&self, name: &str) -> Caller {
        let channel =
            channel(std::slice::from_ref(&self.endpoint), &self.authority.identity(name), "session", &life())
                .unwrap();
        Caller(channel)
    }

    pub fn gateway(&self) -> Caller {
        self.as_caller("gateway")
    }

    pub fn proof(&self, subject: &str) -> String {
        self.issuer.sign(&self.issuer.claims(subject, self.clock.now()))
    }

    pub async fn log_in(&self, subject: &str) -> (wire::Session, String) {
        let request = create(self.proof(subject));
        opened(self.gateway().create(request).await.unwrap())
    }
}

pub fn create(login_proof: String) -> wire::CreateSessionRequest {
    wire::CreateSessionRequest {
        login_proof,
        user_agent: "Mozilla/5.0".to_owned(),
        client_address: "192.0.2.1".to_owned(),
        former_secret: String::new(),
    }
}

pub fn opened(response: wire::CreateSessionResponse) -> (wire::Session, String) {
    (response.session.unwrap(), response.secret)
}

pub fn request<T>(message: T) -> Request<T> {
    Call::new("test", secs(10)).actor("usr_admin").request(message)
}

/// Code and reason, which is what callers go by.
pub fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), chassis::status::reason(&status).unwrap_or_default())
}

pub fn not_found() -> (Code, String) {
    (Code::NotFound, "SESSION_NOT_FOUND".to_owned())
}

/// A neighbour's way in, a method for each RPC.
#[derive(Clone)]
pub struct Caller(pub Channel);

macro_rules! calls {
    ($($name:ident: $client:ident.$rpc:ident($request:ident) -> $response:ident;)*) => {
        impl Caller {
            $(pub async fn $name(&self, message: wire::$request) -> Result<wire::$response, Status> {
                $client::new(self.0.clone()).$rpc(request(message)).await.map(tonic::Response::into_inner)
            })*
        }
    };
}

calls! {
    create: SessionServiceClient.create_session(CreateSessionRequest) -> CreateSessionResponse;
    resolve_message: SessionServiceClient.resolve_session(ResolveSessionRequest) -> ResolveSessionResponse;
    rotate_message: SessionServiceClient.rotate_session(RotateSessionRequest) -> RotateSessionResponse;
    end: SessionServiceClient.end_session(EndSessionRequest) -> EndSessionResponse;
    end_others_message: SessionServiceClient.end_other_sessions(EndOtherSessionsRequest) -> EndOtherSessionsResponse;
    get_message: SessionReadServiceClient.get_session(GetSessionRequest) -> GetSessionResponse;
    list: SessionReadServiceClient.list_sessions(ListSessionsRequest) -> ListSessionsResponse;
    end_by_id_message: SessionAdminServiceClient.end_session_by_id(EndSessionByIdRequest) -> EndSessionByIdResponse;
    end_subject_message: SessionAdminServiceClient.end_subject_sessions(EndSubjectSessionsRequest) -> EndSubjectSessionsResponse;
    set_attributes: AttributeServiceClient.set_attributes(SetAttributesRequest) -> SetAttributesResponse;
}

impl Caller {
    pub async fn resolve(&self, secret: &str) -> Result<wire::ResolveSessionResponse, Status> {
        self.resolve_message(wire::ResolveSessionRequest { secret: secret.to_owned() }).await
    }

    pub async fn rotate(&self, secret: &str) -> Result<wire::RotateSessionResponse, Status> {
        self.rotate_message(wire::RotateSessionRequest { secret: secret.to_owned() }).await
    }

    pub async fn log_out(&self, secret: &str) -> Result<bool, Status> {
        let request = wire::EndSessionRequest { secret: secret.to_owned(), id: String::new() };
        self.end(request).await.map(|response| response.ended)
    }

    pub async fn end_others(&self, secret: &str) -> Result<u32, Status> {
        let request = wire::EndOtherSessionsRequest { secret: secret.to_owned() };
        self.end_others_message(request).await.map(|response| response.ended)
    }

    pub async fn get(&self, id: &str) -> Result<wire::Session, Status> {
        let response = self.get_message(wire::GetSessionRequest { id: id.to_owned() }).await?;
        Ok(response.session.unwrap())
    }

    pub async fn end_by_id(&self, id: &str) -> Result<bool, Status> {
        self.end_by_id_message(wire::EndSessionByIdRequest { id: id.to_owned() })
            .await
            .map(|response| response.ended)
    }

    pub async fn end_subject(&self, subject: &str) -> Result<u32, Status> {
        let request = wire::EndSubjectSessionsRequest { subject: subject.to_owned() };
        self.end_subject_message(request).await.map(|response| response.ended)
    }
}
