//! Signing keys. Two partial unique indexes hold that at most one is active and at most one announced.

use chassis::postgres::Attempt;
use feed::{What, log::postgres::append_within};
use time::OffsetDateTime;

use super::families;
use crate::{
    domain::signing_key::SealedKey,
    store::{
        NewEnding, StoreError,
        row::{self, KeyRow, columns, is_taken},
    },
};

pub(super) async fn all(attempt: Attempt) -> Result<Vec<SealedKey>, StoreError> {
    sqlx::query_as::<_, KeyRow>(
        "SELECT kid, algorithm, state, moment, sealed FROM signing_keys ORDER BY moment, kid",
    )
    .fetch_all(&mut *attempt.connection().await?)
    .await?
    .into_iter()
    .map(SealedKey::try_from)
    .collect()
}

pub(super) async fn insert(attempt: Attempt, key: &SealedKey) -> Result<bool, StoreError> {
    let (state, moment) = columns(key.record.state);
    let inserted = sqlx::query(
        "INSERT INTO signing_keys (kid, algorithm, state, moment, sealed) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(&key.record.kid)
    .bind(key.record.algorithm.as_str())
    .bind(state)
    .bind(row::millis(moment))
    .bind(&key.sealed)
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

pub(super) async fn activate(
    attempt: Attempt,
    kid: &str,
    retire: Option<&str>,
    until: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = attempt.begin().await?;
    if let Some(retire) = retire {
        let retired = sqlx::query(
            "UPDATE signing_keys SET state = 'retiring', moment = $2 WHERE kid = $1 AND state = 'active'",
        )
        .bind(retire)
        .bind(row::millis(until))
        .execute(&mut *transaction)
        .await?;
        if retired.rows_affected() == 0 {
            return Ok(false);
        }
    }
    let activated = sqlx::query(
        "UPDATE signing_keys SET state = 'active', moment = $2 WHERE kid = $1 AND state = 'announced'",
    )
    .bind(kid)
    .bind(row::millis(now))
    .execute(&mut *transaction)
    .await;
    match activated {
        Ok(done) if done.rows_affected() == 1 => {
            transaction.commit().await?;
            Ok(true)
        }
        Ok(_) => Ok(false),
        Err(error) if is_taken(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn remove(attempt: Attempt, kid: &str, now: OffsetDateTime) -> Result<bool, StoreError> {
    let removed = sqlx::query(
        "UPDATE signing_keys SET state = 'gone', moment = $2, sealed = '' \
         WHERE kid = $1 AND state = 'retiring' AND moment <= $2",
    )
    .bind(kid)
    .bind(row::millis(now))
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(removed.rows_affected() == 1)
}

pub(super) async fn revoke(attempt: Attempt, kid: &str, ending: NewEnding<'_>) -> Result<bool, StoreError> {
    let mut transaction = attempt.begin().await?;
    let revoked = sqlx::query(
        "UPDATE signing_keys SET state = 'gone', moment = $2, sealed = '' WHERE kid = $1 AND state <> 'gone'",
    )
    .bind(kid)
    .bind(row::millis(ending.at))
    .execute(&mut *transaction)
    .await?;
    if revoked.rows_affected() == 0 {
        families::nothing(transaction).await?;
        return Ok(false);
    }
    append_within(&mut transaction, &[ending.entry(What::Key, kid, None)?]).await?;
    transaction.commit().await?;
    Ok(true)
}
