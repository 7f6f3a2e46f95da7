//! Users.

use chassis::postgres::Attempt;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{families, is_storable, storable_part};
use crate::{
    domain::{
        id::UserId,
        page::{Page, PageRequest},
        phc::PasswordHash,
        user::{Account, Key, Status, User},
    },
    store::{
        Inserted, NewUser, StoreError,
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
    now: OffsetDateTime,
) -> Result<Option<User>, StoreError> {
    let mut transaction = attempt.begin().await?;
    match status {
        Status::Active => {
            sqlx::query("UPDATE users SET status = 'active' WHERE id = $1 AND status = 'disabled'")
                .bind(id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        Status::Disabled => {
            let disabled = sqlx::query(
                "UPDATE users SET status = 'disabled', epoch = epoch + 1 WHERE id = $1 AND status = 'active'",
            )
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
            if disabled.rows_affected() == 1 {
                families::end_of_subject(&mut transaction, id, "disabled", now).await?;
            }
        }
    }
    let user = read(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(user)
}

pub(super) async fn set_password(
    attempt: Attempt,
    id: &UserId,
    epoch: Option<u64>,
    hash: &PasswordHash,
    must_change: bool,
    now: OffsetDateTime,
) -> Result<Option<User>, StoreError> {
    let mut transaction = attempt.begin().await?;
    let set = sqlx::query(
        "UPDATE users SET password_hash = $2, must_change_password = $3, epoch = epoch + 1 \
         WHERE id = $1 AND ($4::bigint IS NULL OR (epoch = $4 AND status = 'active'))",
    )
    .bind(id.as_str())
    .bind(phc(hash)?)
    .bind(must_change)
    .bind(epoch.map(row::epoch_column))
    .execute(&mut *transaction)
    .await?;
    if set.rows_affected() == 0 {
        return Ok(None);
    }
    families::end_of_subject(&mut transaction, id, "password", now).await?;
    let user = read(&mut transaction, id).await?;
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

pub(super) async fn delete(attempt: Attempt, id: &UserId, now: OffsetDateTime) -> Result<bool, StoreError> {
    let mut transaction = attempt.begin().await?;
    let deleted =
        sqlx::query("DELETE FROM users WHERE id = $1").bind(id.as_str()).execute(&mut *transaction).await?;
    if deleted.rows_affected() == 0 {
        return Ok(false);
    }
    families::end_of_subject(&mut transaction, id, "deleted", now).await?;
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
