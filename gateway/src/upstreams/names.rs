//! Addresses behind a name, asked for again and again: a headless Service's replicas come and go.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

const EVERY: Duration = Duration::from_secs(5);

/// Who knows addresses.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// Of `host:port`, every address.
    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>>;
}

/// How names are followed.
#[derive(Clone)]
pub struct Names {
    pub resolver: Arc<dyn Resolve>,
    pub every: Duration,
}

impl Names {
    /// As the system resolves them.
    pub fn system() -> Names {
        Names { resolver: Arc::new(System), every: EVERY }
    }
}

struct System;

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host(name).await?.collect())
    }
}
