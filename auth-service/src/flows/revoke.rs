//! Taking a token back (RFC 7009). Who asks learns nothing about tokens that are not his.

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
    authenticate_client::ClientCredentials,
};
use crate::{
    domain::secret::{Secret, SecretKind},
    store::FamilyEnd,
};

/// Why nothing was even looked up.
#[derive(Debug, thiserror::Error)]
pub enum RevokeRefused {
    #[error("the client is not known, or its secret is wrong")]
    InvalidClient,
    /// They run out by themselves, within minutes.
    #[error("access tokens cannot be revoked")]
    UnsupportedTokenType,
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// A refresh token ends its family if it is the client's own; anything else is answered alike (O14).
pub async fn revoke(
    auth: &Auth,
    origin: &Origin,
    client: ClientCredentials<'_>,
    token: &str,
) -> Result<(), RevokeRefused> {
    let now = auth.now();
    let client = auth.authenticate_client(client).await?.ok_or(RevokeRefused::InvalidClient)?;
    let Some(presented) = Secret::parse(SecretKind::Refresh, token) else {
        return if auth.is_access_token(token)? { Err(RevokeRefused::UnsupportedTokenType) } else { Ok(()) };
    };
    let standing = auth.store.standing(&presented.digest()).await.map_err(Failure::from)?;
    let Some(standing) = standing.filter(|standing| standing.family.client == client.id) else {
        return Ok(());
    };
    let family = &standing.family;
    let mut line = Line::begin(origin, "logout");
    line.subject(&family.subject);
    line.client(&client.id);
    line.detail(format!("family={} revoked", family.id));
    let ended = auth.store.end_family(&family.id, None, FamilyEnd::Revoked, now).await.map_err(Failure::from);
    match &ended {
        Ok(true) => line.close(Ending::Success),
        Ok(false) => line.withdraw(),
        Err(failure) => line.close(failure.ending()),
    }
    Ok(ended.map(drop)?)
}
