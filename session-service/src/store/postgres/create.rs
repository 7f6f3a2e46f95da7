//! The transaction that turns a login into a session. Everything that must hold together is in it: the proof is spent
//! once, the limit holds under logins that race, and what is replaced ends with the beginning of its successor.

use sqlx::PgConnection;

use super::end::{begun, end_where, finished};
use super::record;
use crate::domain::{AtLimit, EndReason, SecretDigest};
use crate::store::error::corrupt;
use crate::store::row::{attributes_text, milliseconds};
use crate::store::{Created, Ended, NewSession, StoreError};

/// The caller commits `Stored` and drops everything else.
pub(super) async fn create(connection: &mut PgConnection, new: &NewSession) -> Result<Created, StoreError> {
    let subject = new.session.origin.subject.as_str();
    // INVARIANT: of one subject's logins, one at a time counts and adds, on whichever replica. Until the transaction ends.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(subject)
        .execute(&mut *connection)
        .await?;
    if !spend(connection, new).await? {
        return Ok(Created::ProofSpent);
    }
    record(connection, &new.activity).await?;
    let mut ended = Vec::new();
    if let Some(former) = &new.former {
        ended.extend(replace(connection, former, new).await?);
    }
    // Ended for good, not only left out of the count: a request that was judged a moment before the edge could
    // otherwise bring one back as the session too many.
    let expired = begun(
        end_where!("subject = $3 AND (absolute_expires_at <= $1 OR last_active_at <= $4)"),
        new.now,
        EndReason::Expired,
    );
    let expired = expired.bind(subject).bind(milliseconds(new.idle_since));
    finished(expired, connection, EndReason::Expired).await?;

    let live: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sessions WHERE subject = $1 AND ended_at IS NULL")
            .bind(subject)
            .fetch_one(&mut *connection)
            .await?;
    let beyond = live + 1 - i64::from(new.limit.most);
    if beyond > 0 {
        match new.limit.at_limit {
            AtLimit::Refuse => return Ok(Created::LimitReached),
            AtLimit::EndOldest => {
                let oldest = begun(
                    end_where!(
                        "id IN (SELECT id FROM sessions WHERE subject = $3 AND ended_at IS NULL \
                         ORDER BY created_at, id LIMIT $4)"
                    ),
                    new.now,
                    EndReason::Limit,
                );
                let oldest = oldest.bind(subject).bind(beyond);
                ended.extend(finished(oldest, connection, EndReason::Limit).await?);
            }
        }
    }
    insert(connection, new).await?;
    Ok(Created::Stored { ended })
}

/// False when the proof has made a session before. One that is being spent at this moment is waited for.
async fn spend(connection: &mut PgConnection, new: &NewSession) -> Result<bool, StoreError> {
    let spent = sqlx::query(
        "INSERT INTO spent_proofs (jti, keep_until) VALUES ($1, $2) ON CONFLICT (jti) DO NOTHING",
    )
    .bind(&new.proof.jti)
    .bind(milliseconds(new.proof.keep_until))
    .execute(connection)
    .await?;
    Ok(spent.rows_affected() == 1)
}

/// Ends the session that the browser had before.
async fn replace(
    connection: &mut PgConnection,
    former: &SecretDigest,
    new: &NewSession,
) -> Result<Vec<Ended>, StoreError> {
    // Twice, where the first finds nothing: a rotation that held the row meanwhile has turned the secret into a former one,
    // in a row that only a statement begun after it sees. A former one stays one.
    for _ in 0..2 {
        let replaced = begun(
            end_where!(
                "absolute_expires_at > $1 AND (secret_digest = $3 OR id IN \
                 (SELECT session_id FROM former_secrets WHERE digest = $3 AND accepted_until > $1))"
            ),
            new.now,
            EndReason::Replaced,
        );
        let ended = finished(replaced.bind(former.as_bytes()), connection, EndReason::Replaced).await?;
        if !ended.is_empty() {
            return Ok(ended);
        }
    }
    Ok(Vec::new())
}

async fn insert(connection: &mut PgConnection, new: &NewSession) -> Result<(), StoreError> {
    let session = &new.session;
    let origin = &session.origin;
    sqlx::query(
        "INSERT INTO sessions (id, secret_digest, rotation, subject, username, epoch, methods, authenticated_at, \
         user_agent, client_address, created_at, last_active_at, absolute_expires_at, attributes_version, attributes) \
         VALUES ($1, $2, 0, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
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
    .await?;
    Ok(())
}
