//! A session as the tables hold it. Rows that cannot be are refused in one place, instead of becoming sessions that
//! cannot be.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use time::OffsetDateTime;

use super::error::corrupt;
use crate::domain::{Attributes, EndReason, Origin, SealedSuccessor, Session, SessionId, Subject};
use crate::store::{Ended, Found, StoreError};

/// What is read of a session, from the table named `s`.
macro_rules! columns {
    () => {
        "s.id, s.subject, s.username, s.epoch, s.methods, s.authenticated_at, s.user_agent, s.client_address, \
         s.created_at, s.last_active_at, s.absolute_expires_at, s.attributes_version, s.attributes"
    };
}
pub(super) use columns;

#[derive(sqlx::FromRow)]
pub(super) struct SessionRow {
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) username: String,
    pub(super) epoch: i64,
    pub(super) methods: String,
    pub(super) authenticated_at: i64,
    pub(super) user_agent: String,
    pub(super) client_address: String,
    pub(super) created_at: i64,
    pub(super) last_active_at: i64,
    pub(super) absolute_expires_at: i64,
    pub(super) attributes_version: i64,
    pub(super) attributes: String,
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Session, StoreError> {
        Ok(Session {
            id: session_id(&row.id)?,
            origin: Origin {
                subject: subject(&row.subject)?,
                username: row.username,
                epoch: unsigned(row.epoch)?,
                methods: serde_json::from_str(&row.methods).map_err(corrupt)?,
                authenticated_at: moment(row.authenticated_at)?,
                user_agent: row.user_agent,
                client_address: row.client_address,
            },
            created_at: moment(row.created_at)?,
            last_active_at: moment(row.last_active_at)?,
            absolute_expires_at: moment(row.absolute_expires_at)?,
            attributes_version: unsigned(row.attributes_version)?,
            attributes: attributes(&row.attributes)?,
        })
    }
}

/// A link from a presented secret to the current one: the session, and a successor.
#[derive(sqlx::FromRow)]
pub(super) struct LinkRow {
    #[sqlx(flatten)]
    session: SessionRow,
    sealed: Vec<u8>,
}

/// All links of a chain, in order.
pub(super) fn found(chain: Vec<LinkRow>) -> Result<Option<Found>, StoreError> {
    let mut session = None;
    let mut successors = Vec::with_capacity(chain.len());
    for link in chain {
        successors.push(SealedSuccessor::stored(link.sealed));
        session = Some(link.session);
    }
    session.map(|row| Ok(Found { session: row.try_into()?, successors })).transpose()
}

#[derive(sqlx::FromRow)]
pub(super) struct EndedRow {
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) last_active_at: i64,
}

impl EndedRow {
    pub(super) fn ended(self, reason: EndReason) -> Result<Ended, StoreError> {
        Ok(Ended {
            id: session_id(&self.id)?,
            subject: subject(&self.subject)?,
            reason,
            last_active_at: moment(self.last_active_at)?,
        })
    }
}

/// Unix milliseconds.
pub(super) fn milliseconds(at: OffsetDateTime) -> i64 {
    at.unix_timestamp() * 1_000 + i64::from(at.millisecond())
}

pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(corrupt)
}

pub(super) fn attributes_text(attributes: &Attributes) -> Result<String, StoreError> {
    let encoded: BTreeMap<&str, String> = attributes
        .entries()
        .iter()
        .map(|(name, value)| (name.as_str(), STANDARD_NO_PAD.encode(value)))
        .collect();
    serde_json::to_string(&encoded).map_err(corrupt)
}

pub(super) fn attributes(text: &str) -> Result<Attributes, StoreError> {
    let encoded: BTreeMap<String, String> = serde_json::from_str(text).map_err(corrupt)?;
    let mut entries = BTreeMap::new();
    for (name, value) in encoded {
        entries.insert(name, STANDARD_NO_PAD.decode(value).map_err(corrupt)?);
    }
    Attributes::new(entries).map_err(corrupt)
}

pub(super) fn moment(milliseconds: i64) -> Result<OffsetDateTime, StoreError> {
    let seconds = OffsetDateTime::from_unix_timestamp(milliseconds.div_euclid(1_000)).map_err(corrupt)?;
    let rest = u16::try_from(milliseconds.rem_euclid(1_000)).map_err(corrupt)?;
    seconds.replace_millisecond(rest).map_err(corrupt)
}

pub(super) fn session_id(text: &str) -> Result<SessionId, StoreError> {
    SessionId::parse(text).ok_or_else(|| corrupt("a session id that is none"))
}

pub(super) fn subject(text: &str) -> Result<Subject, StoreError> {
    Subject::parse(text).ok_or_else(|| corrupt("a subject that is none"))
}
