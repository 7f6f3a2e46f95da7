//! Rows of users.

use sqlx::FromRow;

use crate::{
    domain::{
        id::UserId,
        phc::PasswordHash,
        user::{Account, User},
        username::Username,
    },
    store::{StoreError, row},
};

#[derive(FromRow)]
pub(in crate::store) struct UserRow {
    pub(in crate::store) id: String,
    pub(in crate::store) username: String,
    pub(in crate::store) status: String,
    pub(in crate::store) must_change_password: bool,
    pub(in crate::store) epoch: i64,
    pub(in crate::store) created_at: i64,
}

#[derive(FromRow)]
pub(in crate::store) struct AccountRow {
    #[sqlx(flatten)]
    user: UserRow,
    password_hash: String,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: UserId::parse(&row.id).ok_or(StoreError::Corrupt("user id"))?,
            username: Username::parse(&row.username).map_err(|_| StoreError::Corrupt("username"))?,
            status: row::status(&row.status)?,
            must_change_password: row.must_change_password,
            epoch: row::epoch(row.epoch)?,
            created_at: row::time(row.created_at)?,
        })
    }
}

impl TryFrom<AccountRow> for Account {
    type Error = StoreError;

    fn try_from(row: AccountRow) -> Result<Self, StoreError> {
        let password_hash =
            PasswordHash::parse(&row.password_hash).map_err(|_| StoreError::Corrupt("password hash"))?;
        Ok(Self { user: row.user.try_into()?, password_hash })
    }
}

pub(in crate::store) fn phc(hash: &PasswordHash) -> Result<String, StoreError> {
    hash.to_phc().map_err(|_| StoreError::Corrupt("password hash"))
}
