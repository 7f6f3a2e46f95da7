//! Taking a token back (RFC 7009). Who asks learns nothing about tokens that are not his.
//!
//! A refresh token ends its family, with every access token of that; an access token ends alone.

use time::OffsetDateTime;

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
    authenticate_client::ClientCredentials,
};
use crate::{
    domain::{
        client::Client,
        refresh::Standing,
        secret::{Secret, SecretKind},
    },
    store::FamilyEnd,
};

/// Why nothing was even looked up.
#[derive(Debug, thiserror::Error)]
pub enum RevokeRefused {
    #[error("the client is not known, or its secret is wrong")]
    InvalidClient,
    /// Encrypted to somebody else: what it is cannot be seen here.
    #[error("a token that is encrypted for its recipient is revoked by its recipient")]
    UnsupportedTokenType,
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Ends a token if it is the client's own; anything else is answered alike (O14).
pub async fn revoke(
    auth: &Auth,
    origin: &Origin,
    client: ClientCredentials<'_>,
    token: &str,
) -> Result<(), RevokeRefused> {
    let now = auth.now();
    let client = auth.recognise_client(client).await?.ok_or(RevokeRefused::InvalidClient)?;
    let Some(presented) = Secret::parse(SecretKind::Refresh, token) else {
        return revoke_access_token(auth, origin, &client, token, now).await;
    };
    let digest = presented.digest();
    let his = |standing: &Standing| standing.family.client == client.id;
    let standing = match auth.store.standing(&digest).await.map_err(Failure::from)?.filter(his) {
        // That there is nothing of his is said to hold everywhere, too.
        None => auth.store.standing_for_certain(&digest).await.map_err(Failure::from)?.filter(his),
        found => found,
    };
    let Some(standing) = standing else {
        return nothing_of_his(auth).await;
    };
    let family = &standing.family;
    let mut line = Line::begin(origin, "logout");
    line.subject(&family.subject);
    line.client(&client.id);
    line.detail(format!("family={} revoked", family.id));
    let ending = auth.ending();
    let ended =
        auth.store.end_family(&family.id, None, FamilyEnd::Revoked, ending).await.map_err(Failure::from);
    match &ended {
        Ok(true) => line.close(Ending::Success),
        Ok(false) => line.withdraw(),
        Err(failure) => line.close(failure.ending()),
    }
    ended?;
    Ok(auth.hold_everywhere().await?)
}

async fn revoke_access_token(
    auth: &Auth,
    origin: &Origin,
    client: &Client,
    token: &str,
    now: OffsetDateTime,
) -> Result<(), RevokeRefused> {
    if token::is_jwe(token) {
        return Err(RevokeRefused::UnsupportedTokenType);
    }
    let audiences = client.audiences.iter().chain([&auth.settings.first_party]);
    // Expired by this clock or not: by a guard's clock, with its leeway, it may be good for a while.
    let issued =
        auth.verified(audiences, now, |keys, expect| token::verify_issued(token, keys, expect)).await?;
    let Some(issued) = issued.filter(|issued| issued.client == client.id.as_str()) else {
        return nothing_of_his(auth).await;
    };
    let mut line = Line::begin(origin, "token.revoke");
    line.subject(&issued.subject);
    line.client(&client.id);
    line.detail(format!("jti={}", issued.token));
    let ended = auth.end_token(&issued, now).await;
    line.end(&ended);
    Ok(ended?)
}

/// Answered after what the others wait for too, so that the time tells nothing; and what somebody else is ending is ended.
async fn nothing_of_his(auth: &Auth) -> Result<(), RevokeRefused> {
    Ok(auth.hold_everywhere().await?)
}
