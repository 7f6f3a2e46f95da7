//! Refresh families and their tokens.

use feed::{What, log::sqlite::append_within};
use sqlx::SqliteConnection;
use time::OffsetDateTime;

use super::SqliteStore;
use crate::{
    domain::{
        client::Client,
        id::{ClientId, FamilyId, UserId},
        refresh::{Family, Standing},
        secret::Digest,
        user::User,
    },
    store::{
        FamilyEnd, NewEnding, NewFamily, Rotation, StoreError,
        row::{self, ClientRow, FamilyRow, StandingRow, UserRow},
    },
};

impl SqliteStore {
    pub(super) async fn begin_family(&self, new: &NewFamily) -> Result<bool, StoreError> {
        let family = &new.family;
        let mut transaction = self.0.write().await?;
        // INVARIANT: epochs and status are repeated here: a password change that was committed since they were read wins.
        let begun = sqlx::query(
            "INSERT INTO families (id, subject, client, subject_epoch, client_epoch, scope, audience, amr, created_at, expires_at) \
             SELECT ?1, users.id, clients.id, users.epoch, clients.epoch, ?6, ?7, ?8, ?9, ?10 FROM users, clients \
             WHERE users.id = ?2 AND users.epoch = ?3 AND users.status = 'active' \
               AND clients.id = ?4 AND clients.epoch = ?5 AND clients.status = 'active'",
        )
        .bind(family.id.as_str())
        .bind(family.subject.as_str())
        .bind(row::epoch_column(family.epochs.subject))
        .bind(family.client.as_str())
        .bind(row::epoch_column(family.epochs.client))
        .bind(family.scope.to_string())
        .bind(&family.audience)
        .bind(row::strings_column(family.amr.iter().map(String::as_str)))
        .bind(row::millis(family.created_at))
        .bind(row::millis(family.expires_at))
        .execute(&mut *transaction)
        .await?;
        if begun.rows_affected() == 0 {
            return Ok(false);
        }
        insert_token(&mut transaction, &new.token, family.id.as_str(), new.idle_until).await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn standing(&self, token: &Digest) -> Result<Option<Standing>, StoreError> {
        // One read transaction: token, family, user and client as they were at one moment.
        let mut snapshot = self.0.read().await?;
        let row = sqlx::query_as::<_, StandingRow>(
            "SELECT t.digest, t.expires_at AS idle_until, t.spent_at, t.successor, \
                    f.id AS family, f.subject, f.client, f.subject_epoch, f.client_epoch, f.scope, f.audience, f.amr, \
                    f.created_at AS family_created_at, f.expires_at AS family_expires_at, f.ended_at \
             FROM refresh_tokens t JOIN families f ON f.id = t.family WHERE t.digest = ?1",
        )
        .bind(token.as_bytes().as_slice())
        .fetch_optional(&mut *snapshot)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let user = sqlx::query_as::<_, UserRow>(
            "SELECT id, username, status, must_change_password, epoch, created_at FROM users WHERE id = ?1",
        )
        .bind(&row.family.subject)
        .fetch_optional(&mut *snapshot)
        .await?;
        let client = sqlx::query_as::<_, ClientRow>(
            "SELECT id, name, status, audiences, scopes, secret_digest, epoch, created_at FROM clients WHERE id = ?1",
        )
        .bind(&row.family.client)
        .fetch_optional(&mut *snapshot)
        .await?;
        snapshot.commit().await?;
        let (link, family) = row.link_and_family()?;
        let user = user.map(User::try_from).transpose()?;
        let client = client.map(Client::try_from).transpose()?;
        Ok(Some(Standing { link, family, user, client }))
    }

    pub(super) async fn rotate(&self, rotation: &Rotation) -> Result<bool, StoreError> {
        let mut transaction = self.0.write().await?;
        // INVARIANT: this statement alone decides who rotates. It repeats every rule of `Standing::judge`.
        let family: Option<String> = sqlx::query_scalar(
            "UPDATE refresh_tokens SET spent_at = ?2, successor = ?3 \
             WHERE digest = ?1 AND spent_at IS NULL AND expires_at > ?2 AND EXISTS ( \
               SELECT 1 FROM families f JOIN users u ON u.id = f.subject JOIN clients c ON c.id = f.client \
               WHERE f.id = refresh_tokens.family AND f.client = ?4 AND f.ended_at IS NULL AND f.expires_at > ?2 \
                 AND u.status = 'active' AND u.epoch = f.subject_epoch AND c.status = 'active' AND c.epoch = f.client_epoch) \
             RETURNING family",
        )
        .bind(rotation.spent.as_bytes().as_slice())
        .bind(row::millis(rotation.now))
        .bind(rotation.sealed.as_deref())
        .bind(rotation.client.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(family) = family else { return Ok(false) };
        insert_token(&mut transaction, &rotation.successor, &family, rotation.idle_until).await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn family(&self, id: &FamilyId) -> Result<Option<Family>, StoreError> {
        sqlx::query_as::<_, FamilyRow>(
            "SELECT id AS family, subject, client, subject_epoch, client_epoch, scope, audience, amr, \
                    created_at AS family_created_at, expires_at AS family_expires_at, ended_at \
             FROM families WHERE id = ?1",
        )
        .bind(id.as_str())
        .fetch_optional(self.0.readers())
        .await?
        .map(Family::try_from)
        .transpose()
    }

    pub(super) async fn end_family(
        &self,
        id: &FamilyId,
        subject: Option<&UserId>,
        why: FamilyEnd,
        ending: NewEnding<'_>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.0.write().await?;
        let ended = sqlx::query(
            "UPDATE families SET ended_at = ?2, ended_why = ?3 \
             WHERE id = ?1 AND ended_at IS NULL AND (?4 IS NULL OR subject = ?4)",
        )
        .bind(id.as_str())
        .bind(row::millis(ending.at))
        .bind(why.as_str())
        .bind(subject.map(UserId::as_str))
        .execute(&mut *transaction)
        .await?;
        if ended.rows_affected() == 0 {
            return Ok(false);
        }
        append_within(&mut transaction, &[ending.entry(What::Family, id.as_str(), None)?]).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

async fn insert_token(
    connection: &mut SqliteConnection,
    digest: &Digest,
    family: &str,
    idle_until: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO refresh_tokens (digest, family, expires_at) VALUES (?1, ?2, ?3)")
        .bind(digest.as_bytes().as_slice())
        .bind(family)
        .bind(row::millis(idle_until))
        .execute(connection)
        .await?;
    Ok(())
}

/// Within the transaction that raises the subject's epoch or deletes it.
pub(super) async fn end_of_subject(
    connection: &mut SqliteConnection,
    subject: &UserId,
    why: &'static str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE families SET ended_at = ?2, ended_why = ?3 WHERE subject = ?1 AND ended_at IS NULL")
        .bind(subject.as_str())
        .bind(row::millis(now))
        .bind(why)
        .execute(connection)
        .await?;
    Ok(())
}

/// Within the transaction that raises the client's epoch or deletes it.
pub(super) async fn end_of_client(
    connection: &mut SqliteConnection,
    client: &ClientId,
    why: &'static str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE families SET ended_at = ?2, ended_why = ?3 WHERE client = ?1 AND ended_at IS NULL")
        .bind(client.as_str())
        .bind(row::millis(now))
        .bind(why)
        .execute(connection)
        .await?;
    Ok(())
}
