//! A user, and what may be done to one.

use time::OffsetDateTime;

use super::{id::UserId, phc::PasswordHash, username::Username};

/// Whether an account may be acted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Active,
    Disabled,
}

/// A person, without the password's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub username: Username,
    pub status: Status,
    /// Set with an administrator's password: the first login fails until the user has chosen one.
    pub must_change_password: bool,
    /// Raised by one to void everything issued under a lower number: change and setting of the password, disabling, deletion.
    pub epoch: u64,
    pub created_at: OffsetDateTime,
}

/// A user with the stored hash: what a login reads.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: User,
    pub password_hash: PasswordHash,
}

/// How a user or client is named in a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key<Id> {
    Id(Id),
    /// A username's key, or a client's name.
    Name(String),
}
