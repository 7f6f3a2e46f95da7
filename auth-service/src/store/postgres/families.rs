//! Refresh families and their tokens.

use chassis::postgres::{Attempt, Transaction};
use feed::{What, log::postgres::append_within};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

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

/// A token with its family, and with user and client where they are still there.
#[derive(FromRow)]
struct JoinedRow {
    #[sqlx(flatten)]
    standing: StandingRow,
    user_id: Option<String>,
    username: Option<String>,
    user_status: Option<String>,
    must_change_password: Option<bool>,
    user_epoch: Option<i64>,
    user_created_at: Option<i64>,
    client_id: Option<String>,
    client_name: Option<String>,
    client_status: Option<String>,
    audiences: Option<String>,
    scopes: Option<String>,
    secret_digest: Option<Vec<u8>>,
    epoch_of_client: Option<i64>,
    client_created_at: Option<i64>,
}

impl JoinedRow {
    fn user(&mut self) -> Option<UserRow> {
        Some(UserRow {
            id: self.user_id.take()?,
            username: self.username.take()?,
            status: self.user_status.take()?,
            must_change_password: self.must_change_password?,
            epoch: self.user_epoch?,
            created_at: self.user_created_at?,
        })
    }

    fn client(&mut self) -> Option<ClientRow> {
        Some(ClientRow {
            id: self.client_id.take()?,
            name: self.client_name.take()?,
            status: self.client_status.take()?,
            audiences: self.audiences.take()?,
            scopes: self.scopes.take()?,
            secret_digest: self.secret_digest.take(),
            epoch: self.epoch_of_client?,
            created_at: self.client_created_at?,
        })
    }
}

impl TryFrom<JoinedRow> for Standing {
    type Error = StoreError;

    fn try_from(mut row: JoinedRow) -> Result<Self, StoreError> {
        let user = row.user().map(User::try_from).transpose()?;
        let client = row.client().map(Client::try_from).transpose()?;
        let (link, family) = row.standing.link_and_family()?;
        Ok(Self { link, family, user, client })
    }
}

pub(super) async fn begin(attempt: Attempt, new: &NewFamily) -> Result<bool, StoreError> {
    let family = &new.family;
    // INVARIANT: epochs and status are repeated here, on rows that are locked until the family is there. A change of them that
    // is under way is waited for and then seen; one that comes later waits, and then sees this family, which it ends.
    let begun = sqlx::query(
        "WITH begun AS ( \
           INSERT INTO families (id, subject, client, subject_epoch, client_epoch, scope, audience, amr, created_at, expires_at) \
           SELECT $1, users.id, clients.id, users.epoch, clients.epoch, $6, $7, $8, $9, $10 FROM users, clients \
           WHERE users.id = $2 AND users.epoch = $3 AND users.status = 'active' \
             AND clients.id = $4 AND clients.epoch = $5 AND clients.status = 'active' \
           FOR SHARE OF users, clients \
           RETURNING id) \
         INSERT INTO refresh_tokens (digest, family, expires_at) SELECT $11, id, $12 FROM begun",
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
    .bind(new.token.as_bytes().as_slice())
    .bind(row::millis(new.idle_until))
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// As [`standing`], from a server that is written to: one that was deposed, and does not know it, answers what only reads.
pub(super) async fn standing_for_certain(
    attempt: Attempt,
    token: &Digest,
) -> Result<Option<Standing>, StoreError> {
    let mut transaction = attempt.begin().await?;
    write(&mut transaction).await?;
    let standing = standing_on(&mut transaction, token).await?;
    transaction.commit().await?;
    Ok(standing)
}

/// A little that is committed only where writes are: with what changed nothing, and is answered all the same.
pub(super) async fn write(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_logical_emit_message(true, 'latchkey', '')").execute(connection).await?;
    Ok(())
}

/// There was nothing to change, as a server sees it that is written to.
pub(super) async fn nothing(mut transaction: Transaction) -> Result<(), StoreError> {
    write(&mut transaction).await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn standing(attempt: Attempt, token: &Digest) -> Result<Option<Standing>, StoreError> {
    standing_on(&mut *attempt.connection().await?, token).await
}

async fn standing_on(connection: &mut PgConnection, token: &Digest) -> Result<Option<Standing>, StoreError> {
    // One statement: token, family, user and client as they were at one moment.
    sqlx::query_as::<_, JoinedRow>(
        "SELECT t.digest, t.expires_at AS idle_until, t.spent_at, t.successor, \
                f.id AS family, f.subject, f.client, f.subject_epoch, f.client_epoch, f.scope, f.audience, f.amr, \
                f.created_at AS family_created_at, f.expires_at AS family_expires_at, f.ended_at, \
                u.id AS user_id, u.username, u.status AS user_status, u.must_change_password, \
                u.epoch AS user_epoch, u.created_at AS user_created_at, \
                c.id AS client_id, c.name AS client_name, c.status AS client_status, c.audiences, c.scopes, \
                c.secret_digest, c.epoch AS epoch_of_client, c.created_at AS client_created_at \
         FROM refresh_tokens t JOIN families f ON f.id = t.family \
         LEFT JOIN users u ON u.id = f.subject LEFT JOIN clients c ON c.id = f.client WHERE t.digest = $1",
    )
    .bind(token.as_bytes().as_slice())
    .fetch_optional(connection)
    .await?
    .map(Standing::try_from)
    .transpose()
}

pub(super) async fn rotate(attempt: Attempt, rotation: &Rotation) -> Result<bool, StoreError> {
    // INVARIANT: this statement alone decides who rotates. It repeats every rule of `Standing::judge`. The token's row is
    // locked by its change, so that a second rotation waits and then finds it spent. The family's, user's and client's are
    // not: an ending that was answered before this began is seen, and one that comes meanwhile finds the successor in the
    // family that it ends.
    let rotated = sqlx::query(
        "WITH spent AS ( \
           UPDATE refresh_tokens SET spent_at = $2, successor = $3 \
           WHERE digest = $1 AND spent_at IS NULL AND expires_at > $2 AND EXISTS ( \
             SELECT 1 FROM families f JOIN users u ON u.id = f.subject JOIN clients c ON c.id = f.client \
             WHERE f.id = refresh_tokens.family AND f.client = $4 AND f.ended_at IS NULL AND f.expires_at > $2 \
               AND u.status = 'active' AND u.epoch = f.subject_epoch \
               AND c.status = 'active' AND c.epoch = f.client_epoch) \
           RETURNING family) \
         INSERT INTO refresh_tokens (digest, family, expires_at) SELECT $5, family, $6 FROM spent",
    )
    .bind(rotation.spent.as_bytes().as_slice())
    .bind(row::millis(rotation.now))
    .bind(rotation.sealed.as_deref())
    .bind(rotation.client.as_str())
    .bind(rotation.successor.as_bytes().as_slice())
    .bind(row::millis(rotation.idle_until))
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(rotated.rows_affected() == 1)
}

pub(super) async fn one(attempt: Attempt, id: &FamilyId) -> Result<Option<Family>, StoreError> {
    sqlx::query_as::<_, FamilyRow>(
        "SELECT id AS family, subject, client, subject_epoch, client_epoch, scope, audience, amr, \
                created_at AS family_created_at, expires_at AS family_expires_at, ended_at \
         FROM families WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(&mut *attempt.connection().await?)
    .await?
    .map(Family::try_from)
    .transpose()
}

pub(super) async fn end(
    attempt: Attempt,
    id: &FamilyId,
    subject: Option<&UserId>,
    why: FamilyEnd,
    ending: NewEnding<'_>,
) -> Result<bool, StoreError> {
    let mut transaction = attempt.begin().await?;
    let ended = sqlx::query(
        "UPDATE families SET ended_at = $2, ended_why = $3 \
         WHERE id = $1 AND ended_at IS NULL AND ($4::text IS NULL OR subject = $4)",
    )
    .bind(id.as_str())
    .bind(row::millis(ending.at))
    .bind(why.as_str())
    .bind(subject.map(UserId::as_str))
    .execute(&mut *transaction)
    .await?;
    if ended.rows_affected() == 0 {
        nothing(transaction).await?;
        return Ok(false);
    }
    append_within(&mut transaction, &[ending.entry(What::Family, id.as_str(), None)?]).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Within the transaction that raises the subject's epoch or deletes it.
pub(super) async fn end_of_subject(
    connection: &mut PgConnection,
    subject: &UserId,
    why: &'static str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE families SET ended_at = $2, ended_why = $3 WHERE subject = $1 AND ended_at IS NULL")
        .bind(subject.as_str())
        .bind(row::millis(now))
        .bind(why)
        .execute(connection)
        .await?;
    Ok(())
}

/// Within the transaction that raises the client's epoch or deletes it.
pub(super) async fn end_of_client(
    connection: &mut PgConnection,
    client: &ClientId,
    why: &'static str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE families SET ended_at = $2, ended_why = $3 WHERE client = $1 AND ended_at IS NULL")
        .bind(client.as_str())
        .bind(row::millis(now))
        .bind(why)
        .execute(connection)
        .await?;
    Ok(())
}
