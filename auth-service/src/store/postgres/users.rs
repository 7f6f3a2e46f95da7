//! Users.

use chassis::postgres::Attempt;
use feed::{What, log::postgres::append_within};
use sqlx::PgConnection;

use super::{families, is_storable, storable_part};
use crate::{
    domain::{
        id::UserId,
        page::{Page, PageRequest},
        phc::PasswordHash,
        user::{Account, Key, Status, User},
    },
    store::{
        Inserted, NewEnding, NewUser, StoreError,
        row::{self, AccountRow, UserRow, phc},
    },
};

pub(super) async fn insert(attempt: Attempt, user: &NewUser) -> Result<Inserted, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO users (id, username, username_key, password_hash, status, must_change_password, epoch, created_at) \
         VALUES ($1, $2, $3, $4, 'active', $5, 0, $6) ON CONFLICT DO NOTHING",
    )
    .bind(user.id.as_str())
    .bind(user.username.as_str())
    .bind(user.username.key())
    .bind(phc(&user.password_hash)?)
    .bind(user.must_change_password)
    .bind(row::millis(user.created_at))
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(if inserted.rows_affected() == 1 { Inserted::Done } else { Inserted::Taken })
}

pub(super) async fn by_key(attempt: Attempt, key: &Key<UserId>) -> Result<Option<User>, StoreError> {
    let query = match key {
        Key::Id(id) => sqlx::query_as::<_, UserRow>(
            "SELECT id, username, status, must_change_password, epoch, created_at FROM users WHERE id = $1",
        )
        .bind(id.as_str()),
        Key::Name(name) if !is_storable(name) => return Ok(None),
        Key::Name(name) => sqlx::query_as::<_, UserRow>(
            "SELECT id, username, status, must_change_password, epoch, created_at FROM users WHERE username_key = $1",
        )
        .bind(name),
    };
    query.fetch_optional(&mut *attempt.connection().await?).await?.map(User::try_from).transpose()
}

pub(super) async fn account(attempt: Attempt, username_key: &str) -> Result<Option<Account>, StoreError> {
    if !is_storable(username_key) {
        return Ok(None);
    }
    sqlx::query_as::<_, AccountRow>(
        "SELECT id, username, status, must_change_password, epoch, created_at, password_hash \
         FROM users WHERE username_key = $1",
    )
    .bind(username_key)
    .fetch_optional(&mut *attempt.connection().await?)
    .await?
    .map(Account::try_from)
    .transpose()
}

pub(super) async fn page(attempt: Attempt, page: &PageRequest) -> Result<Page<User>, StoreError> {
    let rows = sqlx::query_as::<_, UserRow>(
        "SELECT id, username, status, must_change_password, epoch, created_at \
         FROM users WHERE id > $1 ORDER BY id LIMIT $2",
    )
    .bind(storable_part(&page.after))
    .bind(i64::from(page.size) + 1)
    .fetch_all(&mut *attempt.connection().await?)
    .await?;
    let users = rows.into_iter().map(User::try_from).collect::<Result<_, _>>()?;
    Ok(Page::cut(users, page, |user: &User| user.id.as_str()))
}

pub(super) async fn set_status(
    attempt: Attempt,
    id: &UserId,
    status: Status,
    ending: NewEnding<'_>,
) -> Result<Option<User>, StoreError> {
    let mut transaction = attempt.begin().await?;
    let mut entry = None;
    match status {
        Status::Active => {
            sqlx::query("UPDATE users SET status = 'active' WHERE id = $1 AND status = 'disabled'")
                .bind(id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        Status::Disabled => {
            let epoch: Option<i64> = sqlx::query_scalar(
                "UPDATE users SET status = 'disabled', epoch = epoch + 1 \
                 WHERE id = $1 AND status = 'active' RETURNING epoch",
            )
            .bind(id.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
            if let Some(epoch) = epoch {
                families::end_of_subject(&mut transaction, id, "disabled", ending.at).await?;
                entry = Some(ending.entry(What::Subject, id.as_str(), Some(row::epoch(epoch)?))?);
            }
        }
    }
    let user = read(&mut transaction, id).await?;
    match entry {
        Some(entry) => drop(append_within(&mut transaction, &[entry]).await?),
        None => families::write(&mut transaction).await?,
    }
    transaction.commit().await?;
    Ok(user)
}

pub(super) async fn set_password(
    attempt: Attempt,
    id: &UserId,
    epoch: Option<u64>,
    hash: &PasswordHash,
    must_change: bool,
    ending: NewEnding<'_>,
) -> Result<Option<User>, StoreError> {
    let mut transaction = attempt.begin().await?;
    let epoch: Option<i64> = sqlx::query_scalar(
        "UPDATE users SET password_hash = $2, must_change_password = $3, epoch = epoch + 1 \
         WHERE id = $1 AND ($4::bigint IS NULL OR (epoch = $4 AND status = 'active')) RETURNING epoch",
    )
    .bind(id.as_str())
    .bind(phc(hash)?)
    .bind(must_change)
    .bind(epoch.map(row::epoch_column))
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(epoch) = epoch else {
        families::nothing(transaction).await?;
        return Ok(None);
    };
    families::end_of_subject(&mut transaction, id, "password", ending.at).await?;
    let user = read(&mut transaction, id).await?;
    let entry = ending.entry(What::Subject, id.as_str(), Some(row::epoch(epoch)?))?;
    append_within(&mut transaction, &[entry]).await?;
    transaction.commit().await?;
    Ok(user)
}

pub(super) async fn upgrade_hash(
    attempt: Attempt,
    id: &UserId,
    old: &PasswordHash,
    new: &PasswordHash,
) -> Result<bool, StoreError> {
    let upgraded = sqlx::query("UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2")
        .bind(id.as_str())
        .bind(phc(old)?)
        .bind(phc(new)?)
        .execute(&mut *attempt.connection().await?)
        .await?;
    Ok(upgraded.rows_affected() == 1)
}

pub(super) async fn revoke(attempt: Attempt, id: &UserId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
    let mut transaction = attempt.begin().await?;
    let epoch: Option<i64> =
        sqlx::query_scalar("UPDATE users SET epoch = epoch + 1 WHERE id = $1 RETURNING epoch")
            .bind(id.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
    let Some(epoch) = epoch else {
        families::nothing(transaction).await?;
        return Ok(false);
    };
    families::end_of_subject(&mut transaction, id, "revoked", ending.at).await?;
    let entry = ending.entry(What::Subject, id.as_str(), Some(row::epoch(epoch)?))?;
    append_within(&mut transaction, &[entry]).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(super) async fn delete(attempt: Attempt, id: &UserId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
    let mut transaction = attempt.begin().await?;
    let deleted =
        sqlx::query("DELETE FROM users WHERE id = $1").bind(id.as_str()).execute(&mut *transaction).await?;
    if deleted.rows_affected() == 0 {
        families::nothing(transaction).await?;
        return Ok(false);
    }
    families::end_of_subject(&mut transaction, id, "deleted", ending.at).await?;
    append_within(&mut transaction, &[ending.entry(What::Subject, id.as_str(), None)?]).await?;
    transaction.commit().await?;
    Ok(true)
}

async fn read(connection: &mut PgConnection, id: &UserId) -> Result<Option<User>, StoreError> {
    sqlx::query_as::<_, UserRow>(
        "SELECT id, username, status, must_change_password, epoch, created_at FROM users WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?
    .map(User::try_from)
    .transpose()
}
