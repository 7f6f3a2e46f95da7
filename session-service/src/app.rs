//! Puts the service together: the only file that names the stores' adapters, the peer's, and the chassis's server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use chassis::clock::{SharedClock, SystemClock};
use chassis::entropy::{Entropy, SharedEntropy, SystemEntropy};
use chassis::grpc::client::{ChannelError, channel};
use chassis::grpc::server::{Server, bind};
use chassis::lifecycle::{Lifecycle, Readiness};
use chassis::tls::{Identity, TlsError};
use chassis::{operations, process, status, telemetry};
use proto::session::v1::attribute_service_server::AttributeServiceServer;
use proto::session::v1::session_admin_service_server::SessionAdminServiceServer;
use proto::session::v1::session_read_service_server::SessionReadServiceServer;
use proto::session::v1::session_service_server::SessionServiceServer;
use token::ExpectError;
use tokio::net::TcpListener;

use crate::config::{Backend, Config, config_from};
use crate::flows::{Proofs, Sessions};
use crate::peers::KeySets;
use crate::peers::auth::AuthKeys;
use crate::rpc::access::ACCESS;
use crate::rpc::{self, Admin, Attributes, ByPublicId, BySecret};
use crate::store::SessionStore;
use crate::store::memory::MemoryStore;
use crate::store::postgres::{self, PostgresStore};
use crate::store::redis::{self, RedisStore};
use crate::store::sqlite::{self, SqliteStore};
use crate::upkeep;

/// What the process says it is, in certificates, logs and health answers.
pub const NAME: &str = "session";

/// The command line, the same for the service's own binary and for `latchkey serve session`.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "session-service",
    version,
    about = "Sessions: made from a login proof, found by a secret, ended at once"
)]
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
    /// `None`: auth-service's, over gRPC.
    pub keys: Option<Arc<dyn KeySets>>,
}

impl Injected {
    /// The real things.
    pub fn system() -> Self {
        Self { clock: SystemClock::shared(), entropy: SystemEntropy::shared(), keys: None }
    }
}

/// A service that runs on its lifecycle.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
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
    #[error(transparent)]
    Redis(#[from] redis::OpenError),
    #[error("store.url names no store")]
    StoreUrl,
    #[error("peers.auth: {0}")]
    Peer(#[from] ChannelError),
    #[error("proof: {0}")]
    Proof(#[from] ExpectError),
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
}

/// Runs the whole process.
pub fn run(args: Args) -> ExitCode {
    process::start("session-service", || {
        let config = config_from(args.config.as_deref())?.config;
        telemetry::init(&config.log, NAME);
        if args.check_config {
            Identity::load(&config.tls)?;
            read_files(&config)?;
            println!("session-service would listen on {} (gRPC)", config.server.listen);
            println!("session-service would listen on {} (operations)", config.operations.listen);
            return Ok(ExitCode::SUCCESS);
        }
        process::serve(config.shutdown, |lifecycle| async move {
            // Ports first: one that is taken is told before the database is touched.
            let listener = bind("server.listen", config.server.listen)?;
            let probes = bind("operations.listen", config.operations.listen)?;
            // Probes too: the store may have to be waited for.
            operations::serve(probes, &lifecycle);
            Ok(start(config, Injected::system(), &lifecycle, listener).await?)
        })
    })
}

/// Those that the store's settings name. The store itself is not asked.
fn read_files(config: &Config) -> Result<(), StartError> {
    match config.backend().ok_or(StartError::StoreUrl)? {
        Backend::Memory | Backend::Sqlite(_) => Ok(()),
        Backend::Postgres(settings) => Ok(settings.read_files()?),
        Backend::Redis(settings) => Ok(settings.read_files()?),
    }
}

/// Opens the store and serves on `listener` until the lifecycle drains.
pub async fn start(
    config: Config,
    injected: Injected,
    lifecycle: &Lifecycle,
    listener: TcpListener,
) -> Result<Running, StartError> {
    let Injected { clock, entropy, keys } = injected;
    let address = listener.local_addr().map_err(StartError::Listener)?;
    let readiness = lifecycle.readiness("store");
    let identity = Identity::load(&config.tls)?;
    let keys = match keys {
        Some(keys) => keys,
        None => Arc::new(AuthKeys::new(channel(&config.peers.auth.endpoints, &identity, "auth", lifecycle)?)),
    };
    let proofs = Proofs::new(keys, config.expect()?, Arc::clone(&clock));
    let store = Opened::open(config.backend().ok_or(StartError::StoreUrl)?, lifecycle, &readiness).await?;
    let incarnation = store.incarnation(&*entropy);
    let lifetimes = config.sessions.lifetimes();
    let sessions =
        Arc::new(Sessions::new(store.shared(), proofs, clock, entropy, lifetimes, config.sessions.limit()));
    rpc::show_figures(&lifecycle.metrics().meter(), sessions.figures());

    let server = Server::new(NAME, &identity, ACCESS, lifecycle.clone())
        .settings(&config.server)
        .service(SessionServiceServer::new(BySecret(Arc::clone(&sessions))))
        .service(SessionReadServiceServer::new(ByPublicId(Arc::clone(&sessions))))
        .service(SessionAdminServiceServer::new(Admin(Arc::clone(&sessions))))
        .service(AttributeServiceServer::new(Attributes(Arc::clone(&sessions))))
        .descriptors(proto::DESCRIPTORS);
    let server = match incarnation {
        Some(id) => server.incarnation(id),
        None => server,
    };
    lifecycle.spawn("upkeep", upkeep::run(Arc::clone(&sessions), config.sweep.interval, lifecycle.clone()));
    lifecycle.spawn("grpc", async move {
        let served = server.serve(listener).await;
        // Nobody can be active any more: what is written now is all there was.
        if let Err(error) = sessions.flush_activity().await {
            tracing::warn!(error = %status::chain(&error), "the last activity could not be written");
        }
        store.close().await;
        served
    });
    readiness.ready();
    Ok(Running { address })
}

/// The store that was asked for.
enum Opened {
    Memory(Arc<MemoryStore>),
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
    Redis(RedisStore),
}

impl Opened {
    async fn open(
        backend: Backend,
        lifecycle: &Lifecycle,
        readiness: &Readiness,
    ) -> Result<Opened, StartError> {
        match backend {
            Backend::Memory => {
                tracing::warn!("sessions are kept in memory: they end with this process");
                Ok(Opened::Memory(Arc::new(MemoryStore::new())))
            }
            Backend::Sqlite(settings) => Ok(Opened::Sqlite(SqliteStore::open(&settings).await?)),
            Backend::Postgres(settings) => {
                Ok(Opened::Postgres(PostgresStore::open(&settings, readiness).await?))
            }
            Backend::Redis(settings) => Ok(Opened::Redis(RedisStore::open(&settings, lifecycle).await?)),
        }
    }

    fn shared(&self) -> Arc<dyn SessionStore> {
        match self {
            Opened::Memory(store) => Arc::clone(store) as Arc<dyn SessionStore>,
            Opened::Sqlite(store) => Arc::new(store.clone()),
            Opened::Postgres(store) => Arc::new(store.clone()),
            Opened::Redis(store) => Arc::new(store.clone()),
        }
    }

    /// Of a store that is this process's own and ends with it.
    fn incarnation(&self, entropy: &dyn Entropy) -> Option<u128> {
        matches!(self, Opened::Memory(_)).then(|| {
            let mut id = [0; 16];
            entropy.fill(&mut id);
            u128::from_ne_bytes(id)
        })
    }

    async fn close(&self) {
        match self {
            // Redis is left with the process.
            Opened::Memory(_) | Opened::Redis(_) => {}
            Opened::Sqlite(store) => store.close().await,
            Opened::Postgres(store) => store.close().await,
        }
    }
}

/// Brings the schema up to this version and names the migrations that were missing. `None`: a SQLite file is brought there by every start, and others have none.
pub async fn migrate(config: &Config) -> Result<Option<Vec<String>>, StartError> {
    match config.backend() {
        Some(Backend::Postgres(settings)) => Ok(Some(PostgresStore::migrate(&settings).await?.migrations)),
        _ => Ok(None),
    }
}
