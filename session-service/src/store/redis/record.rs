//! A session as its hash holds it: what changes, and what scripts judge by, in fields of its own, all else in one.

use std::borrow::Cow;

use redis::Value;
use serde::{Deserialize, Serialize};

use super::error::Failure;
use super::reply::{number, str};
use crate::domain::{Origin, Session};
use crate::store::row::{attributes, milliseconds, moment, session_id, subject};

/// What is answered of a session, in the order in which [`session`] takes it. As the scripts have it.
pub(super) const FIELDS: [&str; 6] =
    ["subject", "origin", "last_active_at", "absolute_expires_at", "attributes_version", "attributes"];

/// The field `origin`, as JSON: what a session begins with, never changes, and no script looks at. Milliseconds.
#[derive(Serialize, Deserialize)]
struct Beginning<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
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
}

pub(super) fn origin_text(session: &Session) -> Result<String, Failure> {
    let origin = &session.origin;
    let beginning = Beginning {
        id: session.id.as_str().into(),
        username: (&origin.username).into(),
        epoch: origin.epoch,
        methods: (&origin.methods).into(),
        authenticated_at: milliseconds(origin.authenticated_at),
        user_agent: (&origin.user_agent).into(),
        client_address: (&origin.client_address).into(),
        created_at: milliseconds(session.created_at),
    };
    serde_json::to_string(&beginning).map_err(Failure::impossible)
}

/// From [`FIELDS`].
pub(super) fn session(fields: &[Value]) -> Result<Session, Failure> {
    let [subject_field, origin, last_active_at, absolute_expires_at, attributes_version, attributes_field] =
        fields
    else {
        return Err(Failure::unknown());
    };
    let beginning: Beginning<'_> = serde_json::from_str(str(origin)?).map_err(Failure::impossible)?;
    Ok(Session {
        id: session_id(&beginning.id)?,
        origin: Origin {
            subject: subject(str(subject_field)?)?,
            username: beginning.username.into_owned(),
            epoch: beginning.epoch,
            methods: beginning.methods.into_owned(),
            authenticated_at: moment(beginning.authenticated_at)?,
            user_agent: beginning.user_agent.into_owned(),
            client_address: beginning.client_address.into_owned(),
        },
        created_at: moment(beginning.created_at)?,
        last_active_at: moment(number(last_active_at)?)?,
        absolute_expires_at: moment(number(absolute_expires_at)?)?,
        attributes_version: number(attributes_version)?,
        attributes: attributes(str(attributes_field)?)?,
    })
}
