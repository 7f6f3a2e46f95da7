//! Between wire messages and domain values.

use prost_types::Timestamp;
use proto::session::v1 as wire;
use time::OffsetDateTime;

use crate::domain::{Lifetimes, Origin, Session};

pub(super) fn to_session(session: Session, lifetimes: &Lifetimes) -> wire::Session {
    let idle_expires_at = session.idle_expires_at(lifetimes);
    let Session {
        id,
        origin: Origin { subject, username, epoch, methods, authenticated_at, user_agent, client_address },
        created_at,
        last_active_at,
        absolute_expires_at,
        attributes_version,
        attributes,
    } = session;
    wire::Session {
        id: id.to_string(),
        subject: subject.to_string(),
        username,
        epoch,
        methods,
        authenticated_at: Some(timestamp(authenticated_at)),
        created_at: Some(timestamp(created_at)),
        last_active_at: Some(timestamp(last_active_at)),
        idle_expires_at: Some(timestamp(idle_expires_at)),
        absolute_expires_at: Some(timestamp(absolute_expires_at)),
        user_agent,
        client_address,
        attributes_version,
        attributes: attributes.into_entries().into_iter().collect(),
    }
}

pub(super) fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: i32::try_from(at.nanosecond()).unwrap_or_default() }
}
