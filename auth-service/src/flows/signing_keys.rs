//! Signing keys, for administration: seen, replaced ahead of their time, and ended when they may be in other hands.

use time::OffsetDateTime;

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
    keys::KeysError,
};
use crate::domain::signing_key::KeyRecord;

/// Why a key was not ended.
#[derive(Debug, thiserror::Error)]
pub enum KeyRefused {
    #[error("there is no such signing key")]
    NotFound,
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Ends for KeyRefused {
    fn ending(&self) -> Ending {
        match self {
            Self::NotFound => Ending::Refused("KEY_NOT_FOUND"),
            Self::Failed(failure) => failure.ending(),
        }
    }
}

impl From<KeysError> for KeyRefused {
    fn from(error: KeysError) -> Self {
        Self::Failed(Failure::Keys(error))
    }
}

/// Every key that there is or was.
pub async fn list_keys(auth: &Auth) -> Result<Vec<KeyRecord>, Failure> {
    Ok(auth.keys.records().await?)
}

/// The key that is announced now, and from when it signs.
pub async fn rotate_key(auth: &Auth, origin: &Origin) -> Result<(KeyRecord, OffsetDateTime), Failure> {
    let mut line = Line::begin(origin, "key.rotate");
    let outcome = auth.keys.rotate(auth.now()).await.map_err(Failure::Keys);
    if let Ok((key, _)) = &outcome {
        line.detail(format!("kid={}", key.kid));
    }
    line.end(&outcome);
    outcome
}

/// Nobody believes anything that the key signed when this is answered; another key signs.
pub async fn revoke_key(auth: &Auth, origin: &Origin, kid: &str) -> Result<(), KeyRefused> {
    let mut line = Line::begin(origin, "key.revoke");
    let outcome = auth.keys.revoke(kid, auth.ending()).await;
    let outcome = match outcome {
        Ok(Some(now)) => {
            // Only a kid that exists goes into the line: what was typed could be anything.
            line.detail(format!("kid={kid}{}", if now { "" } else { " gone before" }));
            Ok(())
        }
        Ok(None) => Err(KeyRefused::NotFound),
        Err(error) => Err(error.into()),
    };
    line.end(&outcome);
    if outcome.is_ok() {
        auth.hold_everywhere().await?;
    }
    outcome
}
