//! The whole server on a free port, with certificates made on the spot.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::SystemClock;
use chassis::config::{Shutdown, Tls, TlsMode};
use chassis::entropy::TestEntropy;
use chassis::grpc::client::{Call, Channel, channel};
use chassis::grpc::server::bind;
use chassis::lifecycle::Lifecycle;
use chassis::tls::Identity;
use policy_service::config::DEFAULTS;
use policy_service::{Config, Injected, Listeners, start};
use proto::policy::v1 as wire;
use proto::policy::v1::check_service_client::CheckServiceClient;
use proto::policy::v1::policy_admin_service_client::PolicyAdminServiceClient;
use proto::policy::v1::policy_read_service_client::PolicyReadServiceClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
use tempfile::TempDir;
use tonic::{Request, Status};

const DOMAIN: &str = "test.example";

pub struct Stack {
    pub lifecycle: Lifecycle,
    pub address: SocketAddr,
    pub feed: SocketAddr,
    certificates: Arc<Certificates>,
    folder: TempDir,
}

/// The ways in, as one caller.
pub struct Client {
    pub checks: CheckServiceClient<Channel>,
    pub reads: PolicyReadServiceClient<Channel>,
    pub admin: PolicyAdminServiceClient<Channel>,
}

impl Stack {
    pub async fn start() -> Stack {
        Self::start_with(&[]).await
    }

    /// With settings of the caller's.
    pub async fn start_with(settings: &[(&str, &str)]) -> Stack {
        Self::start_as(Arc::new(Certificates::new()), 1, settings).await
    }

    /// Replicas of one service: with one authority, so that they believe each other.
    pub async fn replicas(settings: &[(&str, &str)]) -> [Stack; 2] {
        let certificates = Arc::new(Certificates::new());
        let start = |seed| Self::start_as(certificates.clone(), seed, settings);
        [start(1).await, start(2).await]
    }

    async fn start_as(certificates: Arc<Certificates>, seed: u64, settings: &[(&str, &str)]) -> Stack {
        let folder = TempDir::new().unwrap();
        let mut env = environment(&certificates.tls("policy"), &folder.path().join("policy.sqlite"));
        env.retain(|(name, _)| !settings.iter().any(|(other, _)| name == other));
        env.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config: Config = chassis::config::load(DEFAULTS, None, env).unwrap();
        let shutdown = Shutdown { settle: Duration::ZERO, drain: Duration::from_secs(10) };
        let lifecycle = Lifecycle::new(shutdown);
        let any = |setting| bind(setting, "127.0.0.1:0".parse().unwrap()).unwrap();
        let listeners = Listeners { grpc: any("server.listen"), feed: any("feed.listen") };
        let injected = Injected { clock: SystemClock::shared(), entropy: Arc::new(TestEntropy::new(seed)) };
        // Boxed: the compiler lays out only so many futures in each other.
        let running = Box::pin(start(config, injected, &lifecycle, listeners)).await.unwrap();
        Stack { lifecycle, address: running.address, feed: running.feed, certificates, folder }
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("policy.sqlite")
    }

    pub fn identity(&self, name: &str) -> Identity {
        Identity::load(&self.certificates.tls(name)).unwrap()
    }

    pub fn client(&self, name: &str) -> Client {
        let identity = Identity::load(&self.certificates.tls(name)).unwrap();
        let endpoint = format!("https://{}", self.address);
        let channel = channel(&[endpoint], &identity, "policy", &self.lifecycle).unwrap();
        Client {
            checks: CheckServiceClient::new(channel.clone()),
            reads: PolicyReadServiceClient::new(channel.clone()),
            admin: PolicyAdminServiceClient::new(channel),
        }
    }
}

/// The settings that a test must give, as the environment gives them.
pub fn environment(tls: &Tls, database: &Path) -> Vec<(String, String)> {
    [
        ("LATCHKEY__TLS__CERTIFICATE", tls.certificate.display().to_string()),
        ("LATCHKEY__TLS__KEY", tls.key.display().to_string()),
        ("LATCHKEY__TLS__AUTHORITY", tls.authority.display().to_string()),
        ("LATCHKEY__TLS__DOMAIN", tls.domain.clone()),
        ("LATCHKEY__FEED__LISTEN", "127.0.0.1:0".to_owned()),
        ("LATCHKEY__FEED__LEASE", "1s".to_owned()),
        ("LATCHKEY__STORE__URL", format!("sqlite:{}", database.display())),
        // Generous: a loaded test machine is not what is tested.
        ("LATCHKEY__STORE__READ_WAIT", "30s".to_owned()),
        ("LATCHKEY__STORE__WRITE_WAIT", "30s".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// An authority and a certificate for each name it is asked for.
pub struct Certificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Certificates {
    pub fn new() -> Certificates {
        let folder = TempDir::new().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("ca.crt"), issuer.pem()).unwrap();
        Certificates { issuer, folder }
    }

    pub fn tls(&self, name: &str) -> Tls {
        let mut params = CertificateParams::new(vec![name.to_owned(), "localhost".to_owned()]).unwrap();
        let uri = format!("spiffe://{DOMAIN}/latchkey/{name}");
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Tls {
            mode: TlsMode::Mutual,
            certificate: self.write(&format!("{name}.crt"), &certificate.pem()),
            key: self.write(&format!("{name}.key"), &key.serialize_pem()),
            authority: self.folder.path().join("ca.crt"),
            domain: DOMAIN.to_owned(),
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

/// A call with an id and, where one acts, an actor.
pub fn call<T>(message: T) -> Request<T> {
    Call::new("req_test", Duration::from_secs(60)).actor("usr_administrator").request(message)
}

pub fn user(number: u32) -> Option<wire::Subject> {
    Some(wire::Subject { kind: wire::SubjectKind::User.into(), id: format!("usr_{number:026}") })
}

pub fn client(number: u32) -> Option<wire::Subject> {
    Some(wire::Subject { kind: wire::SubjectKind::Client.into(), id: format!("cli_{number:026}") })
}

pub fn group(name: &str) -> Option<wire::Subject> {
    Some(wire::Subject { kind: wire::SubjectKind::Group.into(), id: name.to_owned() })
}

/// `kind/id`.
pub fn resource(text: &str) -> Option<wire::Resource> {
    let (kind, id) = text.split_once('/').unwrap();
    Some(wire::Resource { kind: kind.to_owned(), id: id.to_owned() })
}

pub fn check(subject: Option<wire::Subject>, permission: &str, at: Option<&str>) -> wire::CheckRequest {
    wire::CheckRequest {
        subject,
        permission: permission.to_owned(),
        resource: at.and_then(resource),
        at_least: 0,
    }
}

pub fn put_role(name: &str, permissions: &[&str]) -> wire::PutRoleRequest {
    let permissions = permissions.iter().map(|text| (*text).to_owned()).collect();
    wire::PutRoleRequest { role: Some(wire::Role { name: name.to_owned(), permissions, built_in: false }) }
}

pub fn create_grant(
    subject: Option<wire::Subject>,
    role: &str,
    within: Option<&str>,
) -> wire::CreateGrantRequest {
    wire::CreateGrantRequest { subject, role: role.to_owned(), within: within.and_then(resource) }
}

pub fn reason(status: &Status) -> String {
    chassis::status::reason(status).unwrap_or_else(|| panic!("no reason: {status:?}"))
}
