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
    pub(in crate::store) id: String,
    pub(in crate::store) name: String,
    pub(in crate::store) status: String,
    pub(in crate::store) audiences: String,
    pub(in crate::store) scopes: String,
    pub(in crate::store) secret_digest: Option<Vec<u8>>,
    pub(in crate::store) epoch: i64,
    pub(in crate::store) created_at: i64,
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
