//! Rows of refresh tokens with their families.

use sqlx::FromRow;
use token::Epochs;

use crate::{
    domain::{
        id::{ClientId, FamilyId, UserId},
        refresh::{Family, Link, Use},
        scope::Scope,
    },
    store::{StoreError, row},
};

#[derive(FromRow)]
pub(in crate::store) struct FamilyRow {
    family: String,
    pub(in crate::store) subject: String,
    pub(in crate::store) client: String,
    subject_epoch: i64,
    client_epoch: i64,
    scope: String,
    audience: String,
    amr: String,
    family_created_at: i64,
    family_expires_at: i64,
    ended_at: Option<i64>,
}

#[derive(FromRow)]
pub(in crate::store) struct StandingRow {
    digest: Vec<u8>,
    idle_until: i64,
    spent_at: Option<i64>,
    successor: Option<Vec<u8>>,
    #[sqlx(flatten)]
    pub(in crate::store) family: FamilyRow,
}

impl TryFrom<FamilyRow> for Family {
    type Error = StoreError;

    fn try_from(row: FamilyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: FamilyId::parse(&row.family).ok_or(StoreError::Corrupt("family id"))?,
            subject: UserId::parse(&row.subject).ok_or(StoreError::Corrupt("user id"))?,
            client: ClientId::parse(&row.client).ok_or(StoreError::Corrupt("client id"))?,
            epochs: Epochs { subject: row::epoch(row.subject_epoch)?, client: row::epoch(row.client_epoch)? },
            scope: Scope::parse(&row.scope).map_err(|_| StoreError::Corrupt("scope"))?,
            audience: row.audience,
            amr: row::strings(&row.amr)?,
            created_at: row::time(row.family_created_at)?,
            expires_at: row::time(row.family_expires_at)?,
            ended: row.ended_at.is_some(),
        })
    }
}

impl StandingRow {
    pub(in crate::store) fn link_and_family(self) -> Result<(Link, Family), StoreError> {
        let use_ = match self.spent_at {
            None => Use::Unspent,
            Some(at) => Use::Spent { at: row::time(at)?, successor: self.successor },
        };
        let link = Link { digest: row::digest(self.digest)?, expires_at: row::time(self.idle_until)?, use_ };
        Ok((link, self.family.try_into()?))
    }
}
