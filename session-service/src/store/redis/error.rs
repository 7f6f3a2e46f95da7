//! What Redis and its client say, as one of the two failures that a store knows. Nothing that they say means "not there".

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use thiserror::Error;

use crate::store::StoreError;

/// Why something asked of Redis has no answer.
#[derive(Clone, Debug, Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// Not asked: it is known not to answer, or not to be fit.
    #[error("not asked: {0}")]
    Down(Arc<str>),
    #[error(transparent)]
    Impossible(Arc<dyn Error + Send + Sync>),
}

impl Failure {
    pub(super) fn impossible(what: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure::Impossible(what.into().into())
    }

    pub(super) fn unknown() -> Failure {
        Failure::impossible("an answer that Redis does not give")
    }

    /// Whether the connection, or the server as it is now, is good for nothing: everything else would fail too.
    pub(super) fn is_of_the_server(&self) -> bool {
        match self {
            // A full server, a disk that fails and a user that lacks a right still let others be answered.
            Failure::Redis(error) => {
                error.is_io_error()
                    || error.is_unrecoverable_error()
                    || error.code().is_some_and(|code| USELESS.contains(&code))
            }
            Failure::Late(_) | Failure::Down(_) | Failure::Impossible(_) => false,
        }
    }

    /// Whether it does not let this service in. Waiting does not heal that.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Failure::Redis(error) => {
                error.kind() == redis::ErrorKind::AuthenticationFailed
                    || error.code().is_some_and(|code| REFUSALS.contains(&code))
            }
            Failure::Late(_) | Failure::Down(_) | Failure::Impossible(_) => false,
        }
    }
}

const REFUSALS: [&str; 3] = ["NOAUTH", "WRONGPASS", "NOPERM"];
const USELESS: [&str; 4] = ["LOADING", "MASTERDOWN", "NOAUTH", "READONLY"];

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> StoreError {
        match failure {
            Failure::Impossible(source) => StoreError::Corrupt(Box::new(source)),
            failure => StoreError::Unavailable(Box::new(failure)),
        }
    }
}

impl From<StoreError> for Failure {
    /// Of rows that cannot be.
    fn from(error: StoreError) -> Failure {
        match error {
            StoreError::Corrupt(source) | StoreError::Unavailable(source) => Failure::impossible(source),
        }
    }
}
