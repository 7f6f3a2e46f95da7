//! What is kept under the digest of a secret. It begins with the id of the secret's session, and that is all of it if the
//! secret is a former one. Under the current secret comes the session as it is answered:
//!
//! ```text
//! ID LAST_ACTIVE_AT VERSION ' ' ATTRIBUTES '\n' BEGINNING
//! ```
//!
//! The id and the time have a fixed length, so that scripts write the time in its place. Attributes are JSON, which has no line
//! breaks of its own; what never changes is a message of protobuf, since it is read with every request.

use std::str::FromStr;

use prost::Message;

use super::error::Failure;
use crate::domain::{Origin, Session, SessionId};
use crate::store::row::{attributes, milliseconds, moment, session_id, subject};

/// Digits of a moment in milliseconds. As the scripts have it.
const MOMENT: usize = 15;

/// What a session begins with, never changes, and no script looks at. Moments are milliseconds.
#[derive(Clone, PartialEq, Message)]
struct Beginning {
    #[prost(string, tag = "1")]
    subject: String,
    #[prost(string, tag = "2")]
    username: String,
    #[prost(uint64, tag = "3")]
    epoch: u64,
    #[prost(string, repeated, tag = "4")]
    methods: Vec<String>,
    #[prost(sint64, tag = "5")]
    authenticated_at: i64,
    #[prost(string, tag = "6")]
    user_agent: String,
    #[prost(string, tag = "7")]
    client_address: String,
    #[prost(sint64, tag = "8")]
    created_at: i64,
    #[prost(sint64, tag = "9")]
    absolute_expires_at: i64,
}

/// With `attributes` as they are stored.
pub(super) fn of(session: &Session, attributes: &str) -> Vec<u8> {
    let origin = &session.origin;
    let beginning = Beginning {
        subject: origin.subject.to_string(),
        username: origin.username.clone(),
        epoch: origin.epoch,
        methods: origin.methods.clone(),
        authenticated_at: milliseconds(origin.authenticated_at),
        user_agent: origin.user_agent.clone(),
        client_address: origin.client_address.clone(),
        created_at: milliseconds(session.created_at),
        absolute_expires_at: milliseconds(session.absolute_expires_at),
    };
    let (id, at) = (session.id.as_str(), milliseconds(session.last_active_at));
    let mut record = format!("{id}{at:0MOMENT$}{} {attributes}\n", session.attributes_version).into_bytes();
    record.extend(beginning.encode_to_vec());
    record
}

/// Of a secret that was rotated away: its session.
pub(super) fn former(text: &[u8]) -> Result<Option<SessionId>, Failure> {
    if text.len() != SessionId::LENGTH {
        return Ok(None);
    }
    let id = std::str::from_utf8(text).map_err(Failure::impossible)?;
    Ok(Some(session_id(id)?))
}

/// Of a current secret.
pub(super) fn session(record: &[u8]) -> Result<Session, Failure> {
    let line = record.iter().position(|byte| *byte == b'\n').ok_or_else(Failure::unknown)?;
    let (line, beginning) = record.split_at_checked(line).ok_or_else(Failure::unknown)?;
    let beginning = Beginning::decode(beginning.get(1..).unwrap_or_default()).map_err(Failure::impossible)?;
    // Protobuf has no word for what is missing.
    if beginning.absolute_expires_at <= beginning.created_at {
        return Err(Failure::unknown());
    }
    let line = std::str::from_utf8(line).map_err(Failure::impossible)?;
    let (id, rest) = line.split_at_checked(SessionId::LENGTH).ok_or_else(Failure::unknown)?;
    let (at, rest) = rest.split_at_checked(MOMENT).ok_or_else(Failure::unknown)?;
    let (version, kept_attributes) = rest.split_once(' ').ok_or_else(Failure::unknown)?;
    Ok(Session {
        id: session_id(id)?,
        origin: Origin {
            subject: subject(&beginning.subject)?,
            username: beginning.username,
            epoch: beginning.epoch,
            methods: beginning.methods,
            authenticated_at: moment(beginning.authenticated_at)?,
            user_agent: beginning.user_agent,
            client_address: beginning.client_address,
        },
        created_at: moment(beginning.created_at)?,
        last_active_at: moment(number(at)?)?,
        absolute_expires_at: moment(beginning.absolute_expires_at)?,
        attributes_version: number(version)?,
        attributes: attributes(kept_attributes)?,
    })
}

fn number<T: FromStr>(text: &str) -> Result<T, Failure>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(Failure::impossible)
}
