//! Columns to domain values and back, the same in every SQL database. What cannot be a value of the domain is [`StoreError::Corrupt`].

use std::time::Duration;

use chassis::{postgres, sqlite};
use feed::log::LogUnavailable;
use time::OffsetDateTime;

use crate::{
    domain::{secret::Digest, user::Status},
    store::StoreError,
};

mod clients;
mod families;
mod signing_keys;
mod users;

pub(super) use clients::ClientRow;
pub(super) use families::{FamilyRow, StandingRow};
pub(super) use signing_keys::{KeyRow, columns};
pub(super) use users::{AccountRow, UserRow, phc};

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if sqlite::is_corruption(&error) || postgres::is_corruption(&error) {
            Self::Corrupt("row")
        } else {
            Self::Unavailable(Box::new(error))
        }
    }
}

impl From<LogUnavailable> for StoreError {
    fn from(LogUnavailable(source): LogUnavailable) -> Self {
        match source.downcast::<sqlx::Error>() {
            Ok(error) => (*error).into(),
            Err(other) => Self::Unavailable(other),
        }
    }
}

/// Whether a `UNIQUE` or primary key constraint forbade the statement.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}

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

pub(super) fn digest(column: Vec<u8>) -> Result<Digest, StoreError> {
    column.try_into().map(Digest::from_bytes).map_err(|_| StoreError::Corrupt("digest"))
}

/// Milliseconds.
pub(super) fn duration_column(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
