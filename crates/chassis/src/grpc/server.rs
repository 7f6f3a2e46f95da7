//! The one builder of gRPC servers: whoever uses it gets mutual TLS, the access table, deadlines, limits, health,
//! reflection and draining, and cannot forget one.
//!
//! The accept loop is our own, over hyper. tonic's closes a connection that has reached its age without warning when
//! a grace is set, knows nothing of a handshake's duration, and cannot cut off what outlasts the drain.

mod bind;
mod connection;
mod door;
mod figures;
mod limit;
mod methods;

use std::convert::Infallible;
use std::sync::Arc;

use http::HeaderValue;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

pub(crate) use bind::after_accept_error;
pub use bind::{BindError, bind};

use self::figures::Instruments;
use self::methods::{Methods, Services};
use super::AccessTable;
use crate::config;
use crate::lifecycle::{Lifecycle, Readiness};
use crate::tls::Identity;

/// A server being put together.
#[must_use = "a server listens once `serve` is awaited"]
pub struct Server {
    name: &'static str,
    identity: Identity,
    access: AccessTable,
    admitted: Vec<String>,
    lifecycle: Lifecycle,
    settings: config::Server,
    services: Services,
    names: Vec<&'static str>,
    descriptors: Vec<&'static [u8]>,
    listening: Readiness,
    incarnation: Option<HeaderValue>,
    draining: CancellationToken,
}

/// Why a server could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the descriptors for reflection cannot be read: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
    #[error("the listener failed: {0}")]
    Listener(#[from] std::io::Error),
}

impl Server {
    /// A server called `name` (`auth`, `session`, …) that answers what `access` lists. It is a condition of the
    /// process being ready.
    pub fn new(name: &'static str, identity: &Identity, access: AccessTable, lifecycle: Lifecycle) -> Server {
        Server {
            name,
            identity: identity.clone(),
            access,
            admitted: Vec::new(),
            listening: lifecycle.readiness("grpc"),
            draining: lifecycle.draining(),
            lifecycle,
            settings: config::Server::on(std::net::SocketAddr::from(([127, 0, 0, 1], 0))),
            services: Services::default(),
            names: Vec::new(),
            descriptors: Vec::new(),
            incarnation: None,
        }
    }

    /// Limits and ages other than the defaults. The address is not looked at: the listener has it.
    pub fn settings(mut self, settings: &config::Server) -> Server {
        self.settings = settings.clone();
        self
    }

    /// Callers that count as [`super::ADMITTED`].
    pub fn admit(mut self, access: &config::Access) -> Server {
        self.admitted.clone_from(&access.services);
        self
    }

    /// Adds a service.
    pub fn service<S>(mut self, service: S) -> Server
    where
        S: tower::Service<
                http::Request<Body>,
                Response = http::Response<Body>,
                Error = Infallible,
                Future = methods::Answer,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.names.push(S::NAME);
        self.services.add(service);
        self
    }

    /// Adds a serialized `FileDescriptorSet` for reflection. Services that are not served are not shown.
    pub fn descriptors(mut self, descriptors: &'static [u8]) -> Server {
        self.descriptors.push(descriptors);
        self
    }

    /// For a process whose state is in its own memory and ends with it: `id`, random at each start, is told with every
    /// health check, so that callers notice when there are two such processes where they take them for replicas.
    pub fn incarnation(mut self, id: u128) -> Server {
        self.incarnation = HeaderValue::try_from(format!("{id:032x}")).ok();
        self
    }

    /// Drains when `draining` is cancelled, and not when the lifecycle drains: for a server that others need until something
    /// was handed over to them.
    pub fn until(mut self, draining: CancellationToken) -> Server {
        self.draining = draining;
        self
    }

    /// Serves until the lifecycle drains; resolves when every connection is closed.
    pub async fn serve(mut self, listener: TcpListener) -> Result<(), ServeError> {
        self.add_health();
        self.add_reflection()?;
        let instruments = Instruments::new(&self.lifecycle.metrics().meter(), self.name);
        let methods = Methods::new(&self.services, self.access, self.admitted, &instruments);
        let unlisted = instruments.of("unlisted");
        let door = Arc::new(door::Door::new(methods, unlisted, &self.settings, self.incarnation));
        let connections = Arc::new(connection::Connections {
            acceptor: self.identity.server_config().map(TlsAcceptor::from),
            identity: self.identity,
            door,
            settings: self.settings,
            lifecycle: self.lifecycle.clone(),
            draining: self.draining.clone(),
            open: TaskTracker::new(),
            accepted: self
                .lifecycle
                .metrics()
                .meter()
                .u64_counter(format!("latchkey_{}_connections", self.name))
                .with_description("Connections that were accepted and shook hands.")
                .build(),
        });
        let address = listener.local_addr()?;
        tracing::info!(%address, tls = connections.acceptor.is_some(), "listening");
        self.listening.ready();

        loop {
            tokio::select! {
                () = self.draining.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => connection::begin(&connections, stream, peer),
                    Err(error) => after_accept_error(&error).await,
                },
            }
        }
        // Closed before draining: who connects now is told at once that nobody listens, and asks another replica.
        drop(listener);
        connections.open.close();
        connections.open.wait().await;
        Ok(())
    }

    /// `grpc.health.v1` says of each service, and of the whole (`""`), what readiness says.
    fn add_health(&mut self) {
        let (reporter, service) = tonic_health::server::health_reporter();
        self.services.add(service);
        let names: Vec<&'static str> = self.names.iter().copied().chain([""]).collect();
        let changes = self.lifecycle.readiness_changes();
        self.lifecycle.spawn_support("grpc health", report_health(reporter, names, changes));
    }

    fn add_reflection(&mut self) -> Result<(), ServeError> {
        if self.descriptors.is_empty() {
            return Ok(());
        }
        // `v1alpha` too, which is all that grpcio and older tools speak. The messages are the same.
        let (current, former) = (self.reflection(), self.reflection());
        self.services.add(current.build_v1()?);
        self.services.add(former.build_v1alpha()?);
        Ok(())
    }

    fn reflection(&self) -> tonic_reflection::server::Builder<'static> {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        for descriptors in &self.descriptors {
            builder = builder.register_encoded_file_descriptor_set(descriptors);
        }
        for service in &self.names {
            builder = builder.with_service_name(*service);
        }
        builder
    }
}

async fn report_health(
    reporter: HealthReporter,
    names: Vec<&'static str>,
    mut changes: watch::Receiver<bool>,
) {
    loop {
        let status = match *changes.borrow_and_update() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for name in &names {
            reporter.set_service_status(name, status).await;
        }
        // The life holds the other end and this task, so it is the life that goes first.
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
