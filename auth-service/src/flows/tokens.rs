//! Tokens and logins, for administration: ended by the ids that they carry, by somebody who does not have them.

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
    endings::FeedUnavailable,
};
use crate::{
    domain::id::{FamilyId, TokenId},
    store::{FamilyEnd, StoreError},
};

/// Why nothing was ended.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefused {
    #[error("a jti is 26 characters: digits, and letters in lower case without i, l, o and u")]
    JtiInvalid,
    #[error("a family is `fam_` and 26 characters: digits, and letters in lower case without i, l, o and u")]
    FamilyInvalid,
    #[error("there is no such login")]
    FamilyNotFound,
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Ends for TokenRefused {
    fn ending(&self) -> Ending {
        match self {
            Self::JtiInvalid => Ending::Refused("JTI_INVALID"),
            Self::FamilyInvalid => Ending::Refused("FAMILY_INVALID"),
            Self::FamilyNotFound => Ending::Refused("FAMILY_NOT_FOUND"),
            Self::Failed(failure) => failure.ending(),
        }
    }
}

impl From<StoreError> for TokenRefused {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Ends one access token; its login goes on. No token is kept, so whatever could be the id of one is ended.
pub async fn revoke_token(auth: &Auth, origin: &Origin, jti: &str) -> Result<(), TokenRefused> {
    let mut line = Line::begin(origin, "token.revoke");
    let outcome = async {
        let token = TokenId::parse(jti).ok_or(TokenRefused::JtiInvalid)?;
        line.detail(format!("jti={token}"));
        Ok(auth.end_token_by_id(&token).await?)
    };
    let outcome = outcome.await;
    line.end(&outcome);
    outcome
}

/// Ends one login: its refresh tokens, and every access token that was issued in it.
///
/// A family that is not here is refused, although an ending could be appended for it as for a `jti`: families are kept until the
/// last access token of theirs has expired, so it is a slip of whoever typed it, who must not believe that the login he means is over.
pub async fn revoke_family(auth: &Auth, origin: &Origin, family: &str) -> Result<(), TokenRefused> {
    let mut line = Line::begin(origin, "family.revoke");
    let outcome = end(auth, &mut line, family).await;
    line.end(&outcome);
    // As for users: audited first, and also for what is not there any more. What never was is not said to have ended.
    match outcome {
        Ok(()) => auth.hold_everywhere().await?,
        Err(TokenRefused::FamilyNotFound) => {
            auth.hold_everywhere().await.map_err(|_| Failure::from(FeedUnavailable))?;
        }
        Err(_) => {}
    }
    outcome
}

async fn end(auth: &Auth, line: &mut Line, family: &str) -> Result<(), TokenRefused> {
    let ending = auth.ending();
    let id = FamilyId::parse(family).ok_or(TokenRefused::FamilyInvalid)?;
    line.detail(format!("family={id}"));
    let family = auth.store.family(&id).await?.ok_or(TokenRefused::FamilyNotFound)?;
    line.subject(&family.subject);
    line.client(&family.client);
    if !auth.store.end_family(&id, None, FamilyEnd::Revoked, ending).await? {
        line.detail(format!("family={id} ended before"));
    }
    Ok(())
}
