//! What a watcher's stream carries. Bytes of the messages; HTTP/2 and TLS add some 40 to each.

use std::time::Duration;

use feed::{
    Change, Entry, FromWatcher, Position, Tag, Target, ToWatcher, Wall, What,
    wire::{from_watcher, to_watcher},
};
use prost::Message as _;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Bytes {
    /// One ending, alone in its message.
    pub(super) ending: usize,
    /// What each further one adds.
    pub(super) further: usize,
    /// A renewal of a lease and its grant, both ways together.
    pub(super) renewal: usize,
}

pub(super) fn measure() -> Bytes {
    let wall = Wall::from_unix_millis(1_800_000_000_000);
    let position = |number: u64| Position { number, tag: Tag(u64::MAX - number) };
    let entry = |number: u64| Entry {
        position: position(number),
        change: Change {
            target: Target::new(What::Token, format!("{number:026}")),
            min: None,
            except: None,
            until: wall,
        },
    };
    let changes = |count: u64| {
        let (first, last) = (1_000_000, 1_000_000 + count);
        let entries = (first + 1..=last).map(entry).collect();
        to_watcher(&ToWatcher::Changes { previous: position(first), entries, last: position(last) })
            .encoded_len()
    };
    let renew = from_watcher(&FromWatcher::Renew { sequence: 1_000_000, acked: position(1_000_000) });
    let lease = Duration::from_secs(5);
    let grant = to_watcher(&ToWatcher::Grant { sequence: 1_000_000, lease, log_time: wall });
    Bytes {
        ending: changes(1),
        further: changes(2) - changes(1),
        renewal: renew.encoded_len() + grant.encoded_len(),
    }
}
