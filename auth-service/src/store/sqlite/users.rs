//! Users.

use feed::{What, log::sqlite::append_within};
use sqlx::SqliteConnection;

use super::{SqliteStore, families};
use crate::{
    domain::{
        id::UserId,
        page::{Page, PageRequest},
        phc::PasswordHash,
        user::{Account, Key, Status, User},
    },
    store::{
        Inserted, NewEnding, NewUser, StoreError,
        row::{self, AccountRow, UserRow, is_taken, phc},
    },
};

impl SqliteStore {
    pub(super) async fn insert_user(&self, user: NewUser) -> Result<Inserted, StoreError> {
        let inserted = sqlx::query(
            "INSERT INTO users (id, username, username_key, password_hash, status, must_change_password, epoch, created_at) \
             VALUES (?1, ?2, ?3, ?4, 'active', ?5, 0, ?6)",
        )
        .bind(user.id.as_str())
        .bind(user.username.as_str())
        .bind(user.username.key())
        .bind(phc(&user.password_hash)?)
        .bind(user.must_change_password)
        .bind(row::millis(user.created_at))
        .execute(self.0.writer())
        .await;
        match inserted {
            Ok(_) => Ok(Inserted::Done),
            Err(error) if is_taken(&error) => Ok(Inserted::Taken),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn user(&self, key: &Key<UserId>) -> Result<Option<User>, StoreError> {
        let query = match key {
            Key::Id(id) => sqlx::query_as::<_, UserRow>(
                "SELECT id, username, status, must_change_password, epoch, created_at FROM users WHERE id = ?1",
            )
            .bind(id.as_str()),
            Key::Name(name) => sqlx::query_as::<_, UserRow>(
                "SELECT id, username, status, must_change_password, epoch, created_at FROM users WHERE username_key = ?1",
            )
            .bind(name),
        };
        query.fetch_optional(self.0.readers()).await?.map(User::try_from).transpose()
    }

    pub(super) async fn account(&self, username_key: &str) -> Result<Option<Account>, StoreError> {
        sqlx::query_as::<_, AccountRow>(
            "SELECT id, username, status, must_change_password, epoch, created_at, password_hash \
             FROM users WHERE username_key = ?1",
        )
        .bind(username_key)
        .fetch_optional(self.0.readers())
        .await?
        .map(Account::try_from)
        .transpose()
    }

    pub(super) async fn users(&self, page: &PageRequest) -> Result<Page<User>, StoreError> {
        let rows = sqlx::query_as::<_, UserRow>(
            "SELECT id, username, status, must_change_password, epoch, created_at \
             FROM users WHERE id > ?1 ORDER BY id LIMIT ?2",
        )
        .bind(&page.after)
        .bind(i64::from(page.size) + 1)
        .fetch_all(self.0.readers())
        .await?;
        let users = rows.into_iter().map(User::try_from).collect::<Result<_, _>>()?;
        Ok(Page::cut(users, page, |user: &User| user.id.as_str()))
    }

    pub(super) async fn set_user_status(
        &self,
        id: &UserId,
        status: Status,
        ending: NewEnding<'_>,
    ) -> Result<Option<User>, StoreError> {
        let mut transaction = self.0.write().await?;
        match status {
            Status::Active => {
                sqlx::query("UPDATE users SET status = 'active' WHERE id = ?1 AND status = 'disabled'")
                    .bind(id.as_str())
                    .execute(&mut *transaction)
                    .await?;
            }
            Status::Disabled => {
                let epoch: Option<i64> = sqlx::query_scalar(
                    "UPDATE users SET status = 'disabled', epoch = epoch + 1 \
                     WHERE id = ?1 AND status = 'active' RETURNING epoch",
                )
                .bind(id.as_str())
                .fetch_optional(&mut *transaction)
                .await?;
                if let Some(epoch) = epoch {
                    families::end_of_subject(&mut transaction, id, "disabled", ending.at).await?;
                    let entry = ending.entry(What::Subject, id.as_str(), Some(row::epoch(epoch)?))?;
                    append_within(&mut transaction, &[entry]).await?;
                }
            }
        }
        let user = read(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(user)
    }

    pub(super) async fn set_password(
        &self,
        id: &UserId,
        epoch: Option<u64>,
        hash: &PasswordHash,
        must_change: bool,
        ending: NewEnding<'_>,
    ) -> Result<Option<User>, StoreError> {
        let mut transaction = self.0.write().await?;
        let epoch: Option<i64> = sqlx::query_scalar(
            "UPDATE users SET password_hash = ?2, must_change_password = ?3, epoch = epoch + 1 \
             WHERE id = ?1 AND (?4 IS NULL OR (epoch = ?4 AND status = 'active')) RETURNING epoch",
        )
        .bind(id.as_str())
        .bind(phc(hash)?)
        .bind(must_change)
        .bind(epoch.map(row::epoch_column))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(epoch) = epoch else { return Ok(None) };
        families::end_of_subject(&mut transaction, id, "password", ending.at).await?;
        let entry = ending.entry(What::Subject, id.as_str(), Some(row::epoch(epoch)?))?;
        append_within(&mut transaction, &[entry]).await?;
        let user = read(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(user)
    }

    pub(super) async fn upgrade_hash(
        &self,
        id: &UserId,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        let upgraded =
            sqlx::query("UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2")
                .bind(id.as_str())
                .bind(phc(old)?)
                .bind(phc(new)?)
                .execute(self.0.writer())
                .await?;
        Ok(upgraded.rows_affected() == 1)
    }

    pub(super) async fn revoke_user(&self, id: &UserId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        let mut transaction = self.0.write().await?;
        let epoch: Option<i64> =
            sqlx::query_scalar("UPDATE users SET epoch = epoch + 1 WHERE id = ?1 RETURNING epoch")
                .bind(id.as_str())
                .fetch_optional(&mut *transaction)
                .await?;
        let Some(epoch) = epoch else { return Ok(false) };
        families::end_of_subject(&mut transaction, id, "revoked", ending.at).await?;
        let entry = ending.entry(What::Subject, id.as_str(), Some(row::epoch(epoch)?))?;
        append_within(&mut transaction, &[entry]).await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn delete_user(&self, id: &UserId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        let mut transaction = self.0.write().await?;
        let deleted = sqlx::query("DELETE FROM users WHERE id = ?1")
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        if deleted.rows_affected() == 0 {
            return Ok(false);
        }
        families::end_of_subject(&mut transaction, id, "deleted", ending.at).await?;
        append_within(&mut transaction, &[ending.entry(What::Subject, id.as_str(), None)?]).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

async fn read(connection: &mut SqliteConnection, id: &UserId) -> Result<Option<User>, StoreError> {
    sqlx::query_as::<_, UserRow>(
        "SELECT id, username, status, must_change_password, epoch, created_at FROM users WHERE id = ?1",
    )
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?
    .map(User::try_from)
    .transpose()
}
