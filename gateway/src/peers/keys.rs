//! auth-service's public signing keys, for the guard.

use std::sync::Arc;

use async_trait::async_trait;
use chassis::entropy::{SharedEntropy, id};
use guard::{FetchedKeys, KeySource, SourceUnavailable};

use super::{Asker, Auth};

/// Fetches the key set. No request's errand: each fetch has a request id of its own.
pub struct AuthKeys {
    auth: Arc<dyn Auth>,
    entropy: SharedEntropy,
}

impl AuthKeys {
    pub fn new(auth: Arc<dyn Auth>, entropy: SharedEntropy) -> Self {
        Self { auth, entropy }
    }
}

#[async_trait]
impl KeySource for AuthKeys {
    async fn fetch(&self) -> Result<FetchedKeys, SourceUnavailable> {
        let request_id = id(&*self.entropy, "keys_");
        let set = self.auth.key_set(Asker::new(&request_id)).await.map_err(SourceUnavailable::new)?;
        Ok(FetchedKeys { jwks: set.jwks, max_age: set.max_age })
    }
}
