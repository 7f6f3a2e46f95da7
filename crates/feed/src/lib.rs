//! The change feed: how an ending is acknowledged only once no replica will accept it any more.
//!
//! The protocol is three state machines without input or output: [`Replica`] (a service replica, which also ends things),
//! [`Watcher`] (a guard's side) and [`Ledger`] (a log in memory). Each takes an event and the present time and says what is
//! to be done. They hold no clock, no randomness and no socket, so that the simulation behind the feature `simulation` runs
//! the very code that serves, a thousand histories a second.
//!
//! `docs/feed.md` maps every rule of the specification to the file that holds it.

mod broken;
pub mod change;
pub mod credential;
#[cfg(feature = "driver")]
pub mod driver;
pub mod endings;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod issuer;
pub mod log;
pub mod member;
pub mod message;
pub mod replica;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod time;
pub mod watcher;
#[cfg(feature = "wire")]
pub mod wire;

#[cfg(feature = "simulation")]
pub use broken::Broken;
pub use broken::Variant;
pub use change::{Change, Entry, Position, Tag, Tail, Target, What};
pub use credential::{Credential, Verdict};
pub use endings::Endings;
pub use log::{Ledger, Log, LogCall, LogReply};
pub use member::{Life, Member, MemberId};
pub use message::{FromWatcher, StreamId, ToWatcher, WatcherId};
pub use replica::Replica;
pub use time::{LogClock, Moment, Now, Wall};
pub use watcher::Watcher;
