//! Tokens: issued, refreshed, revoked, introspected, and the keys they are verified with.

use proto::auth::v1::{
    self as wire, token_admin_service_server::TokenAdminService, token_read_service_server::TokenReadService,
    token_service_server::TokenService,
};
use tonic::{Request, Response, Status};

use super::{Behind, administration, message, origin, status};
use crate::flows::{
    end_family::end_family,
    introspect::introspect,
    issue_client_token::{IssueClientToken, issue_client_token},
    refresh::{Refresh, refresh},
    revoke::revoke,
    tokens::{revoke_family, revoke_token},
};

/// Answers what issues and takes back.
pub struct Tokens(pub Behind);

/// Answers administration of tokens and logins.
pub struct TokenAdmin(pub Behind);

/// Answers reads about tokens.
pub struct TokenReads(pub Behind);

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn issue_client_token(
        &self,
        request: Request<wire::IssueClientTokenRequest>,
    ) -> Result<Response<wire::IssueClientTokenResponse>, Status> {
        let origin = origin(&request);
        let wire::IssueClientTokenRequest { client, scope, audience } = request.into_inner();
        let request = IssueClientToken {
            client: message::credentials(client.as_ref()),
            scope: &scope,
            audience: &audience,
        };
        let tokens = issue_client_token(&self.0.auth, &origin, request)
            .await
            .map_err(|refused| status::of_client_token(&refused))?;
        Ok(Response::new(wire::IssueClientTokenResponse { tokens: Some(message::to_tokens(tokens)) }))
    }

    async fn refresh(
        &self,
        request: Request<wire::RefreshRequest>,
    ) -> Result<Response<wire::RefreshResponse>, Status> {
        let origin = origin(&request);
        let wire::RefreshRequest { client, refresh_token, scope } = request.into_inner();
        let request =
            Refresh { client: message::credentials(client.as_ref()), token: &refresh_token, scope: &scope };
        let tokens =
            refresh(&self.0.auth, &origin, request).await.map_err(|refused| status::of_refresh(&refused))?;
        Ok(Response::new(wire::RefreshResponse { tokens: Some(message::to_tokens(tokens)) }))
    }

    async fn revoke(
        &self,
        request: Request<wire::RevokeRequest>,
    ) -> Result<Response<wire::RevokeResponse>, Status> {
        let origin = origin(&request);
        let wire::RevokeRequest { client, token } = request.into_inner();
        let client = message::credentials(client.as_ref());
        revoke(&self.0.auth, &origin, client, &token).await.map_err(|refused| status::of_revoke(&refused))?;
        Ok(Response::new(wire::RevokeResponse {}))
    }

    async fn end_family(
        &self,
        request: Request<wire::EndFamilyRequest>,
    ) -> Result<Response<wire::EndFamilyResponse>, Status> {
        let origin = origin(&request);
        let wire::EndFamilyRequest { family, subject } = request.into_inner();
        end_family(&self.0.auth, &origin, &family, &subject)
            .await
            .map_err(|failure| status::of_failure(&failure))?;
        Ok(Response::new(wire::EndFamilyResponse {}))
    }
}

#[tonic::async_trait]
impl TokenAdminService for TokenAdmin {
    async fn revoke_token(
        &self,
        request: Request<wire::RevokeTokenRequest>,
    ) -> Result<Response<wire::RevokeTokenResponse>, Status> {
        let origin = administration(&request);
        let wire::RevokeTokenRequest { jti } = request.into_inner();
        revoke_token(&self.0.auth, &origin, &jti).await.map_err(|refused| status::of_token(&refused))?;
        Ok(Response::new(wire::RevokeTokenResponse {}))
    }

    async fn revoke_family(
        &self,
        request: Request<wire::RevokeFamilyRequest>,
    ) -> Result<Response<wire::RevokeFamilyResponse>, Status> {
        let origin = administration(&request);
        let wire::RevokeFamilyRequest { family } = request.into_inner();
        revoke_family(&self.0.auth, &origin, &family).await.map_err(|refused| status::of_token(&refused))?;
        Ok(Response::new(wire::RevokeFamilyResponse {}))
    }
}

#[tonic::async_trait]
impl TokenReadService for TokenReads {
    async fn introspect(
        &self,
        request: Request<wire::IntrospectRequest>,
    ) -> Result<Response<wire::IntrospectResponse>, Status> {
        let wire::IntrospectRequest { client, token } = request.into_inner();
        let active = introspect(&self.0.auth, message::credentials(client.as_ref()), &token)
            .await
            .map_err(|refused| status::of_introspect(&refused))?;
        let Some(active) = active else { return Ok(Response::new(wire::IntrospectResponse::default())) };
        Ok(Response::new(wire::IntrospectResponse {
            active: true,
            subject: active.subject,
            client_id: active.client,
            scope: active.scope,
            audience: active.audience,
            issuer: active.issuer,
            token_type: active.token_type.to_owned(),
            jti: active.jti,
            expires_at: Some(message::to_timestamp(active.expires_at)),
            issued_at: Some(message::to_timestamp(active.issued_at)),
        }))
    }

    async fn get_key_set(
        &self,
        request: Request<wire::GetKeySetRequest>,
    ) -> Result<Response<wire::GetKeySetResponse>, Status> {
        let wire::GetKeySetRequest {} = request.into_inner();
        let ring = self.0.auth.ring().await.map_err(|failure| status::of_failure(&failure))?;
        Ok(Response::new(wire::GetKeySetResponse {
            jwks: ring.json().to_owned(),
            max_age: u32::try_from(self.0.jwks_max_age.as_secs()).unwrap_or(u32::MAX),
        }))
    }
}
