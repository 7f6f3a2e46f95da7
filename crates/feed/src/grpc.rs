//! The feed over gRPC, between processes of this workspace: a service replica's own port, and how a guard reaches it.

mod config;
mod dial;
mod member;
mod peers;
mod service;

use std::{sync::Arc, time::Duration};

use chassis::{clock::SharedClock, entropy::SharedEntropy};

pub use config::Feed;
pub use dial::ToReplicas;
pub use member::{Membership, OpenLog, StartError, start};
pub use service::access;

use crate::{
    driver::{Clock, ReadClock},
    time::{Moment, Now, Wall},
};

/// The process's clock, as the feed reads it.
pub fn clock(clock: SharedClock) -> Clock {
    Arc::new(Process(clock))
}

struct Process(SharedClock);

impl ReadClock for Process {
    fn now(&self) -> Now {
        let millis = self.0.now().unix_timestamp_nanos() / 1_000_000;
        Now { moment: self.moment(), wall: Wall::from_unix_millis(u64::try_from(millis).unwrap_or(0)) }
    }

    fn moment(&self) -> Moment {
        Moment::from_origin(self.0.boottime())
    }
}

/// 128 random bits.
fn random(entropy: &SharedEntropy) -> u128 {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    u128::from_be_bytes(bytes)
}

/// What a watcher's connection may take for its first answer.
const OPEN_WITHIN: Duration = Duration::from_secs(1);
