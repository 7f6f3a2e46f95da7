//! What a guard and a service replica say to each other on a watch stream. Each direction is one ordered stream.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    change::{Entry, Position},
    time::Wall,
};

/// One connection's number, given by the side that holds it; the other side may number it otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A guard process: random at its start, so that no two have the same. What one stream of it acknowledges holds for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub u128);

impl fmt::Display for WatcherId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// From guard to replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromWatcher {
    /// First on every stream. `position`: what the guard has applied, if anything. It is answered with `Reset` or with `Changes`,
    /// and nothing is renewed before.
    Hello { watcher: WatcherId, position: Option<Position> },
    /// Asks for a lease that counts from the sending, and acknowledges everything up to `acked`.
    ///
    /// The specification sends the number alone. With its tag an acknowledgement cannot be mistaken for one of a
    /// history that the log has lost.
    Renew { sequence: u64, acked: Position },
    /// The guard has dropped the lease of this stream.
    Release,
}

/// From replica to guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWatcher {
    /// The guard's position leads nowhere: everything that is remembered follows.
    Reset,
    Live(Arc<[Entry]>),
    /// Ends what `Reset` began.
    CaughtUp(Position),
    Changes {
        previous: Position,
        entries: Arc<[Entry]>,
        last: Position,
    },
    /// Answers the renewal `sequence`. `log_time` is the log's wall clock.
    Grant {
        sequence: u64,
        lease: Duration,
        log_time: Wall,
    },
    /// This replica is about to be of no use.
    Leave,
}
