//! Hashing passwords: dear on purpose, and therefore rationed.
//!
//! One run takes 19 MiB and a core for milliseconds. The runs have OS threads of their own, one fewer than there are
//! cores and of a low priority, and a short queue: who finds it full is told to come back before anything else is done for
//! him, and everything that needs no hashing goes on.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::{
    password::Password,
    phc::{Cost, PasswordHash, SALT_BYTES},
};

pub mod argon2id;
pub mod pool;

/// Why nothing was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// The queue is full, and may have room after that time.
    #[error("too many passwords are being checked")]
    Busy { retry_after: Duration },
    #[error("passwords cannot be hashed")]
    Failed,
}

/// A place in the queue whose turn has come, good for one run after another. Nothing is hashed without one.
#[derive(Debug)]
pub struct Place {
    _place: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
}

#[async_trait]
pub trait PasswordHashing: Send + Sync + 'static {
    /// [`HashingError::Busy`] at once, or a place once its turn has come. To be asked for before anything is read or written,
    /// so that a flood of logins costs the database no more than what can be hashed.
    async fn admit(&self) -> Result<Place, HashingError>;
    /// At the current cost.
    async fn hash(
        &self,
        place: &Place,
        password: &Password,
        salt: [u8; SALT_BYTES],
    ) -> Result<PasswordHash, HashingError>;
    /// One run at the cost of the hash, whatever comes out.
    async fn verify(
        &self,
        place: &Place,
        password: &Password,
        hash: &PasswordHash,
    ) -> Result<bool, HashingError>;
}

/// One run of the memory-hard function; a test counts them by standing in between.
pub trait Kdf: Send + Sync + 'static {
    /// `memory` is the thread's own and is used again.
    fn run(
        &self,
        memory: &mut argon2id::Memory,
        cost: Cost,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), HashingError>;
}
