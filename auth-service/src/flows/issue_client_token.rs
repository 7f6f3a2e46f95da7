//! An application's own token (RFC 6749 §4.4), with the roles that it holds itself.

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
    authenticate_client::ClientCredentials,
    issue::TokenSet,
};
use crate::{
    domain::{claims, id::ClientId, scope::Scope},
    peers::Subject,
};

/// What was sent.
pub struct IssueClientToken<'a> {
    pub client: ClientCredentials<'a>,
    /// Space separated; empty: all that the client may have.
    pub scope: &'a str,
    /// Empty: the client's first.
    pub audience: &'a str,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum ClientTokenRefused {
    #[error("the client is not known, or its secret is wrong")]
    InvalidClient,
    #[error("the scope is not within what the client may ask for")]
    InvalidScope,
    #[error("the audience is not one that the client may ask for")]
    InvalidTarget,
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Ends for ClientTokenRefused {
    fn ending(&self) -> Ending {
        match self {
            Self::InvalidClient => Ending::Refused("INVALID_CLIENT"),
            Self::InvalidScope => Ending::Refused("INVALID_SCOPE"),
            Self::InvalidTarget => Ending::Refused("INVALID_TARGET"),
            Self::Failed(failure) => failure.ending(),
        }
    }
}

/// Verifies the client's secret and issues an access token; there is no refresh token with it.
pub async fn issue_client_token(
    auth: &Auth,
    origin: &Origin,
    request: IssueClientToken<'_>,
) -> Result<TokenSet, ClientTokenRefused> {
    let mut line = Line::begin(origin, "login");
    line.detail("client_credentials");
    // Only what has the shape of an id: a secret in the wrong field must not reach the log.
    if let Some(id) = ClientId::parse(request.client.id) {
        line.subject(&id);
        line.client(id);
    }
    let outcome = issue(auth, origin, &request).await;
    auth.metrics.client_tokens.count(&outcome);
    line.end(&outcome);
    outcome
}

async fn issue(
    auth: &Auth,
    origin: &Origin,
    request: &IssueClientToken<'_>,
) -> Result<TokenSet, ClientTokenRefused> {
    let now = auth.now();
    let client = auth.authenticate_client(request.client).await?.ok_or(ClientTokenRefused::InvalidClient)?;
    // Anybody can say a public client's id: it gets nothing for itself (RFC 6749 §4.4).
    if client.is_public() {
        return Err(ClientTokenRefused::InvalidClient);
    }
    let asked = Scope::parse(request.scope).map_err(|_| ClientTokenRefused::InvalidScope)?;
    let scope = client.scope(&asked).ok_or(ClientTokenRefused::InvalidScope)?;
    let audience = client.audience(request.audience).ok_or(ClientTokenRefused::InvalidTarget)?;
    let roles = auth
        .policy
        .roles_of(Subject::Client(&client.id), &origin.peer_call())
        .await
        .map_err(Failure::from)?;
    let jti = auth.jti();
    let claims = claims::of_client(auth.issue(&jti, now), &client, audience.as_str(), &scope, &roles);
    Ok(TokenSet {
        access_token: auth.access_token(claims).await?,
        expires_in: auth.expires_in(),
        refresh_token: zeroize::Zeroizing::default(),
        scope: scope.to_string(),
    })
}
