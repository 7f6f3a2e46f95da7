//! auth-service over gRPC: its key set.

use std::time::Duration;

use async_trait::async_trait;
use chassis::grpc::client::{Call, Channel};
use proto::auth::v1::token_read_service_client::TokenReadServiceClient;
use proto::auth::v1::{GetKeySetRequest, GetKeySetResponse};

use super::{KeySets, KeysUnavailable, PublishedKeys};

/// A login waits for this.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What auth-service says about age is believed up to this: a revoked key must not be good for days.
const MOST_MAX_AGE: Duration = Duration::from_secs(3600);

pub struct AuthKeys {
    client: TokenReadServiceClient<Channel>,
}

impl AuthKeys {
    pub fn new(channel: Channel) -> AuthKeys {
        AuthKeys { client: TokenReadServiceClient::new(channel) }
    }
}

#[async_trait]
impl KeySets for AuthKeys {
    async fn fetch(&self) -> Result<PublishedKeys, KeysUnavailable> {
        let request = Call::new("key-set", TIMEOUT).request(GetKeySetRequest {});
        let answer = self.client.clone().get_key_set(request).await.map_err(KeysUnavailable::new)?;
        let GetKeySetResponse { jwks, max_age } = answer.into_inner();
        let max_age = Duration::from_secs(u64::from(max_age)).min(MOST_MAX_AGE);
        Ok(PublishedKeys { jwks, max_age })
    }
}
