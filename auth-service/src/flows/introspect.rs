//! Whether a token is good now (RFC 7662), told to clients whose token it is or whose audience it has.

use std::{sync::Arc, time::Duration};

use feed::Credential;
use time::OffsetDateTime;
use token::{Algorithm, Expect, KeySet, Refused};

use super::{
    Auth, Failure,
    authenticate_client::ClientCredentials,
    endings::{credential, of_family},
    keys::Ring,
    remembered::KnownToken,
};
use crate::domain::{
    client::{Audience, Client},
    refresh::Use,
    secret::{Secret, SecretKind},
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
    let client = auth.recognise_client(client).await?;
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
    // A database that was deposed has it as it was before it ended.
    let credential =
        standing.as_ref().map_or_else(Credential::default, |standing| of_family(&standing.family));
    if auth.is_void(&credential).await? {
        return Ok(None);
    }
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
    // Not for longer than its key is here: one that was ended is not among the endings for ever.
    let ring = auth.recent_ring().await?;
    let remembered = auth.remembered.token(token, now);
    let known = match remembered.filter(|known| ring.has(&known.key)) {
        Some(known) => known,
        None => match verify(auth, client, token, now).await? {
            Some(known) => known,
            None => return Ok(None),
        },
    };
    let claims = &known.claims;
    let Some(audience) = claims.aud.iter().find(|audience| client.has_audience(audience)) else {
        return Ok(None);
    };
    if auth.is_void(&known.credential).await? {
        return Ok(None);
    }
    Ok(Some(Active {
        subject: claims.sub.clone(),
        client: claims.client_id.clone(),
        scope: claims.scope.clone(),
        audience: audience.clone(),
        issuer: claims.iss.clone(),
        token_type: BEARER,
        jti: claims.jti.clone(),
        expires_at: claims.exp,
        issued_at: claims.iat,
    }))
}

/// Whether it holds for one of the client's audiences; remembered if it does.
async fn verify(
    auth: &Auth,
    client: &Client,
    token: &str,
    now: OffsetDateTime,
) -> Result<Option<Arc<KnownToken>>, Failure> {
    let verify = |keys: &KeySet, expect: &Expect| token::verify_access_with_key(token, keys, expect, now);
    let Some((claims, key)) = auth.verified(&client.audiences, now, verify).await? else { return Ok(None) };
    let credential = credential(&claims, key.as_str());
    let known = Arc::new(KnownToken { claims, key: key.as_str().into(), credential });
    auth.remembered.insert_token(token, Arc::clone(&known));
    Ok(Some(known))
}

impl Auth {
    /// What `verify` says of a token for one of these audiences; `None` if it is not ours, or not believed.
    pub(super) async fn verified<'a, T>(
        &self,
        audiences: impl IntoIterator<Item = &'a Audience> + Clone,
        now: OffsetDateTime,
        verify: impl Fn(&KeySet, &Expect) -> Result<T, Refused>,
    ) -> Result<Option<T>, Failure> {
        match self.verified_by(&*self.recent_ring().await?, audiences.clone(), &verify) {
            // Another replica may sign with it since a moment ago.
            Err(Refused::KeyUnknown) => {
                self.keys.look_for_strange(now).await?;
                Ok(self.verified_by(&*self.keys.ring()?, audiences, &verify).ok())
            }
            verified => Ok(verified.ok()),
        }
    }

    fn verified_by<'a, T>(
        &self,
        ring: &Ring,
        audiences: impl IntoIterator<Item = &'a Audience>,
        verify: impl Fn(&KeySet, &Expect) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        for audience in audiences {
            let Some(expect) = self.expect(audience.as_str()) else { continue };
            match verify(ring.set(), &expect) {
                Err(Refused::Audience) => {}
                decided => return decided,
            }
        }
        Err(Refused::Audience)
    }

    /// Without leeway: it is our own clock that issued.
    fn expect(&self, audience: &str) -> Option<Expect> {
        Expect::new(self.settings.issuer.as_str(), audience, Algorithm::ALL, Duration::ZERO).ok()
    }
}
