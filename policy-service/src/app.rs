//! Puts the service together: the only file that names the store's adapter and the chassis's server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{SharedClock, SystemClock};
use chassis::entropy::{SharedEntropy, SystemEntropy};
use chassis::grpc::server::{Server, bind};
use chassis::lifecycle::{Lifecycle, Readiness};
use chassis::tls::{Identity, TlsError};
use chassis::{operations, process, telemetry};
use feed::grpc::{Membership, OpenLog};
use feed::log::{Log, postgres::PostgresLog};
use proto::policy::v1::check_service_server::CheckServiceServer;
use proto::policy::v1::policy_admin_service_server::PolicyAdminServiceServer;
use proto::policy::v1::policy_read_service_server::PolicyReadServiceServer;
use tokio::net::TcpListener;

use crate::config::{Config, config_from};
use crate::rpc::access::ACCESS;
use crate::rpc::{Admin, Behind, CheckCounts, Checks, Reads};
use crate::store::postgres::{self, PostgresStore};
use crate::store::sqlite::{self, SqliteStore};
use crate::store::{Entries, Store};

/// The longest that auth-service lets a token be good. So long it is remembered that the roles in older ones are of the past: how
/// long they are good here is another service's setting, and whoever copied it wrong would bring taken roles back.
const LONGEST_TOKEN: Duration = Duration::from_secs(24 * 60 * 60);

/// What the process says it is, in certificates, logs and health answers.
pub const NAME: &str = "policy";

/// The command line, the same for the service's own binary and for `latchkey serve policy`.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "policy-service",
    version,
    about = "Roles, grants and groups, and the checks that they decide"
)]
pub struct Args {
    /// The configuration file. Without it: the defaults and the environment.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read everything, open nothing, and say what it would listen on.
    #[arg(long)]
    pub check_config: bool,
}

/// What a test replaces. The clock is the feed's: nothing else here depends on the time.
#[derive(Debug, Clone)]
pub struct Injected {
    pub clock: SharedClock,
    pub entropy: SharedEntropy,
}

impl Injected {
    /// The real things.
    pub fn system() -> Self {
        Self { clock: SystemClock::shared(), entropy: SystemEntropy::shared() }
    }
}

/// Where it listens, bound.
pub struct Listeners {
    pub grpc: TcpListener,
    pub feed: TcpListener,
}

/// A service that runs on its lifecycle.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its feed is watched.
    pub feed: SocketAddr,
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
    #[error(transparent)]
    Feed(#[from] feed::grpc::StartError),
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
}

/// Runs the whole process.
pub fn run(args: Args) -> ExitCode {
    process::start("policy-service", || {
        let config = config_from(args.config.as_deref())?.config;
        telemetry::init(&config.log, NAME);
        if args.check_config {
            Identity::load(&config.tls)?;
            if let Some(settings) = config.store.postgres() {
                settings.read_files()?;
            }
            println!("policy-service would listen on {} (gRPC)", config.server.listen);
            println!("policy-service would listen on {} (feed)", config.feed.listen);
            println!("policy-service would listen on {} (operations)", config.operations.listen);
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
    let (store, open_log) = open(&config, &injected, &readiness).await?;
    let membership = Membership {
        name: NAME,
        settings: config.feed.clone(),
        identity: identity.clone(),
        access: config.access.clone(),
        clock: injected.clock,
        entropy: Arc::clone(&injected.entropy),
        open_log,
    };
    let feed = feed::grpc::start(membership, listeners.feed, lifecycle).await?;
    let log_in_use = feed.clone();
    let behind = Behind {
        store: Arc::clone(&store),
        entropy: injected.entropy,
        counts: CheckCounts::shown_on(&lifecycle.metrics().meter()),
        feed,
    };
    let server = Server::new(NAME, &identity, ACCESS, lifecycle.clone())
        .settings(&config.server)
        .admit(&config.access)
        .service(CheckServiceServer::new(Checks(behind.clone())))
        .service(PolicyReadServiceServer::new(Reads(behind.clone())))
        .service(PolicyAdminServiceServer::new(Admin(behind)))
        .descriptors(proto::DESCRIPTORS);
    lifecycle.spawn("grpc", async move {
        let served = server.serve(listeners.grpc).await;
        // Its log is in the store.
        log_in_use.stopped().await;
        store.close().await;
        served
    });
    readiness.ready();
    Ok(Running { address, feed: feed_address })
}

/// The store, and the way to the feed's log, which is in the same database.
async fn open(
    config: &Config,
    injected: &Injected,
    readiness: &Readiness,
) -> Result<(Arc<dyn Store>, OpenLog), StartError> {
    let entries = Entries {
        clock: Arc::clone(&injected.clock),
        entropy: Arc::clone(&injected.entropy),
        longest_token: LONGEST_TOKEN,
    };
    if let Some(settings) = config.store.postgres() {
        let store = PostgresStore::open(&settings, entries, readiness).await?;
        // Connections of its own, so that the feed does not wait for checks.
        let connections = chassis::postgres::apart(&settings)?;
        let open_log: OpenLog = Box::new(move || {
            Box::pin(async move { Arc::new(PostgresLog::new(connections())) as Arc<dyn Log> })
        });
        return Ok((Arc::new(store), open_log));
    }
    let file = config.store.sqlite().ok_or(StartError::StoreUrl)?;
    let store = SqliteStore::open(&file, entries).await?;
    let log: Arc<dyn Log> = Arc::new(store.log());
    Ok((Arc::new(store), Box::new(move || Box::pin(async move { log }))))
}

/// Brings the schema up to this version and names the migrations that were missing. `None`: a SQLite file is brought there by every start.
pub async fn migrate(config: &Config) -> Result<Option<Vec<String>>, StartError> {
    match config.store.postgres() {
        Some(settings) => Ok(Some(PostgresStore::migrate(&settings).await?.migrations)),
        None => Ok(None),
    }
}
