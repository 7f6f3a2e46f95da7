//! Columns to domain values and back. What cannot be a value of the domain is [`StoreError::Corrupt`].

use time::OffsetDateTime;

use crate::{domain::user::Status, store::StoreError};

/// Milliseconds since 1970.
pub(super) fn millis(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or(i64::MAX)
}

pub(super) fn time(millis: i64) -> Result<OffsetDateTime, StoreError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .map_err(|_| StoreError::Corrupt("time"))
}

pub(super) fn epoch(column: i64) -> Result<u64, StoreError> {
    u64::try_from(column).map_err(|_| StoreError::Corrupt("epoch"))
}

/// No epoch is ever so large; should one be, no row has it.
pub(super) fn epoch_column(epoch: u64) -> i64 {
    i64::try_from(epoch).unwrap_or(-1)
}

pub(super) fn status(column: &str) -> Result<Status, StoreError> {
    match column {
        "active" => Ok(Status::Active),
        "disabled" => Ok(Status::Disabled),
        _ => Err(StoreError::Corrupt("status")),
    }
}

pub(super) fn strings(column: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(column).map_err(|_| StoreError::Corrupt("list"))
}

/// A JSON array.
pub(super) fn strings_column<'a>(strings: impl Iterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(strings).to_string()
}
