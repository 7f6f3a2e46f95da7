//! auth-service's public signing keys.

use std::time::Duration;

use async_trait::async_trait;
use chassis::{
    entropy::SharedEntropy,
    grpc::{Call, client::Channel},
    status,
};
use proto::auth::v1::{
    GetKeySetRequest, GetKeySetResponse, token_read_service_client::TokenReadServiceClient,
};
use tonic::Status;

use super::request_id;
use crate::{FetchedKeys, KeySource, SourceUnavailable};

/// Fetches the key set. No request's errand: each fetch has a request id of its own.
pub struct IssuerKeys {
    reads: TokenReadServiceClient<Channel>,
    entropy: SharedEntropy,
    timeout: Duration,
}

impl IssuerKeys {
    pub fn new(auth: Channel, entropy: SharedEntropy, timeout: Duration) -> Self {
        Self { reads: TokenReadServiceClient::new(auth), entropy, timeout }
    }
}

#[async_trait]
impl KeySource for IssuerKeys {
    async fn fetch(&self) -> Result<FetchedKeys, SourceUnavailable> {
        let call = Call::new(request_id(&self.entropy, "keys_"), self.timeout);
        let answer = self.reads.clone().get_key_set(call.request(GetKeySetRequest {})).await;
        let GetKeySetResponse { jwks, max_age } = answer.map_err(|status| refused(&status))?.into_inner();
        Ok(FetchedKeys { jwks, max_age: Duration::from_secs(max_age.into()) })
    }
}

/// The one refusal that somebody must do something about gets a sentence that says what.
fn refused(status: &Status) -> SourceUnavailable {
    let message = status.message();
    SourceUnavailable::new(match status::reason(status).as_deref() {
        Some("CALLER_NOT_LISTED") => format!(
            "auth-service answers, but not to this service: {message}. The name in this service's certificate must be \
             in `access.services` of auth-service, and its domain must be the same"
        ),
        _ => format!("{:?}: {message}", status.code()),
    })
}
