//! The addresses behind a name, again and again: what a headless Service answers changes with its replicas.
//!
//! A name that cannot be looked up, or has no addresses just now, takes nothing away: the replicas that are known
//! are judged by their health, and a DNS server that is down is no reason to let go of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ProtocolConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::endpoint::Place;
use super::roster::Roster;

/// For one lookup, whatever servers and attempts it takes.
const PATIENCE: Duration = Duration::from_secs(2);
/// After a lookup that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// Who knows the addresses of names.
pub trait Resolve: Send + Sync + 'static {
    /// Every address of `name`.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>>;
}

/// A name could not be looked up.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be looked up: {0}")]
pub struct ResolveError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl ResolveError {
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ResolveError {
        ResolveError(source.into())
    }
}

/// How names among the endpoints become addresses.
#[derive(Clone)]
pub struct Resolution {
    /// Who is asked instead of DNS.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// How long an answer is relied on.
    pub every: Duration,
}

impl Default for Resolution {
    fn default() -> Resolution {
        Resolution { resolver: None, every: Duration::from_secs(5) }
    }
}

impl Resolution {
    /// Who is asked for names that are looked up at `server`, or where `/etc/resolv.conf` says.
    pub(super) fn resolver(&self, server: Option<SocketAddr>) -> Result<Arc<dyn Resolve>, NetError> {
        match &self.resolver {
            Some(injected) => Ok(injected.clone()),
            None => Ok(Arc::new(Dns::new(server)?)),
        }
    }
}

/// DNS, without a cache: the interval decides how old an answer may be.
struct Dns(TokioResolver);

impl Dns {
    fn new(server: Option<SocketAddr>) -> Result<Dns, NetError> {
        let mut builder = match server {
            None => TokioResolver::builder_tokio()?,
            Some(server) => {
                let at_port = |protocol| {
                    let mut connection = ConnectionConfig::new(protocol);
                    connection.port = server.port();
                    connection
                };
                let connections = vec![at_port(ProtocolConfig::Udp), at_port(ProtocolConfig::Tcp)];
                let server = NameServerConfig::new(server.ip(), true, connections);
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = PATIENCE / 2;
        builder.build().map(Dns)
    }
}

impl Resolve for Dns {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            match self.0.lookup_ip(name).await {
                Ok(found) => Ok(found.iter().collect()),
                Err(error) if error.is_no_records_found() => Ok(Vec::new()),
                Err(error) => Err(ResolveError::new(error)),
            }
        })
    }
}

/// One name among a channel's endpoints.
pub(super) struct Name {
    pub(super) number: usize,
    pub(super) place: Place,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) every: Duration,
}

impl Name {
    /// Follows the name; `add` gets every address it has, each time.
    pub(super) async fn follow(self, roster: &Roster, add: impl Fn(Place)) {
        let mut first = true;
        loop {
            let found = tokio::time::timeout(PATIENCE, self.resolver.resolve(&self.place.host)).await;
            let places: Result<Vec<Place>, String> = match found {
                Err(_) => Err(format!("no answer about the name within {PATIENCE:?}")),
                Ok(Err(error)) => Err(error.to_string()),
                Ok(Ok(found)) if found.is_empty() => Err("the name has no addresses".to_owned()),
                Ok(Ok(found)) => Ok(found.into_iter().map(|address| self.at(address)).collect()),
            };
            let pause = if places.is_ok() { self.every } else { self.every.min(AGAIN) };
            match places {
                Ok(places) => {
                    // First those that come, so that there is never nobody.
                    places.iter().cloned().for_each(&add);
                    roster.keep(self.number, &places);
                    roster.resolved(first, None);
                }
                Err(trouble) => {
                    tracing::debug!(name = self.place.host, trouble, "a name was not resolved");
                    roster.resolved(first, Some(trouble));
                }
            }
            first = false;
            tokio::time::sleep(pause).await;
        }
    }

    fn at(&self, address: IpAddr) -> Place {
        Place { host: address.to_string(), port: self.place.port }
    }
}
