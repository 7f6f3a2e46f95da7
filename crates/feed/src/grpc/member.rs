//! A service replica's part in the feed: a thread of its own with its own port and its own way to the log.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chassis::{
    clock::SharedClock,
    config,
    entropy::SharedEntropy,
    grpc::server::{ServeError, Server},
    lifecycle::{Lifecycle, Readiness},
    tls::Identity,
};
use futures_util::future::BoxFuture;
use opentelemetry::{KeyValue, metrics::Meter};
use proto::feed::v1::{
    confirm_service_server::ConfirmServiceServer, feed_read_service_server::FeedReadServiceServer,
    feed_service_server::FeedServiceServer,
};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Feed, clock,
    peers::Replicas,
    random,
    service::{Confirms, Places, Reads, Watches, access},
};
use crate::{
    Life, Log,
    driver::{
        Clock,
        serving::{Parts, Serving, View, serve},
    },
    replica::{Misconduct, Settings},
};

/// Opens the way to the log, within the runtime of the thread that will use it.
pub type OpenLog = Box<dyn FnOnce() -> BoxFuture<'static, Arc<dyn Log>> + Send>;

/// Who takes part.
pub struct Membership {
    /// The service's name, in certificates and in the access table.
    pub name: &'static str,
    pub settings: Feed,
    pub identity: Identity,
    /// Who else may watch.
    pub access: config::Access,
    pub clock: SharedClock,
    pub entropy: SharedEntropy,
    pub open_log: OpenLog,
}

/// Why it does not.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the thread of the feed cannot be started: {0}")]
    Thread(#[source] std::io::Error),
    #[error("the thread of the feed has ended")]
    Ended,
}

/// How long the last connections have to go back to their pool.
const GIVE_BACK: Duration = Duration::from_millis(100);

/// Takes part until the lifecycle stops: then everything is handed over first. The replica is ready after its first beat,
/// which is a condition of the process being ready.
pub async fn start(
    membership: Membership,
    listener: TcpListener,
    lifecycle: &Lifecycle,
) -> Result<Serving, StartError> {
    let readiness = lifecycle.readiness("feed");
    let listener = listener.into_std().map_err(StartError::Thread)?;
    let address = listener.local_addr().map_err(StartError::Thread)?;
    let (started, serving) = oneshot::channel();
    let life = lifecycle.clone();
    let body = move || -> Result<(), Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            let ended = life.ended();
            let work = take_part(membership, listener, address, life, readiness, started);
            ended.run_until_cancelled(work).await.unwrap_or(Ok(()))
        })
    };
    lifecycle.spawn_thread("feed", body).map_err(StartError::Thread)?;
    serving.await.map_err(|_| StartError::Ended)
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the feed cannot begin: {0}")]
    Io(#[from] std::io::Error),
    #[error("feed.advertise: must be set, for this machine has no address towards others: {0}")]
    Address(#[source] std::io::Error),
    #[error("the feed's server: {0}")]
    Server(#[from] ServeError),
}

async fn take_part(
    membership: Membership,
    listener: TcpListener,
    address: SocketAddr,
    lifecycle: Lifecycle,
    readiness: Readiness,
    started: oneshot::Sender<Serving>,
) -> Result<(), Failed> {
    let Membership { name, settings, identity, access: admitted, clock: process_clock, entropy, open_log } =
        membership;
    let advertised = match settings.advertise.as_str() {
        "" => {
            let scheme = if identity.client_config().is_some() { "https" } else { "http" };
            format!("{scheme}://{}", reachable(address).map_err(Failed::Address)?)
        }
        advertised => advertised.to_owned(),
    };
    let clock = clock(process_clock);
    let peers = Replicas {
        name,
        identity: identity.clone(),
        lifecycle: lifecycle.clone(),
        channels: Default::default(),
    };
    let (serving, work) = serve(Parts {
        settings: Settings { lease: settings.lease, address: advertised, variant: settings.variant },
        life: Life(random(&entropy)),
        log: open_log().await,
        peers: Arc::new(peers),
        clock: Arc::clone(&clock),
    });
    show(&lifecycle.metrics().meter(), name, &serving, clock);
    let watches = Watches {
        serving: serving.clone(),
        places: Places::default(),
        lifecycle: lifecycle.clone(),
        hello_within: settings.lease,
    };
    let handed_over = CancellationToken::new();
    let server = Server::new("feed", &identity, access(name), lifecycle.clone())
        .settings(&port(address))
        .admit(&admitted)
        .until(handed_over.clone())
        .service(FeedServiceServer::new(watches))
        .service(FeedReadServiceServer::new(Reads(serving.clone())))
        .service(ConfirmServiceServer::new(Confirms(serving.clone())))
        .serve(listener);
    let (draining, told) = (lifecycle.draining(), serving.clone());
    let views = serving.views();
    // Nobody may wait for it any more: the process stops.
    let _ = started.send(serving);
    let replica = async {
        tokio::select! {
            () = work => {}
            () = say_ready(views, &readiness) => {}
        }
        handed_over.cancel();
    };
    // Not as soon as the process begins to stop: until it refuses connections it is asked, and goes on having the right to answer.
    let stop = async {
        draining.cancelled().await;
        told.terminate();
    };
    let (served, (), ()) = tokio::join!(server, replica, stop);
    served?;
    // Connections go back to their pool by tasks of this thread, and whoever closes the pool wants them whole.
    tokio::time::sleep(GIVE_BACK).await;
    Ok(())
}

/// A connection has no age: one that is cut off takes a lease along that nobody has given back, and endings wait for it.
fn port(address: SocketAddr) -> config::Server {
    config::Server { max_connection_age: Duration::MAX, ..config::Server::on(address) }
}

/// Where others reach a listener: at its address, or at the one that this machine has towards them. Nothing is sent.
fn reachable(listens: SocketAddr) -> std::io::Result<SocketAddr> {
    if !listens.ip().is_unspecified() {
        return Ok(listens);
    }
    // A connected datagram socket has the address that a packet to there would have: RFC 5737's and RFC 3849's are nobody's.
    let (any, elsewhere) = match listens {
        SocketAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9"),
        SocketAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9"),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(elsewhere)?;
    Ok(SocketAddr::new(socket.local_addr()?.ip(), listens.port()))
}

/// Never ends.
async fn say_ready(mut views: tokio::sync::watch::Receiver<View>, readiness: &Readiness) {
    let mut were_apart = false;
    loop {
        let View { is_ready, clocks_apart, .. } = *views.borrow_and_update();
        match is_ready {
            true => readiness.ready(),
            false => readiness.not_ready("the log of changes has not answered a beat yet"),
        }
        if clocks_apart != std::mem::replace(&mut were_apart, clocks_apart) {
            match clocks_apart {
                true => tracing::error!(
                    "this machine's clock and the database's are more than 10 minutes apart: what is ended here may be \
                     forgotten before it has expired"
                ),
                false => tracing::info!("this machine's clock and the database's agree again"),
            }
        }
        if views.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn show(meter: &Meter, name: &'static str, serving: &Serving, clock: Clock) {
    let gauge = |what: &str, description: &'static str, of: fn(&View, &Clock) -> Option<f64>| {
        let (serving, clock) = (serving.clone(), Arc::clone(&clock));
        meter
            .f64_observable_gauge(format!("latchkey_{name}_feed_{what}"))
            .with_description(description)
            .with_callback(move |observer| {
                if let Some(value) = of(&serving.view(), &clock) {
                    observer.observe(value, &[]);
                }
            })
            .build();
    };
    gauge("position", "The last change that this replica has applied.", |view, _| {
        Some(view.applied.number as f64)
    });
    gauge("remembered", "Things that are remembered as ended.", |view, _| Some(view.remembered as f64));
    gauge("watchers", "Connections of guards.", |view, _| Some(view.watchers as f64));
    gauge("leases", "Leases that guards may still answer under.", |view, _| Some(view.leases as f64));
    gauge("right_seconds", "For how long this replica may still answer from memory.", |view, clock| {
        Some(view.right.map_or(0.0, |right| right.since(clock.moment()).as_secs_f64()))
    });
    gauge("staleness_seconds", "What was committed longer ago, this replica has applied.", |view, _| {
        view.staleness.map(|staleness| staleness.as_secs_f64())
    });
    let serving = serving.clone();
    meter
        .u64_observable_counter(format!("latchkey_{name}_feed_misconduct"))
        .with_description("What watchers did that do not keep to the protocol or do not keep up.")
        .with_callback(move |observer| {
            let noted = serving.view().misconduct;
            for what in Misconduct::EVERY {
                observer.observe(noted.count(what), &[KeyValue::new("what", what.name())]);
            }
        })
        .build();
}
