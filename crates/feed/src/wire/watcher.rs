//! From guard to replica.

use proto::feed::v1::{self, watch_request::Message};

use super::{
    Invalid,
    parts::{parse_position, position},
};
use crate::{FromWatcher, WatcherId};

pub fn from_watcher(message: &FromWatcher) -> v1::WatchRequest {
    let message = match message {
        FromWatcher::Hello { watcher, position: at } => Message::Hello(v1::Hello {
            watcher: watcher.0.to_be_bytes().to_vec(),
            position: at.map(position),
        }),
        FromWatcher::Renew { sequence, acked } => {
            Message::Renew(v1::Renew { sequence: *sequence, acked: Some(position(*acked)) })
        }
        FromWatcher::Release => Message::Release(v1::Release {}),
    };
    v1::WatchRequest { message: Some(message) }
}

pub fn parse_from_watcher(request: v1::WatchRequest) -> Result<FromWatcher, Invalid> {
    Ok(match request.message.ok_or(Invalid::Empty)? {
        Message::Hello(v1::Hello { watcher, position }) => FromWatcher::Hello {
            watcher: parse_watcher(&watcher)?,
            position: position.map(|at| parse_position(Some(at), "position")).transpose()?,
        },
        Message::Renew(v1::Renew { sequence, acked }) => {
            FromWatcher::Renew { sequence, acked: parse_position(acked, "acked")? }
        }
        Message::Release(v1::Release {}) => FromWatcher::Release,
    })
}

fn parse_watcher(bytes: &[u8]) -> Result<WatcherId, Invalid> {
    let bytes = bytes.try_into().map_err(|_| Invalid::Field("watcher"))?;
    Ok(WatcherId(u128::from_be_bytes(bytes)))
}
