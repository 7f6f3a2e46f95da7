//! What SQL databases and sqlx say, as one of the two failures that a store knows.

use std::error::Error;

use chassis::{postgres, sqlite};

use crate::store::StoreError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        failed(error)
    }
}

pub(super) fn failed(error: sqlx::Error) -> StoreError {
    if sqlite::is_corruption(&error) || postgres::is_corruption(&error) {
        StoreError::Corrupt(Box::new(error))
    } else {
        StoreError::Unavailable(Box::new(error))
    }
}

pub(super) fn corrupt(error: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Corrupt(error.into())
}
