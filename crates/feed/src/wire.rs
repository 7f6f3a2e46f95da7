//! The protocol's messages as `latchkey.feed.v1` carries them. What arrives is parsed here, once, and whole: behind this
//! file there is no message that lacks a field, no number that wraps and no id that is not one.

mod ask;
mod parts;
mod peer;
mod replica;
mod watcher;

pub use ask::{ask, parse_ask, parse_verdict, verdict};
pub use peer::{confirm, parse_confirm};
pub use replica::{parse_to_watcher, to_watcher};
pub use watcher::{from_watcher, parse_from_watcher};

use crate::change::MAX_KEY;

/// The other side does not speak this protocol: the stream is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the message says nothing that is known")]
    Empty,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` is not valid")]
    Field(&'static str),
}

#[cfg(test)]
mod tests;
