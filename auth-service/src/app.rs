//! Puts the service together: the only place that names the adapters of store, hashing and peer, and the chassis's server.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use chassis::{
    clock::{SharedClock, SystemClock},
    entropy::{SharedEntropy, SystemEntropy},
    grpc::{
        client::{ChannelError, channel},
        server::{Server, bind},
    },
    lifecycle::Lifecycle,
    operations, process,
    secret::{self, SecretError},
    telemetry,
    tls::{Identity, TlsError},
};
use feed::grpc::Membership;
use proto::auth::v1::{
    client_admin_service_server::ClientAdminServiceServer,
    client_read_service_server::ClientReadServiceServer, key_admin_service_server::KeyAdminServiceServer,
    key_read_service_server::KeyReadServiceServer, login_service_server::LoginServiceServer,
    token_admin_service_server::TokenAdminServiceServer, token_read_service_server::TokenReadServiceServer,
    token_service_server::TokenServiceServer, user_admin_service_server::UserAdminServiceServer,
    user_read_service_server::UserReadServiceServer,
};
use token::{KeyError, RecipientPublicKey};
use tokio::net::TcpListener;

use crate::{
    config::{Config, config_from},
    domain::{
        client::{Audience, ClientInvalid},
        phc::PasswordHash,
        sealing::{NotAMasterKey, SealingKey},
    },
    flows::{
        Auth, Remembered, Settings, Tries,
        keys::{Keys, KeysError},
    },
    hashing::{
        Kdf,
        argon2id::Argon2id,
        pool::{HashingPool, PoolSize},
    },
    metrics::{self, Metrics},
    peers::{Policy, policy::GrpcPolicy},
    rpc::{
        Behind, ClientAdmin, ClientReads, KeyAdmin, KeyReads, Logins, TokenAdmin, TokenReads, Tokens,
        UserAdmin, UserReads, access::ACCESS,
    },
    store::{postgres, sqlite},
    upkeep::Upkeep,
};

mod opened;

use opened::Opened;
pub use opened::migrate;

/// What the process says it is, in certificates, logs and health answers.
pub const NAME: &str = "auth";

/// The command line, the same for the service's own binary and for `latchkey serve auth`.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "auth-service", version, about = "Users, clients and the tokens that are issued to them")]
pub struct Args {
    /// The configuration file. Without it: the defaults and the environment.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read everything, open nothing, and say what it would listen on.
    #[arg(long)]
    pub check_config: bool,
}

/// What a test replaces.
pub struct Injected {
    pub clock: SharedClock,
    pub entropy: SharedEntropy,
    /// What passwords are hashed with.
    pub kdf: Arc<dyn Kdf>,
    /// `None`: policy-service, over gRPC.
    pub policy: Option<Arc<dyn Policy>>,
}

impl Injected {
    /// The real things.
    pub fn system() -> Self {
        Self {
            clock: SystemClock::shared(),
            entropy: SystemEntropy::shared(),
            kdf: Arc::new(Argon2id),
            policy: None,
        }
    }
}

/// Where it listens, bound.
pub struct Listeners {
    pub grpc: TcpListener,
    pub feed: TcpListener,
}

/// A service that runs on its lifecycle.
#[derive(Clone)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its feed is watched.
    pub feed: SocketAddr,
    /// For tests that make a moment come: upkeep otherwise happens by itself.
    pub auth: Arc<Auth>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// Not once the configuration was loaded: that refuses it.
    #[error("store.url names neither a SQLite file nor a PostgreSQL database")]
    StoreUrl,
    #[error("signing.master_key: {0}")]
    MasterKeyFile(#[source] SecretError),
    #[error("signing.master_key: {}: {source}", .path.display())]
    MasterKey {
        path: PathBuf,
        #[source]
        source: NotAMasterKey,
    },
    #[error("{setting}: {} cannot be read: {source}", .path.display())]
    RecipientFile {
        setting: String,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{setting}: {} is no public key to encrypt to: {source}", .path.display())]
    Recipient {
        setting: String,
        path: PathBuf,
        #[source]
        source: KeyError,
    },
    #[error("first_party.audience: {0}")]
    Audience(#[from] ClientInvalid),
    #[error("peers.policy: {0}")]
    Peer(#[from] ChannelError),
    #[error("the threads for hashing cannot be started: {0}")]
    Threads(#[source] std::io::Error),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Feed(#[from] feed::grpc::StartError),
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
}

/// Runs the whole process.
pub fn run(args: Args) -> ExitCode {
    process::start("auth-service", || {
        let config = config_from(args.config.as_deref())?.config;
        telemetry::init(&config.log, NAME);
        if args.check_config {
            Identity::load(&config.tls)?;
            Files::read(&config)?;
            if let Some(settings) = config.store.postgres() {
                settings.read_files()?;
            }
            println!("auth-service would listen on {} (gRPC)", config.server.listen);
            println!("auth-service would listen on {} (feed)", config.feed.listen);
            println!("auth-service would listen on {} (operations)", config.operations.listen);
            return Ok(ExitCode::SUCCESS);
        }
        process::serve(config.shutdown, |lifecycle| async move {
            // Ports first: one that is taken is told before the database is touched.
            let listeners = Listeners {
                grpc: bind("server.listen", config.server.listen)?,
                feed: bind("feed.listen", config.feed.listen)?,
            };
            let probes = bind("operations.listen", config.operations.listen)?;
            // Probes too: the store may have to be waited for.
            operations::serve(probes, &lifecycle);
            Ok(start(config, Injected::system(), &lifecycle, listeners).await?)
        })
    })
}

/// Opens the store and serves on `listener` until the lifecycle drains.
pub async fn start(
    config: Config,
    injected: Injected,
    lifecycle: &Lifecycle,
    listeners: Listeners,
) -> Result<Running, StartError> {
    let address = listeners.grpc.local_addr().map_err(StartError::Listener)?;
    let feed_address = listeners.feed.local_addr().map_err(StartError::Listener)?;
    let readiness = lifecycle.readiness("store");
    let identity = Identity::load(&config.tls)?;
    let files = Files::read(&config)?;
    let policy = match injected.policy {
        Some(policy) => policy,
        None => {
            let channel = channel(&config.peers.policy.endpoints, &identity, "policy", lifecycle)?;
            Arc::new(GrpcPolicy::new(channel)) as Arc<dyn Policy>
        }
    };
    let opened = Opened::open(&config, &readiness).await?;
    let store = opened.shared();
    let keys = Keys::new(
        Arc::clone(&store),
        Arc::clone(&injected.clock),
        Arc::clone(&injected.entropy),
        files.master_key,
        config.key_schedule(),
        config.signing.look_every,
    );
    opened.first_look(&keys, &injected.clock, &readiness).await?;

    let membership = Membership {
        name: NAME,
        settings: config.feed.clone(),
        identity: identity.clone(),
        access: config.access.clone(),
        clock: Arc::clone(&injected.clock),
        entropy: Arc::clone(&injected.entropy),
        open_log: opened.log(&config, &injected.clock)?,
    };
    let feed = feed::grpc::start(membership, listeners.feed, lifecycle).await?;
    // What others wrote is judged by the database's time: nobody is answered before it is known. An error: the process ends.
    readiness.not_ready("waiting for the first beat of the feed");
    let _ = feed.views().wait_for(|view| view.log_clock.is_some()).await;
    let log_in_use = feed.clone();
    let size = PoolSize::new(config.hashing.threads, config.hashing.queue);
    let pool = HashingPool::start(size, &injected.kdf, lifecycle).map_err(StartError::Threads)?;
    let counts = Arc::new(Metrics::default());
    metrics::show(&lifecycle.metrics().meter(), &counts, &pool);
    let auth = Arc::new(Auth {
        nobody: nobody(&injected.entropy),
        store,
        policy,
        hashing: Arc::new(pool.clone()),
        tries: Tries::default(),
        remembered: Remembered::default(),
        keys,
        clock: injected.clock,
        entropy: injected.entropy,
        metrics: counts,
        feed,
        settings: settings(&config, files.recipients)?,
    });

    let behind = Behind { auth: Arc::clone(&auth), jwks_max_age: config.signing.jwks_max_age };
    let server = Server::new(NAME, &identity, ACCESS, lifecycle.clone())
        .settings(&config.server)
        .admit(&config.access)
        .service(LoginServiceServer::new(Logins(behind.clone())))
        .service(TokenServiceServer::new(Tokens(behind.clone())))
        .service(TokenReadServiceServer::new(TokenReads(behind.clone())))
        .service(TokenAdminServiceServer::new(TokenAdmin(behind.clone())))
        .service(UserReadServiceServer::new(UserReads(behind.clone())))
        .service(UserAdminServiceServer::new(UserAdmin(behind.clone())))
        .service(ClientReadServiceServer::new(ClientReads(behind.clone())))
        .service(ClientAdminServiceServer::new(ClientAdmin(behind.clone())))
        .service(KeyReadServiceServer::new(KeyReads(behind.clone())))
        .service(KeyAdminServiceServer::new(KeyAdmin(behind)))
        .descriptors(proto::DESCRIPTORS);
    let upkeep = Upkeep {
        keys_every: config.signing.look_every,
        sweep_every: config.sweep.interval,
        batch: config.sweep.batch,
    };
    lifecycle.spawn("upkeep", upkeep.run(Arc::clone(&auth), lifecycle.clone()));
    // Also when the task is cut off: the threads end with it.
    let close = CloseOnDrop(pool);
    lifecycle.spawn("grpc", async move {
        let served = server.serve(listeners.grpc).await;
        drop(close);
        // Its log is in the store.
        log_in_use.stopped().await;
        opened.close().await;
        served
    });
    readiness.ready();
    Ok(Running { address, feed: feed_address, auth })
}

struct CloseOnDrop(HashingPool);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What the configuration names files for.
struct Files {
    master_key: SealingKey,
    recipients: BTreeMap<String, RecipientPublicKey>,
}

impl Files {
    fn read(config: &Config) -> Result<Self, StartError> {
        let path = &config.signing.master_key;
        let master_key = secret::read(path).map_err(StartError::MasterKeyFile)?;
        let master_key = master_key.text().map_err(StartError::MasterKeyFile)?;
        let master_key = SealingKey::master(master_key)
            .map_err(|source| StartError::MasterKey { path: path.clone(), source })?;
        let mut recipients = BTreeMap::new();
        let first_party = recipient("first_party.encrypt_to", &config.first_party.encrypt_to)?;
        recipients.insert(config.first_party.audience.clone(), first_party);
        for (name, audience) in &config.audience {
            if let Some(path) = &audience.encrypt_to {
                recipients.insert(name.clone(), recipient(&format!("audience.{name}.encrypt_to"), path)?);
            }
        }
        Ok(Self { master_key, recipients })
    }
}

fn recipient(setting: &str, path: &Path) -> Result<RecipientPublicKey, StartError> {
    let json = std::fs::read_to_string(path).map_err(|source| StartError::RecipientFile {
        setting: setting.to_owned(),
        path: path.to_owned(),
        source,
    })?;
    RecipientPublicKey::from_jwk_json(&json).map_err(|source| StartError::Recipient {
        setting: setting.to_owned(),
        path: path.to_owned(),
        source,
    })
}

/// A hash that nothing matches: its output is random, not derived.
fn nobody(entropy: &SharedEntropy) -> PasswordHash {
    let (mut salt, mut output) = ([0; 16], [0; 32]);
    entropy.fill(&mut salt);
    entropy.fill(&mut output);
    PasswordHash::new(salt, &output)
}

fn settings(
    config: &Config,
    recipients: BTreeMap<String, RecipientPublicKey>,
) -> Result<Settings, StartError> {
    Ok(Settings {
        issuer: config.issuer.clone(),
        access_lifetime: config.token.access_lifetime,
        longest_life: config.longest_life(),
        proof_lifetime: config.token.proof_lifetime,
        first_party: Audience::parse(&config.first_party.audience)?,
        recipients,
        refresh: config.refresh_policy(),
        registration_open: config.registration.open,
        passwords: config.password_rules(),
        throttle: config.throttle_policy(),
    })
}
