//! Rows of clients.

use sqlx::FromRow;

use crate::{
    domain::{
        client::{Audience, Client, ClientKind, ClientName},
        id::ClientId,
        scope::Scope,
    },
    store::{StoreError, row},
};

#[derive(FromRow)]
pub(in crate::store) struct ClientRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) audiences: String,
    pub(super) scopes: String,
    pub(super) secret_digest: Option<Vec<u8>>,
    pub(super) epoch: i64,
    pub(super) created_at: i64,
}

impl TryFrom<ClientRow> for Client {
    type Error = StoreError;

    fn try_from(row: ClientRow) -> Result<Self, StoreError> {
        let audiences = row::strings(&row.audiences)?
            .iter()
            .map(|audience| Audience::parse(audience).map_err(|_| StoreError::Corrupt("audience")))
            .collect::<Result<_, _>>()?;
        let scopes = Scope::of(row::strings(&row.scopes)?.iter().map(String::as_str))
            .map_err(|_| StoreError::Corrupt("scope"))?;
        let kind = match row.secret_digest {
            None => ClientKind::Public,
            Some(digest) => ClientKind::Confidential { secret: row::digest(digest)? },
        };
        Ok(Self {
            id: ClientId::parse(&row.id).ok_or(StoreError::Corrupt("client id"))?,
            name: ClientName::parse(&row.name).map_err(|_| StoreError::Corrupt("client name"))?,
            status: row::status(&row.status)?,
            audiences,
            scopes,
            kind,
            epoch: row::epoch(row.epoch)?,
            created_at: row::time(row.created_at)?,
        })
    }
}
