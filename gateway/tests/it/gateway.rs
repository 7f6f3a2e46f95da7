//! A gateway, everything around it, and tokens that it believes.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::TestClock;
use chassis::config::Shutdown;
use chassis::entropy::SystemEntropy;
use chassis::lifecycle::Lifecycle;
use gateway::config::Config;
use gateway::upstreams::{Names, Resolve};
use gateway::{Changes, Injected, Running};
use time::OffsetDateTime;
use token::{
    AccessClaims, Algorithm, Epochs, KeySet, PrincipalKind, RecipientKey, SigningKey, TYP_ACCESS, seal,
};

use super::client::PATIENCE;
use super::endings::Endings;
use super::peers::World;
use super::role_changes::RoleChanges;
use super::upstream::Upstream;

pub const ALICE: &str = "usr_0123456789abcdefghjkmnpqrs";
const PUBLIC_URL: &str = "http://127.0.0.1:8080";

const ROUTES: &str = r#"
[upstream.app]
endpoints = ["http://APP"]
timeout = "2s"

[upstream.nobody]
endpoints = ["http://127.0.0.1:1"]

[[route]]
path = "/open/*"
accept = []
upstream = "app"

[[route]]
path = "/token/*"
accept = ["token", "api-key"]
upstream = "app"

[[route]]
path = "/session/*"
accept = ["session"]
upstream = "app"

[[route]]
path = "/any/*"
accept = ["token", "session"]
upstream = "app"

[[route]]
path = "/admin/*"
accept = ["token", "session"]
require = { role = "app-admin" }
upstream = "app"

[[route]]
path = "/app/documents/{id}"
methods = ["GET"]
accept = ["token", "session"]
require = { permission = "document:read", resource = "document/{id}" }
upstream = "app"
strip_prefix = "/app"
allow_encoded_slash = true

[[route]]
path = "/passed/*"
accept = ["token", "session"]
upstream = "app"
pass_credential = true

[[route]]
path = "/quiet/*"
accept = ["token", "session"]
identity = "none"
upstream = "app"

[[route]]
path = "/available/*"
accept = ["token"]
upstream = "app"
stale_for = "10m"

[[route]]
path = "/nobody/*"
accept = []
upstream = "nobody"
"#;

pub struct Gateway {
    pub address: SocketAddr,
    pub internal: SocketAddr,
    pub upstream: Upstream,
    pub world: Arc<World>,
    pub endings: Arc<Endings>,
    pub role_changes: Arc<RoleChanges>,
    pub lifecycle: Lifecycle,
    pub clock: Arc<TestClock>,
    signing: SigningKey,
    recipient: RecipientKey,
    folder: tempfile::TempDir,
}

impl Gateway {
    pub async fn start() -> Self {
        Self::build(1, "", |_| {}, Names::system()).await
    }

    pub async fn with_workers(workers: usize) -> Self {
        Self::build(workers, "", |_| {}, Names::system()).await
    }

    /// `more` is configuration at the top of the file.
    pub async fn with(more: &str) -> Self {
        Self::build(1, more, |_| {}, Names::system()).await
    }

    /// That waits so long for heads, and so long for requests.
    pub async fn patient_for(head: Duration, idle: Duration) -> Self {
        let change = |config: &mut Config| {
            (config.limits.head_timeout, config.limits.idle_timeout) = (head, idle);
        };
        Self::build(1, "", change, Names::system()).await
    }

    /// With this route file, in which APP is the application's address.
    pub async fn with_routes(routes: &str) -> Self {
        Self::with_routes_and(routes, |_| {}).await
    }

    pub async fn with_routes_and(routes: &str, more: impl FnOnce(&mut Config)) -> Self {
        let change = |config: &mut Config| {
            more(config);
            let text = std::fs::read_to_string(&config.routes).unwrap();
            let address = text.split("http://").nth(1).unwrap().split('"').next().unwrap();
            std::fs::write(&config.routes, routes.replace("APP", address)).unwrap();
        };
        Self::build(1, "", change, Names::system()).await
    }

    /// With this route file, and who knows the addresses of names.
    pub async fn with_names(routes: &str, resolver: Arc<dyn Resolve>) -> Self {
        let names = Names { resolver, every: Duration::from_millis(20) };
        let change = |config: &mut Config| std::fs::write(&config.routes, routes).unwrap();
        Self::build(1, "", change, names).await
    }

    /// Changes the route file, as editors do.
    pub fn rewrite(&self, routes: &str) {
        let new = self.folder.path().join("routes.toml.new");
        std::fs::write(&new, routes.replace("APP", &self.upstream.address.to_string())).unwrap();
        std::fs::rename(new, self.route_file()).unwrap();
    }

    pub fn route_file(&self) -> PathBuf {
        self.folder.path().join("routes.toml")
    }

    /// A line of `/metrics`, less its name and labels.
    pub fn metric(&self, line: &str) -> Option<f64> {
        let text = self.lifecycle.metrics().render();
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }

    async fn build(workers: usize, more: &str, change: impl FnOnce(&mut Config), names: Names) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::start().await;
        let signing = SigningKey::generate(Algorithm::Es256).unwrap();
        let recipient = RecipientKey::generate("recipient").unwrap();
        let mut config = config(folder.path(), &upstream, &recipient, workers, more);
        change(&mut config);
        let world = Arc::new(World::default());
        let keys = KeySet::new([signing.public_jwk()]).unwrap().to_json();
        world.with(|held| held.jwks = keys);
        let clock = Arc::new(TestClock::new(OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()));
        let lifecycle = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::from_secs(5) });
        let for_peers = Arc::clone(&world);
        let endings = Arc::new(Endings::default());
        let role_changes = Arc::new(RoleChanges::default());
        let injected = Injected {
            clock: clock.clone(),
            entropy: SystemEntropy::shared(),
            peers: Some(Arc::new(move || for_peers.peers())),
            changes: Some(Changes { endings: endings.clone(), roles: role_changes.clone() }),
            names,
        };
        let Running { public, internal } = gateway::start(config, injected, &lifecycle).await.unwrap();
        Self {
            address: public,
            internal: internal.unwrap(),
            upstream,
            world,
            endings,
            role_changes,
            lifecycle,
            clock,
            signing,
            recipient,
            folder,
        }
    }

    pub fn now(&self) -> OffsetDateTime {
        chassis::clock::Clock::now(&*self.clock)
    }

    pub fn claims(&self) -> AccessClaims {
        AccessClaims {
            iss: PUBLIC_URL.to_owned(),
            aud: vec!["latchkey".to_owned()],
            sub: ALICE.to_owned(),
            client_id: "first-party".to_owned(),
            iat: self.now(),
            exp: self.now() + Duration::from_secs(300),
            jti: "jti_1".to_owned(),
            kind: PrincipalKind::User,
            name: "alice".to_owned(),
            fam: None,
            sid: None,
            scope: String::new(),
            roles: Some(vec!["editor".to_owned()]),
            epo: Epochs::default(),
            pv: 1,
            amr: vec!["pwd".to_owned()],
        }
    }

    /// Signed and encrypted, as first-party tokens are.
    pub fn token(&self, claims: &AccessClaims) -> String {
        seal(&self.signing.sign(TYP_ACCESS, claims).unwrap(), &self.recipient.public()).unwrap()
    }

    /// A header line with alice's token.
    pub fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.token(&self.claims()))
    }

    /// A header line with the cookie of a session of alice's.
    pub fn cookie(&self) -> String {
        self.world
            .with(|held| held.sessions.insert("secret-1".to_owned(), ("ses_1".to_owned(), ALICE.to_owned())));
        "Cookie: theme=dark; latchkey-session=secret-1".to_owned()
    }

    pub fn asked(&self, what: &str) -> usize {
        self.world.with(|held| held.asked.iter().filter(|asked| asked.starts_with(what)).count())
    }
}

/// Asks again until there is an answer. For what has no signal of its own. An endpoint that was slow once is asked
/// seldom for a while, and on a loaded machine any may be.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(4 * PATIENCE, asking).await.unwrap_or_else(|_| panic!("never: {what}"))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Threads of a test that is over must not linger in the process.
        self.lifecycle.end();
    }
}

/// A configuration that works, in a folder of its own.
pub async fn configured() -> (Config, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let recipient = RecipientKey::generate("recipient").unwrap();
    (config(folder.path(), &upstream, &recipient, 1, ""), folder)
}

/// Why it does not start.
pub async fn refusal(config: Config) -> String {
    let lifecycle = Lifecycle::new(Shutdown::default());
    let world = Arc::new(World::default());
    let injected = Injected {
        peers: Some(Arc::new(move || world.peers())),
        changes: Some(Changes {
            endings: Arc::new(Endings::default()),
            roles: Arc::new(RoleChanges::default()),
        }),
        ..Injected::system()
    };
    let refused = gateway::start(config, injected, &lifecycle).await.unwrap_err().to_string();
    assert!(!lifecycle.is_ready());
    refused
}

fn config(
    folder: &Path,
    upstream: &Upstream,
    recipient: &RecipientKey,
    workers: usize,
    more: &str,
) -> Config {
    let routes = folder.join("routes.toml");
    std::fs::write(&routes, ROUTES.replace("APP", &upstream.address.to_string())).unwrap();
    let key = folder.join("key.jwk.json");
    std::fs::write(&key, recipient.to_jwk_json().unwrap().as_bytes()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        r#"
public_url = "{PUBLIC_URL}"
routes = "{}"
workers = {workers}
{more}
[server]
listen = "127.0.0.1:0"
[internal]
listen = "127.0.0.1:0"
[token]
keys = ["{}"]
[limits]
body_bytes = 100000
[peers.auth]
endpoints = ["http://127.0.0.1:1"]
[peers.session]
endpoints = ["http://127.0.0.1:1"]
[peers.policy]
endpoints = ["http://127.0.0.1:1"]
[feeds.auth]
endpoints = ["http://127.0.0.1:1"]
[feeds.policy]
endpoints = ["http://127.0.0.1:1"]
[tls]
mode = "external"
"#,
        routes.display(),
        key.display()
    );
    let file = folder.join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    chassis::config::load(gateway::config::DEFAULTS, Some(&file), Vec::new()).unwrap()
}
