//! The transaction that turns a login into a session. Everything that must hold together is in it: the proof is spent
//! once, the limit holds under logins that race, and what is replaced ends with the beginning of its successor.

use sqlx::SqliteConnection;

use super::{BindMoment, end_where, finish_ending, record};
use crate::domain::{AtLimit, EndReason};
use crate::store::error::{corrupt, failed};
use crate::store::row::{attributes_text, milliseconds};
use crate::store::{Created, NewSession, StoreError};

/// The caller commits `Stored` and rolls everything else back.
pub(super) async fn create(
    connection: &mut SqliteConnection,
    new: &NewSession,
) -> Result<Created, StoreError> {
    if !spend(connection, new).await? {
        return Ok(Created::ProofSpent);
    }
    record(connection, &new.activity).await?;
    let mut ended = Vec::new();
    let subject = new.session.origin.subject.as_str();
    if let Some(former) = &new.former {
        let replaced = sqlx::query_as(end_where!(
            "absolute_expires_at > ?1 AND (secret_digest = ?3 OR id IN \
             (SELECT session_id FROM former_secrets WHERE digest = ?3 AND accepted_until > ?1))"
        ))
        .bind_moment(new.now, EndReason::Replaced)
        .bind(former.as_bytes())
        .fetch_all(&mut *connection)
        .await;
        ended.extend(finish_ending(replaced, connection, EndReason::Replaced).await?);
    }
    // Ended for good, not only left out of the count: a request that was judged a moment before the edge could
    // otherwise bring one back as the session too many.
    let expired =
        sqlx::query_as(end_where!("subject = ?3 AND (absolute_expires_at <= ?1 OR last_active_at <= ?4)"))
            .bind_moment(new.now, EndReason::Expired)
            .bind(subject)
            .bind(milliseconds(new.idle_since))
            .fetch_all(&mut *connection)
            .await;
    finish_ending(expired, connection, EndReason::Expired).await?;

    let live: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sessions WHERE subject = ?1 AND ended_at IS NULL")
            .bind(subject)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
    let beyond = live + 1 - i64::from(new.limit.most);
    if beyond > 0 {
        match new.limit.at_limit {
            AtLimit::Refuse => return Ok(Created::LimitReached),
            AtLimit::EndOldest => {
                let oldest = sqlx::query_as(end_where!(
                    "id IN (SELECT id FROM sessions WHERE subject = ?3 AND ended_at IS NULL \
                     ORDER BY created_at, id LIMIT ?4)"
                ))
                .bind_moment(new.now, EndReason::Limit)
                .bind(subject)
                .bind(beyond)
                .fetch_all(&mut *connection)
                .await;
                ended.extend(finish_ending(oldest, connection, EndReason::Limit).await?);
            }
        }
    }
    insert(connection, new).await?;
    Ok(Created::Stored { ended })
}

/// False when the proof has made a session before.
async fn spend(connection: &mut SqliteConnection, new: &NewSession) -> Result<bool, StoreError> {
    let spent = sqlx::query(
        "INSERT INTO spent_proofs (jti, keep_until) VALUES (?1, ?2) ON CONFLICT (jti) DO NOTHING",
    )
    .bind(&new.proof.jti)
    .bind(milliseconds(new.proof.keep_until))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(spent.rows_affected() == 1)
}

async fn insert(connection: &mut SqliteConnection, new: &NewSession) -> Result<(), StoreError> {
    let session = &new.session;
    let origin = &session.origin;
    sqlx::query(
        "INSERT INTO sessions (id, secret_digest, rotation, subject, username, epoch, methods, authenticated_at, \
         user_agent, client_address, created_at, last_active_at, absolute_expires_at, attributes_version, attributes) \
         VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )
    .bind(session.id.as_str())
    .bind(new.secret.as_bytes())
    .bind(origin.subject.as_str())
    .bind(&origin.username)
    .bind(i64::try_from(origin.epoch).map_err(corrupt)?)
    .bind(serde_json::to_string(&origin.methods).map_err(corrupt)?)
    .bind(milliseconds(origin.authenticated_at))
    .bind(&origin.user_agent)
    .bind(&origin.client_address)
    .bind(milliseconds(session.created_at))
    .bind(milliseconds(session.last_active_at))
    .bind(milliseconds(session.absolute_expires_at))
    .bind(i64::try_from(session.attributes_version).map_err(corrupt)?)
    .bind(attributes_text(&session.attributes)?)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}
