//! Clients. Built-in ones are rows of the first migration: read like others, never changed.

use chassis::postgres::Attempt;
use feed::{What, log::postgres::append_within};

use super::{families, is_storable, storable_part};
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
        row::{self, ClientRow},
    },
};

pub(super) async fn insert(attempt: Attempt, client: &Client) -> Result<Inserted, StoreError> {
    let secret = match &client.kind {
        ClientKind::Public => None,
        ClientKind::Confidential { secret } => Some(secret.as_bytes().as_slice()),
    };
    let inserted = sqlx::query(
        "INSERT INTO clients (id, name, status, audiences, scopes, secret_digest, built_in, epoch, created_at) \
         VALUES ($1, $2, 'active', $3, $4, $5, false, 0, $6) ON CONFLICT DO NOTHING",
    )
    .bind(client.id.as_str())
    .bind(client.name.as_str())
    .bind(row::strings_column(client.audiences.iter().map(Audience::as_str)))
    .bind(row::strings_column(client.scopes.words()))
    .bind(secret)
    .bind(row::millis(client.created_at))
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(if inserted.rows_affected() == 1 { Inserted::Done } else { Inserted::Taken })
}

pub(super) async fn by_key(attempt: Attempt, key: &Key<ClientId>) -> Result<Option<Client>, StoreError> {
    let query = match key {
        Key::Id(id) => sqlx::query_as::<_, ClientRow>(
            "SELECT id, name, status, audiences, scopes, secret_digest, epoch, created_at FROM clients WHERE id = $1",
        )
        .bind(id.as_str()),
        Key::Name(name) if !is_storable(name) => return Ok(None),
        Key::Name(name) => sqlx::query_as::<_, ClientRow>(
            "SELECT id, name, status, audiences, scopes, secret_digest, epoch, created_at FROM clients WHERE name = $1",
        )
        .bind(name),
    };
    query.fetch_optional(&mut *attempt.connection().await?).await?.map(Client::try_from).transpose()
}

pub(super) async fn page(attempt: Attempt, page: &PageRequest) -> Result<Page<Client>, StoreError> {
    let rows = sqlx::query_as::<_, ClientRow>(
        "SELECT id, name, status, audiences, scopes, secret_digest, epoch, created_at \
         FROM clients WHERE id > $1 ORDER BY id LIMIT $2",
    )
    .bind(storable_part(&page.after))
    .bind(i64::from(page.size) + 1)
    .fetch_all(&mut *attempt.connection().await?)
    .await?;
    let clients = rows.into_iter().map(Client::try_from).collect::<Result<_, _>>()?;
    Ok(Page::cut(clients, page, |client: &Client| client.id.as_str()))
}

pub(super) async fn set_secret(
    attempt: Attempt,
    id: &ClientId,
    secret: &Digest,
    ending: NewEnding<'_>,
) -> Result<Option<Client>, StoreError> {
    let mut transaction = attempt.begin().await?;
    let row = sqlx::query_as::<_, ClientRow>(
        "UPDATE clients SET secret_digest = $2, epoch = epoch + 1 \
         WHERE id = $1 AND secret_digest IS NOT NULL AND NOT built_in \
         RETURNING id, name, status, audiences, scopes, secret_digest, epoch, created_at",
    )
    .bind(id.as_str())
    .bind(secret.as_bytes().as_slice())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(client) = row.map(Client::try_from).transpose()? else {
        families::nothing(transaction).await?;
        return Ok(None);
    };
    append_within(&mut transaction, &[ending.entry(What::Client, id.as_str(), Some(client.epoch))?]).await?;
    transaction.commit().await?;
    Ok(Some(client))
}

pub(super) async fn set_status(
    attempt: Attempt,
    id: &ClientId,
    status: Status,
    ending: NewEnding<'_>,
) -> Result<Option<Client>, StoreError> {
    let mut transaction = attempt.begin().await?;
    let mut entry = None;
    match status {
        Status::Active => {
            sqlx::query(
                "UPDATE clients SET status = 'active' WHERE id = $1 AND status = 'disabled' AND NOT built_in",
            )
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        }
        Status::Disabled => {
            let epoch: Option<i64> = sqlx::query_scalar(
                "UPDATE clients SET status = 'disabled', epoch = epoch + 1 \
                 WHERE id = $1 AND status = 'active' AND NOT built_in RETURNING epoch",
            )
            .bind(id.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
            if let Some(epoch) = epoch {
                families::end_of_client(&mut transaction, id, "disabled", ending.at).await?;
                entry = Some(ending.entry(What::Client, id.as_str(), Some(row::epoch(epoch)?))?);
            }
        }
    }
    let row = sqlx::query_as::<_, ClientRow>(
        "SELECT id, name, status, audiences, scopes, secret_digest, epoch, created_at \
         FROM clients WHERE id = $1 AND NOT built_in",
    )
    .bind(id.as_str())
    .fetch_optional(&mut *transaction)
    .await?;
    match entry {
        Some(entry) => drop(append_within(&mut transaction, &[entry]).await?),
        None => families::write(&mut transaction).await?,
    }
    transaction.commit().await?;
    row.map(Client::try_from).transpose()
}

pub(super) async fn revoke(
    attempt: Attempt,
    id: &ClientId,
    ending: NewEnding<'_>,
) -> Result<bool, StoreError> {
    let mut transaction = attempt.begin().await?;
    let epoch: Option<i64> = sqlx::query_scalar(
        "UPDATE clients SET epoch = epoch + 1 WHERE id = $1 AND NOT built_in RETURNING epoch",
    )
    .bind(id.as_str())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(epoch) = epoch else {
        families::nothing(transaction).await?;
        return Ok(false);
    };
    families::end_of_client(&mut transaction, id, "revoked", ending.at).await?;
    let entry = ending.entry(What::Client, id.as_str(), Some(row::epoch(epoch)?))?;
    append_within(&mut transaction, &[entry]).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(super) async fn delete(
    attempt: Attempt,
    id: &ClientId,
    ending: NewEnding<'_>,
) -> Result<bool, StoreError> {
    let mut transaction = attempt.begin().await?;
    let deleted = sqlx::query("DELETE FROM clients WHERE id = $1 AND NOT built_in")
        .bind(id.as_str())
        .execute(&mut *transaction)
        .await?;
    if deleted.rows_affected() == 0 {
        families::nothing(transaction).await?;
        return Ok(false);
    }
    families::end_of_client(&mut transaction, id, "deleted", ending.at).await?;
    append_within(&mut transaction, &[ending.entry(What::Client, id.as_str(), None)?]).await?;
    transaction.commit().await?;
    Ok(true)
}
