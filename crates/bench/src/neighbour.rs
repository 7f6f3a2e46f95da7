//! Calling the services of a local stack as its gateway does.

use std::path::Path;

use chassis::{
    config::{Shutdown, Tls, TlsMode},
    grpc::client::{Channel, channel},
    lifecycle::Lifecycle,
    tls::Identity,
};

pub struct Neighbours {
    identity: Identity,
    life: Lifecycle,
}

impl Neighbours {
    /// With the certificates that `latchkey up` made.
    pub fn of(certificates: &Path) -> anyhow::Result<Neighbours> {
        let identity = Identity::load(&Tls {
            mode: TlsMode::Mutual,
            certificate: certificates.join("gateway.crt"),
            key: certificates.join("gateway.key"),
            authority: certificates.join("ca.crt"),
            domain: "latchkey.local".into(),
        })?;
        Ok(Neighbours { identity, life: Lifecycle::new(Shutdown::default()) })
    }

    /// A connection of its own. Within the runtime that uses it.
    pub fn channel(&self, url: &str, name: &str) -> anyhow::Result<Channel> {
        Ok(channel(&[url.to_owned()], &self.identity, name, &self.life)?)
    }
}
