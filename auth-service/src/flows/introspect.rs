//! Whether a token is good now (RFC 7662), told to clients whose token it is or whose audience it has.

use std::time::Duration;

use time::OffsetDateTime;
use token::{AccessClaims, Algorithm, Expect, PrincipalKind, Refused};

use super::{Auth, Failure, authenticate_client::ClientCredentials};
use crate::domain::{
    client::Client,
    id::{ClientId, FamilyId, UserId},
    refresh::Use,
    secret::{Secret, SecretKind},
    user::{Key, Status},
};

/// RFC 7662 §2.2: the value of RFC 6749 §5.1, which is not the `typ` in a token's header.
const BEARER: &str = "Bearer";

/// What is told about an active token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    pub subject: String,
    pub client: String,
    pub scope: String,
    pub audience: String,
    pub issuer: String,
    /// How an access token is used (RFC 6749 §7.1); empty for refresh tokens, which no resource accepts.
    pub token_type: &'static str,
    /// Empty for refresh tokens.
    pub jti: String,
    pub expires_at: OffsetDateTime,
    pub issued_at: OffsetDateTime,
}

/// Why nothing is told.
#[derive(Debug, thiserror::Error)]
pub enum IntrospectRefused {
    #[error("the client is not known, or its secret is wrong")]
    InvalidClient,
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// `None` is "not active", for whatever reason: unknown, expired, void, or none of the caller's business (O13).
pub async fn introspect(
    auth: &Auth,
    client: ClientCredentials<'_>,
    token: &str,
) -> Result<Option<Active>, IntrospectRefused> {
    let now = auth.now();
    let client = auth.authenticate_client(client).await?;
    // A public client proves nothing, so it learns nothing.
    let client = client.filter(|client| !client.is_public()).ok_or(IntrospectRefused::InvalidClient)?;
    let active = match Secret::parse(SecretKind::Refresh, token) {
        Some(token) => refresh_token(auth, &client, &token, now).await?,
        None => access_token(auth, &client, token, now).await?,
    };
    Ok(active)
}

async fn refresh_token(
    auth: &Auth,
    client: &Client,
    token: &Secret,
    now: OffsetDateTime,
) -> Result<Option<Active>, Failure> {
    let standing = auth.store.standing(&token.digest()).await?;
    let standing = standing.filter(|standing| {
        let unspent = standing.link.use_ == Use::Unspent && now < standing.link.expires_at;
        standing.family.client == client.id && unspent && standing.is_alive(now)
    });
    Ok(standing.map(|standing| Active {
        subject: standing.family.subject.to_string(),
        client: standing.family.client.to_string(),
        scope: standing.family.scope.to_string(),
        audience: standing.family.audience,
        issuer: auth.settings.issuer.clone(),
        token_type: "",
        jti: String::new(),
        expires_at: standing.link.expires_at,
        issued_at: standing.family.created_at,
    }))
}

async fn access_token(
    auth: &Auth,
    client: &Client,
    token: &str,
    now: OffsetDateTime,
) -> Result<Option<Active>, Failure> {
    let Some(claims) = auth.verified(client, token, now)? else { return Ok(None) };
    if !auth.is_current(&claims, now).await? {
        return Ok(None);
    }
    Ok(Some(Active {
        audience: claims.aud.into_iter().find(|audience| client.has_audience(audience)).unwrap_or_default(),
        subject: claims.sub,
        client: claims.client_id,
        scope: claims.scope,
        issuer: claims.iss,
        token_type: BEARER,
        jti: claims.jti,
        expires_at: claims.exp,
        issued_at: claims.iat,
    }))
}

impl Auth {
    /// The claims, if the token is ours, unexpired, and for an audience of this client's.
    fn verified(
        &self,
        client: &Client,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<Option<AccessClaims>, Failure> {
        let ring = self.keys.ring()?;
        for audience in &client.audiences {
            let Some(expect) = self.expect(audience.as_str()) else { continue };
            match token::verify_access(token, ring.set(), &expect, now) {
                Ok(claims) => return Ok(Some(claims)),
                Err(Refused::Audience) => {}
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Without leeway: it is our own clock that issued.
    fn expect(&self, audience: &str) -> Option<Expect> {
        Expect::new(self.settings.issuer.as_str(), audience, Algorithm::ALL, Duration::ZERO).ok()
    }

    /// Whether a text is an access token of ours, expired or not, for whomever. An encrypted one cannot be read here; its
    /// shape is enough.
    pub(super) fn is_access_token(&self, token: &str) -> Result<bool, Failure> {
        if token::is_jwe(token) {
            return Ok(true);
        }
        let ring = self.keys.ring()?;
        // No token has this audience: only the checks before it decide, the signature among them.
        let Some(expect) = self.expect("-") else { return Ok(false) };
        let refused = token::verify_access(token, ring.set(), &expect, OffsetDateTime::UNIX_EPOCH).err();
        Ok(refused == Some(Refused::Audience))
    }

    /// Whether the rows still say what was copied from them when the token was issued.
    async fn is_current(&self, claims: &AccessClaims, now: OffsetDateTime) -> Result<bool, Failure> {
        let Some(id) = ClientId::parse(&claims.client_id) else { return Ok(false) };
        let client = self.store.client(&Key::Id(id)).await?;
        if !client.is_some_and(|client| client.status == Status::Active && client.epoch == claims.epo.client)
        {
            return Ok(false);
        }
        if claims.kind == PrincipalKind::User {
            let Some(id) = UserId::parse(&claims.sub) else { return Ok(false) };
            let user = self.store.user(&Key::Id(id)).await?;
            if !user.is_some_and(|user| user.status == Status::Active && user.epoch == claims.epo.subject) {
                return Ok(false);
            }
        }
        match claims.fam.as_deref().map(FamilyId::parse) {
            None => Ok(true),
            Some(None) => Ok(false),
            Some(Some(family)) => Ok(self.store.family_is_alive(&family, now).await?),
        }
    }
}
