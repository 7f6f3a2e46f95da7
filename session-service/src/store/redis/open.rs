//! A start: what heals by waiting is waited for, and said; what does not heal stops the process with one clear line.

use std::io;

use chassis::lifecycle::Lifecycle;
use chassis::secret::SecretError;
use redis::RedisError;
use thiserror::Error;
use tokio::time::sleep;

use super::fitness::Unfit;
use super::link::{ASK_EVERY, Link};
use super::lookups::lookups;
use super::{RedisSettings, RedisStore};

/// Why a server cannot be the store.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("store.password_file: {0}")]
    Password(#[source] SecretError),
    #[error("store.url: the certificates in {path} cannot be read: {source}")]
    Authority {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("store.url: {0}")]
    Client(#[source] RedisError),
    #[error(
        "the Redis at {place} lets this service not in ({reason}): check the user in store.url, store.password_file, and what that user may do"
    )]
    Refused { place: String, reason: String },
    #[error("the Redis at {place} cannot keep sessions: {reason}")]
    Unfit { place: String, reason: String },
}

impl RedisStore {
    /// Waits until the server answers and is fit, and says on the condition `store` what it waits for. From then on the
    /// connection is watched, and made anew when it is lost, for as long as the process lives.
    pub async fn open(settings: &RedisSettings, lifecycle: &Lifecycle) -> Result<RedisStore, OpenError> {
        let place = settings.place();
        let link = Link::new(settings.client()?, settings.timeout);
        let readiness = lifecycle.readiness("store");
        while let Err(unfit) = link.connect().await {
            let reason = unfit.to_string();
            match unfit {
                Unfit::Evicts { .. } | Unfit::Evicted { .. } => {
                    return Err(OpenError::Unfit { place, reason });
                }
                Unfit::Silent(failure) if failure.is_refusal() => {
                    return Err(OpenError::Refused { place, reason });
                }
                Unfit::Silent(_) | Unfit::Loading | Unfit::Replica { .. } => {}
            }
            readiness.not_ready(format!("waiting for the Redis at {place}: {reason}"));
            sleep(ASK_EVERY).await;
        }
        lifecycle.spawn_support("redis", link.clone().keep(readiness));
        let (lookups, answering) = lookups();
        lifecycle.spawn_support("redis lookups", answering.keep(link.clone()));
        Ok(RedisStore { link, lookups })
    }
}
