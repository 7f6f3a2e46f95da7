//! What scripts answer, as what the store's callers know. An answer that no script gives is a store that holds what cannot be.

use std::str::FromStr;

use redis::Value;

use super::error::Failure;
use super::record;
use crate::domain::{EndReason, SealedSuccessor, Session};
use crate::store::row::EndedRow;
use crate::store::{AttributesSet, Created, Ended, Found, Rotated, Swept};

fn session(value: Value) -> Result<Session, Failure> {
    record::session(&bytes(value)?)
}

pub(super) fn session_if_any(value: Value) -> Result<Option<Session>, Failure> {
    if value == Value::Nil { Ok(None) } else { session(value).map(Some) }
}

pub(super) fn found(value: Value) -> Result<Option<Found>, Failure> {
    if value == Value::Nil {
        return Ok(None);
    }
    let [found, chain] = items(value)?;
    let sealed = array(chain)?.into_iter().map(|link| bytes(link).map(SealedSuccessor::stored));
    Ok(Some(Found { session: session(found)?, successors: sealed.collect::<Result<_, _>>()? }))
}

pub(super) fn sessions(value: Value) -> Result<Vec<Session>, Failure> {
    array(value)?.into_iter().map(session).collect()
}

pub(super) fn created(value: Value) -> Result<Created, Failure> {
    let mut parts = array(value)?.into_iter();
    let said = text(parts.next().unwrap_or_default())?;
    match (said.as_str(), parts.next()) {
        ("spent", None) => Ok(Created::ProofSpent),
        ("limit", None) => Ok(Created::LimitReached),
        ("stored", Some(sessions)) => Ok(Created::Stored { ended: ended(sessions)? }),
        _ => Err(Failure::unknown()),
    }
}

pub(super) fn ended(value: Value) -> Result<Vec<Ended>, Failure> {
    array(value)?
        .into_iter()
        .map(|one| {
            let [id, subject, last_active_at, reason] = items(one)?;
            let reason = text(reason)?;
            let reason = EndReason::ALL.into_iter().find(|known| known.as_str() == reason);
            let row =
                EndedRow { id: text(id)?, subject: text(subject)?, last_active_at: integer(last_active_at)? };
            Ok(row.ended(reason.ok_or_else(Failure::unknown)?)?)
        })
        .collect()
}

pub(super) fn rotated(value: Value) -> Result<Rotated, Failure> {
    match integer(value)? {
        0 => Ok(Rotated::NotCurrent),
        1 => Ok(Rotated::Done),
        _ => Err(Failure::unknown()),
    }
}

pub(super) fn attributes_set(value: Value) -> Result<AttributesSet, Failure> {
    let mut parts = array(value)?.into_iter();
    let said = text(parts.next().unwrap_or_default())?;
    let version = parts.next().map(number).transpose()?;
    match (said.as_str(), version) {
        ("missing", None) => Ok(AttributesSet::NotFound),
        ("mismatch", Some(current)) => Ok(AttributesSet::VersionMismatch { current }),
        ("done", Some(version)) => Ok(AttributesSet::Done { version }),
        _ => Err(Failure::unknown()),
    }
}

pub(super) fn swept(value: Value) -> Result<Swept, Failure> {
    let [sessions, successors, proofs] = items(value)?;
    let count = |value| u64::try_from(integer(value)?).map_err(Failure::impossible);
    Ok(Swept { sessions: count(sessions)?, successors: count(successors)?, proofs: count(proofs)? })
}

pub(super) fn bytes_if_any(value: Value) -> Result<Option<Vec<u8>>, Failure> {
    if value == Value::Nil { Ok(None) } else { bytes(value).map(Some) }
}

fn integer(value: Value) -> Result<i64, Failure> {
    if let Value::Int(number) = value { Ok(number) } else { Err(Failure::unknown()) }
}

fn array(value: Value) -> Result<Vec<Value>, Failure> {
    if let Value::Array(items) = value { Ok(items) } else { Err(Failure::unknown()) }
}

fn items<const N: usize>(value: Value) -> Result<[Value; N], Failure> {
    array(value)?.try_into().map_err(|_| Failure::unknown())
}

fn text(value: Value) -> Result<String, Failure> {
    String::from_utf8(bytes(value)?).map_err(Failure::impossible)
}

fn bytes(value: Value) -> Result<Vec<u8>, Failure> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(Failure::unknown()),
    }
}

fn number<T: FromStr>(value: Value) -> Result<T, Failure>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text(value)?.parse().map_err(Failure::impossible)
}
