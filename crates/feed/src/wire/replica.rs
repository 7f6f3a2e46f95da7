//! From replica to guard.

use std::time::Duration;

use proto::feed::v1::{self, watch_response::Message};

use super::{
    Invalid,
    parts::{entries, parse_entries, parse_position, position},
};
use crate::{ToWatcher, Wall};

pub fn to_watcher(message: &ToWatcher) -> v1::WatchResponse {
    let message = match message {
        ToWatcher::Reset => Message::Reset(v1::Reset {}),
        ToWatcher::Live(live) => Message::Live(v1::Live { entries: entries(live) }),
        ToWatcher::CaughtUp(at) => Message::CaughtUp(v1::CaughtUp { position: Some(position(*at)) }),
        ToWatcher::Changes { previous, entries: new, last } => Message::Changes(v1::Changes {
            previous: Some(position(*previous)),
            entries: entries(new),
            last: Some(position(*last)),
        }),
        ToWatcher::Grant { sequence, lease, log_time } => Message::Grant(v1::Grant {
            sequence: *sequence,
            // Whole milliseconds, rounded down: a guard may think its lease shorter than it is, never longer.
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            log_time_unix_ms: log_time.unix_millis(),
        }),
        ToWatcher::Leave => Message::Leave(v1::Leave {}),
    };
    v1::WatchResponse { message: Some(message) }
}

pub fn parse_to_watcher(response: v1::WatchResponse) -> Result<ToWatcher, Invalid> {
    Ok(match response.message.ok_or(Invalid::Empty)? {
        Message::Reset(v1::Reset {}) => ToWatcher::Reset,
        Message::Live(v1::Live { entries }) => ToWatcher::Live(parse_entries(entries)?),
        Message::CaughtUp(v1::CaughtUp { position }) => {
            ToWatcher::CaughtUp(parse_position(position, "position")?)
        }
        Message::Changes(v1::Changes { previous, entries, last }) => ToWatcher::Changes {
            previous: parse_position(previous, "previous")?,
            entries: parse_entries(entries)?,
            last: parse_position(last, "last")?,
        },
        Message::Grant(v1::Grant { sequence, lease_ms, log_time_unix_ms }) => {
            if lease_ms == 0 {
                return Err(Invalid::Field("lease_ms"));
            }
            ToWatcher::Grant {
                sequence,
                lease: Duration::from_millis(lease_ms),
                log_time: Wall::from_unix_millis(log_time_unix_ms),
            }
        }
        Message::Leave(v1::Leave {}) => ToWatcher::Leave,
    })
}
