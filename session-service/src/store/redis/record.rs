//! What is kept under the digest of a secret. It begins with the id of the secret's session, and that is all of it if the
//! secret is a former one. Under the current secret comes the session as it is answered:
//!
//! ```text
//! ID LAST_ACTIVE_AT VERSION ' ' ATTRIBUTES '\n' BEGINNING
//! ```
//!
//! The id and the time have a fixed length, so that scripts write the time in its place. JSON has no line breaks of its own.

use std::borrow::Cow;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::Failure;
use crate::domain::{Origin, Session, SessionId};
use crate::store::row::{attributes, milliseconds, moment, session_id, subject};

/// Digits of a moment in milliseconds. As the scripts have it.
const MOMENT: usize = 15;

/// What a session begins with, never changes, and no script looks at, as JSON. Moments are milliseconds.
#[derive(Serialize, Deserialize)]
struct Beginning<'a> {
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow)]
    username: Cow<'a, str>,
    epoch: u64,
    methods: Cow<'a, [String]>,
    authenticated_at: i64,
    #[serde(borrow)]
    user_agent: Cow<'a, str>,
    #[serde(borrow)]
    client_address: Cow<'a, str>,
    created_at: i64,
    absolute_expires_at: i64,
}

/// With `attributes` as they are stored.
pub(super) fn text(session: &Session, attributes: &str) -> Result<String, Failure> {
    let origin = &session.origin;
    let beginning = Beginning {
        subject: origin.subject.as_str().into(),
        username: (&origin.username).into(),
        epoch: origin.epoch,
        methods: (&origin.methods).into(),
        authenticated_at: milliseconds(origin.authenticated_at),
        user_agent: (&origin.user_agent).into(),
        client_address: (&origin.client_address).into(),
        created_at: milliseconds(session.created_at),
        absolute_expires_at: milliseconds(session.absolute_expires_at),
    };
    let beginning = serde_json::to_string(&beginning).map_err(Failure::impossible)?;
    let (id, at) = (session.id.as_str(), milliseconds(session.last_active_at));
    Ok(format!("{id}{at:0MOMENT$}{} {attributes}\n{beginning}", session.attributes_version))
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
pub(super) fn session(text: &[u8]) -> Result<Session, Failure> {
    let text = std::str::from_utf8(text).map_err(Failure::impossible)?;
    let (id, rest) = text.split_at_checked(SessionId::LENGTH).ok_or_else(Failure::unknown)?;
    let (at, rest) = rest.split_at_checked(MOMENT).ok_or_else(Failure::unknown)?;
    let (version, rest) = rest.split_once(' ').ok_or_else(Failure::unknown)?;
    let (kept_attributes, beginning) = rest.split_once('\n').ok_or_else(Failure::unknown)?;
    let beginning: Beginning<'_> = serde_json::from_str(beginning).map_err(Failure::impossible)?;
    Ok(Session {
        id: session_id(id)?,
        origin: Origin {
            subject: subject(&beginning.subject)?,
            username: beginning.username.into_owned(),
            epoch: beginning.epoch,
            methods: beginning.methods.into_owned(),
            authenticated_at: moment(beginning.authenticated_at)?,
            user_agent: beginning.user_agent.into_owned(),
            client_address: beginning.client_address.into_owned(),
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
