//! Puts the gateway together: the only file that names adapters.

mod listen;
mod metrics;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use chassis::clock::{SharedClock, SystemClock};
use chassis::entropy::{SharedEntropy, SystemEntropy};
use chassis::grpc::client::ChannelError;
use chassis::grpc::server::{BindError, bind};
use chassis::lifecycle::Lifecycle;
use chassis::tls::{Identity, TlsError};
use chassis::{operations, process, telemetry};
use guard::connect::{RecipientKeyError, recipient_keys};
use guard::{Endings, Settings, TokenGuard};
use token::{Expect, ExpectError};

use crate::config::Config;
pub use crate::config::config_from;
use crate::cookies::Cookies;
use crate::layers::address::TrustedProxies;
use crate::layers::cross_site::Sites;
use crate::layers::identity::Identity as IdentityHeaders;
use crate::peers::Peers;
use crate::peers::dial::{Endpoints, dial};
use crate::peers::keys::AuthKeys;
use crate::proxy::counters::{self, Counters};
use crate::proxy::worker::{Surface, Worker, WorkerError};
use crate::reload::RouteFile;
use crate::roles::RoleChanges;
use crate::routing::{OwnPaths, RouteFileError, load};
use crate::state::{Guard, Shared};
use crate::upstreams::{Fleet, Names};

/// What the process says it is, in certificates and logs.
pub const NAME: &str = "gateway";

/// The command line, the same for the gateway's own binary and for `latchkey serve gateway`.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "gateway", version, about = "Routes, cookies, HTTP contracts and the reverse proxy")]
pub struct Args {
    /// The configuration file. Without it: the defaults and the environment.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read everything, the route file too, open nothing, and say what it would listen on.
    #[arg(long)]
    pub check_config: bool,
}

/// What a test replaces.
pub struct Injected {
    pub clock: SharedClock,
    pub entropy: SharedEntropy,
    /// Called once in each thread. `None`: the services, over gRPC.
    pub peers: Option<Arc<dyn Fn() -> Peers + Send + Sync>>,
    /// `None`: the feeds of auth-service and policy-service.
    pub changes: Option<Changes>,
    /// Who knows the addresses of applications.
    pub names: Names,
}

impl Injected {
    /// The real things.
    pub fn system() -> Self {
        Self {
            clock: SystemClock::shared(),
            entropy: SystemEntropy::shared(),
            peers: None,
            changes: None,
            names: Names::system(),
        }
    }
}

/// What the services change, as it is heard here.
#[derive(Clone)]
pub struct Changes {
    pub endings: Arc<dyn Endings>,
    pub roles: Arc<dyn RoleChanges>,
}

/// A gateway that runs on its lifecycle.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pub public: SocketAddr,
    /// None where there is no internal listener.
    pub internal: Option<SocketAddr>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Routes(#[from] RouteFileError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("token.keys: {0}")]
    RecipientKey(#[from] RecipientKeyError),
    #[error("token: {0}")]
    Expect(#[from] ExpectError),
    #[error("peers: {0}")]
    Peers(#[from] ChannelError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("a thread could not be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// Runs the whole process.
pub fn run(args: Args) -> ExitCode {
    process::start(NAME, || {
        let config = config_from(args.config.as_deref())?.config;
        telemetry::init(&config.log, NAME);
        if args.check_config {
            return Ok(check(&config)?);
        }
        // Requests are served by threads of their own; what is left to this one is little.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        process::serve_on(runtime, config.shutdown, |lifecycle| async move {
            let probes = bind("operations.listen", config.operations.listen)?;
            let running = start(config, Injected::system(), &lifecycle).await?;
            operations::serve(probes, &lifecycle);
            let internal = running.internal.map(tracing::field::display);
            tracing::info!(address = %running.public, internal, "listening");
            Ok(running)
        })
    })
}

/// Reads everything and opens nothing.
fn check(config: &Config) -> Result<ExitCode, StartError> {
    let routes = load(&config.routes, OwnPaths::new(&config.own.prefix))?;
    Identity::load(&config.tls)?;
    recipient_keys(&config.token.keys)?;
    println!("gateway would listen on {} (public, {} threads)", config.server.listen, config.workers());
    if let Some(internal) = config.internal.listen {
        println!("gateway would listen on {internal} (internal)");
    }
    println!("gateway would listen on {} (operations)", config.operations.listen);
    println!("gateway would serve {} routes to {} upstreams", routes.len(), routes.upstreams().len());
    Ok(ExitCode::SUCCESS)
}

/// Judges everything that can be judged, then opens the listeners, then serves until the lifecycle drains.
pub async fn start(config: Config, injected: Injected, lifecycle: &Lifecycle) -> Result<Running, StartError> {
    let Injected { clock, entropy, peers, changes, names } = injected;
    let listening = lifecycle.readiness("listeners");
    let (file, routes) = RouteFile::open(&config.routes, &config.own.prefix, lifecycle)?;
    let identity = Identity::load(&config.tls)?;
    let settings = guard_settings(&config)?;

    let Changes { endings, roles } = match changes {
        Some(changes) => changes,
        None => watch::changes(&config, &identity, &clock, &entropy, lifecycle)?,
    };
    let dialler = Dialler { config: config.clone(), identity, lifecycle: lifecycle.clone(), injected: peers };
    let own = dialler.dial()?;
    let keys = Arc::new(AuthKeys::new(Arc::clone(&own.auth), Arc::clone(&entropy)));
    let guard: Guard = TokenGuard::new(settings, keys, endings, IdentityHeaders::prepare);

    let public = listen::public(config.server.listen, config.workers())?;
    let internal =
        config.internal.listen.map(|address| listen::one("internal.listen", address)).transpose()?;
    let running =
        Running { public: public.address, internal: internal.as_ref().map(|internal| internal.address) };

    let shared = Arc::new(Shared {
        cookies: Cookies::new(config.public_url.is_https(), &config.own.prefix),
        sites: Sites::new(config.public_url.origin().clone(), config.origins.clone()),
        trusted: TrustedProxies::new(config.trusted_proxies.iter().map(|network| network.0).collect()),
        guard,
        roles,
        clock,
        entropy,
        config,
    });
    let keeper = Arc::clone(&shared);
    lifecycle.spawn_support("signing keys", async move {
        keeper.guard.refresh_keys_loop().await;
    });

    let fleet = Fleet::open(routes, names, lifecycle).await;
    lifecycle.spawn_support("route file", file.follow(fleet.clone()));

    let mut all = Vec::new();
    let listeners = public.sockets.into_iter().map(|socket| (Surface::Public, socket));
    let internals = internal.into_iter().flat_map(|internal| internal.sockets);
    for (number, (surface, listener)) in
        listeners.chain(internals.map(|socket| (Surface::Internal, socket))).enumerate()
    {
        let counters = Arc::new(Counters::default());
        all.push(Arc::clone(&counters));
        let worker = Worker {
            number,
            surface,
            listener,
            shared: Arc::clone(&shared),
            tables: fleet.tables(),
            counters,
            lifecycle: lifecycle.clone(),
        };
        let dialler = dialler.clone();
        lifecycle
            .spawn_thread(format!("worker-{number}"), move || {
                worker.run(|| dialler.dial().map_err(|error| WorkerError::Neighbour(error.to_string())))
            })
            .map_err(StartError::Thread)?;
    }
    let meter = lifecycle.metrics().meter();
    counters::publish(&meter, all);
    metrics::show_tokens(&meter, &shared);
    // The kernel completes connections from here on, also while a thread is still waking up.
    listening.ready();
    Ok(running)
}

/// How each thread gets its own channels to the services.
#[derive(Clone)]
struct Dialler {
    config: Config,
    identity: Identity,
    lifecycle: Lifecycle,
    injected: Option<Arc<dyn Fn() -> Peers + Send + Sync>>,
}

impl Dialler {
    /// Must run in the runtime that will use the channels.
    fn dial(&self) -> Result<Peers, ChannelError> {
        if let Some(injected) = &self.injected {
            return Ok(injected());
        }
        let peers = &self.config.peers;
        let endpoints = Endpoints {
            auth: &peers.auth.endpoints,
            session: &peers.session.endpoints,
            policy: &peers.policy.endpoints,
        };
        dial(endpoints, self.config.limits.check_timeout, &self.identity, &self.lifecycle)
    }
}

fn guard_settings(config: &Config) -> Result<Settings, StartError> {
    let token = &config.token;
    let expect = Expect::new(config.issuer(), &*token.audience, token.algorithms.clone(), token.leeway)?;
    let mut settings = Settings::new(expect);
    settings.recipient_keys = recipient_keys(&token.keys)?;
    settings.capacity = token.remembered;
    Ok(settings)
}
