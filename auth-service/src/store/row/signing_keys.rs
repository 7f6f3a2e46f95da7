//! Rows of signing keys.

use sqlx::FromRow;
use time::OffsetDateTime;

use crate::{
    domain::signing_key::{KeyRecord, KeyState, SealedKey},
    store::{StoreError, row},
};

#[derive(FromRow)]
pub(in crate::store) struct KeyRow {
    kid: String,
    algorithm: String,
    state: String,
    moment: i64,
    sealed: Vec<u8>,
}

impl TryFrom<KeyRow> for SealedKey {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        let moment = row::time(row.moment)?;
        let state = match row.state.as_str() {
            "announced" => KeyState::Announced { at: moment },
            "active" => KeyState::Active { since: moment },
            "retiring" => KeyState::Retiring { until: moment },
            "gone" => KeyState::Gone { at: moment },
            _ => return Err(StoreError::Corrupt("key state")),
        };
        let algorithm = row.algorithm.parse().map_err(|_| StoreError::Corrupt("algorithm"))?;
        Ok(Self { record: KeyRecord { kid: row.kid, algorithm, state }, sealed: row.sealed })
    }
}

/// State and moment.
pub(in crate::store) fn columns(state: KeyState) -> (&'static str, OffsetDateTime) {
    match state {
        KeyState::Announced { at } => ("announced", at),
        KeyState::Active { since } => ("active", since),
        KeyState::Retiring { until } => ("retiring", until),
        KeyState::Gone { at } => ("gone", at),
    }
}
