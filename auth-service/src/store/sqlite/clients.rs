//! Clients. Built-in ones are rows of the first migration: read like others, never changed.

use feed::{What, log::sqlite::append_within};

use super::{SqliteStore, families};
use crate::{
    domain::{
        client::{Audience, Client, ClientKind},
        id::ClientId,
        page::{Page, PageRequest},
        secret::Digest,
        user::{Key, Status},
    },
    store::{
        Inserted, NewEnding, StoreError,
        row::{self, ClientRow, is_taken},
    },
};

impl SqliteStore {
    pub(super) async fn insert_client(&self, client: &Client) -> Result<Inserted, StoreError> {
        let secret = match &client.kind {
            ClientKind::Public => None,
            ClientKind::Confidential { secret } => Some(secret.as_bytes().as_slice()),
        };
        let inserted = sqlx::query(
            "INSERT INTO clients (id, name, status, audiences, scopes, secret_digest, built_in, epoch, created_at) \
             VALUES (?1, ?2, 'active', ?3, ?4, ?5, 0, 0, ?6)",
        )
        .bind(client.id.as_str())
        .bind(client.name.as_str())
        .bind(row::strings_column(client.audiences.iter().map(Audience::as_str)))
        .bind(row::strings_column(client.scopes.words()))
        .bind(secret)
        .bind(row::millis(client.created_at))
        .execute(self.0.writer())
        .await;
        match inserted {
            Ok(_) => Ok(Inserted::Done),
            Err(error) if is_taken(&error) => Ok(Inserted::Taken),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn client(&self, key: &Key<ClientId>) -> Result<Option<Client>, StoreError> {
        let query = match key {
            Key::Id(id) => sqlx::query_as::<_, ClientRow>(
                "SELECT id, name, status, audiences, scopes, secret_digest, epoch, created_at FROM clients WHERE id = ?1",
            )
            .bind(id.as_str()),
            Key::Name(name) => sqlx::query_as::<_, ClientRow>(
                "SELECT id, name, status, audiences, scopes, secret_digest, epoch, created_at FROM clients WHERE name = ?1",
            )
            .bind(name),
        };
        query.fetch_optional(self.0.readers()).await?.map(Client::try_from).transpose()
    }

    pub(super) async fn clients(&self, page: &PageRequest) -> Result<Page<Client>, StoreError> {
        let rows = sqlx::query_as::<_, ClientRow>(
            "SELECT id, name, status, audiences, scopes, secret_digest, epoch, created_at \
             FROM clients WHERE id > ?1 ORDER BY id LIMIT ?2",
        )
        .bind(&page.after)
        .bind(i64::from(page.size) + 1)
        .fetch_all(self.0.readers())
        .await?;
        let clients = rows.into_iter().map(Client::try_from).collect::<Result<_, _>>()?;
        Ok(Page::cut(clients, page, |client: &Client| client.id.as_str()))
    }

    pub(super) async fn set_client_secret(
        &self,
        id: &ClientId,
        secret: &Digest,
        ending: NewEnding<'_>,
    ) -> Result<Option<Client>, StoreError> {
        let mut transaction = self.0.write().await?;
        let row = sqlx::query_as::<_, ClientRow>(
            "UPDATE clients SET secret_digest = ?2, epoch = epoch + 1 \
             WHERE id = ?1 AND secret_digest IS NOT NULL AND built_in = 0 \
             RETURNING id, name, status, audiences, scopes, secret_digest, epoch, created_at",
        )
        .bind(id.as_str())
        .bind(secret.as_bytes().as_slice())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(client) = row.map(Client::try_from).transpose()? else { return Ok(None) };
        let entry = ending.entry(What::Client, id.as_str(), Some(client.epoch))?;
        append_within(&mut transaction, &[entry]).await?;
        transaction.commit().await?;
        Ok(Some(client))
    }

    pub(super) async fn set_client_status(
        &self,
        id: &ClientId,
        status: Status,
        ending: NewEnding<'_>,
    ) -> Result<Option<Client>, StoreError> {
        let mut transaction = self.0.write().await?;
        match status {
            Status::Active => {
                sqlx::query("UPDATE clients SET status = 'active' WHERE id = ?1 AND status = 'disabled' AND built_in = 0")
                    .bind(id.as_str())
                    .execute(&mut *transaction)
                    .await?;
            }
            Status::Disabled => {
                let epoch: Option<i64> = sqlx::query_scalar(
                    "UPDATE clients SET status = 'disabled', epoch = epoch + 1 \
                     WHERE id = ?1 AND status = 'active' AND built_in = 0 RETURNING epoch",
                )
                .bind(id.as_str())
                .fetch_optional(&mut *transaction)
                .await?;
                if let Some(epoch) = epoch {
                    families::end_of_client(&mut transaction, id, "disabled", ending.at).await?;
                    let entry = ending.entry(What::Client, id.as_str(), Some(row::epoch(epoch)?))?;
                    append_within(&mut transaction, &[entry]).await?;
                }
            }
        }
        let row = sqlx::query_as::<_, ClientRow>(
            "SELECT id, name, status, audiences, scopes, secret_digest, epoch, created_at \
             FROM clients WHERE id = ?1 AND built_in = 0",
        )
        .bind(id.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        row.map(Client::try_from).transpose()
    }

    pub(super) async fn revoke_client(
        &self,
        id: &ClientId,
        ending: NewEnding<'_>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.0.write().await?;
        let epoch: Option<i64> = sqlx::query_scalar(
            "UPDATE clients SET epoch = epoch + 1 WHERE id = ?1 AND built_in = 0 RETURNING epoch",
        )
        .bind(id.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(epoch) = epoch else { return Ok(false) };
        families::end_of_client(&mut transaction, id, "revoked", ending.at).await?;
        let entry = ending.entry(What::Client, id.as_str(), Some(row::epoch(epoch)?))?;
        append_within(&mut transaction, &[entry]).await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn delete_client(
        &self,
        id: &ClientId,
        ending: NewEnding<'_>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.0.write().await?;
        let deleted = sqlx::query("DELETE FROM clients WHERE id = ?1 AND built_in = 0")
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        if deleted.rows_affected() == 0 {
            return Ok(false);
        }
        families::end_of_client(&mut transaction, id, "deleted", ending.at).await?;
        append_within(&mut transaction, &[ending.entry(What::Client, id.as_str(), None)?]).await?;
        transaction.commit().await?;
        Ok(true)
    }
}
