//! Signing keys, for administration.

use proto::auth::v1::{
    self as wire, key_admin_service_server::KeyAdminService, key_read_service_server::KeyReadService,
};
use tonic::{Request, Response, Status};

use super::{Behind, administration, message, status};
use crate::flows::signing_keys;

/// Answers reads about signing keys.
pub struct KeyReads(pub Behind);

/// Answers administration of signing keys.
pub struct KeyAdmin(pub Behind);

#[tonic::async_trait]
impl KeyReadService for KeyReads {
    async fn list_keys(
        &self,
        request: Request<wire::ListKeysRequest>,
    ) -> Result<Response<wire::ListKeysResponse>, Status> {
        let wire::ListKeysRequest {} = request.into_inner();
        let keys =
            signing_keys::list_keys(&self.0.auth).await.map_err(|failure| status::of_failure(&failure))?;
        Ok(Response::new(wire::ListKeysResponse { keys: keys.iter().map(message::to_key).collect() }))
    }
}

#[tonic::async_trait]
impl KeyAdminService for KeyAdmin {
    async fn rotate_key(
        &self,
        request: Request<wire::RotateKeyRequest>,
    ) -> Result<Response<wire::RotateKeyResponse>, Status> {
        let origin = administration(&request);
        let wire::RotateKeyRequest {} = request.into_inner();
        let (key, signs_from) = signing_keys::rotate_key(&self.0.auth, &origin)
            .await
            .map_err(|failure| status::of_failure(&failure))?;
        Ok(Response::new(wire::RotateKeyResponse {
            key: Some(message::to_key(&key)),
            signs_from: Some(message::to_timestamp(signs_from)),
        }))
    }

    async fn revoke_key(
        &self,
        request: Request<wire::RevokeKeyRequest>,
    ) -> Result<Response<wire::RevokeKeyResponse>, Status> {
        let origin = administration(&request);
        let wire::RevokeKeyRequest { kid } = request.into_inner();
        signing_keys::revoke_key(&self.0.auth, &origin, &kid)
            .await
            .map_err(|refused| status::of_key(&refused))?;
        Ok(Response::new(wire::RevokeKeyResponse {}))
    }
}
