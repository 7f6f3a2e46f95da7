//! A standby takes the primary's place. The former primary does not know, and for a time some replicas still reach it. It answers
//! what only reads with what it last knew; what writes it cannot commit without its standby, so nobody hears of that again.

use fastrand::Rng;

use super::{
    machine::Instant,
    network::MILLI,
    rows::Rows,
    world::{Caller, REPLICAS, World},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Primary,
    Former,
}

#[derive(Debug)]
pub(super) struct Former {
    pub(super) rows: Rows,
    /// Until when each replica may reach it.
    until: Vec<Instant>,
    /// How many in a hundred of their calls do: connections are made anew one by one.
    share: u32,
}

impl Former {
    pub(super) fn begin(rows: Rows, now: Instant, random: &mut Rng) -> Self {
        let lasts = |random: &mut Rng| *random.choice(&[0, 300, 1_200, 2_600, 6_000]).unwrap_or(&0) * MILLI;
        let until = (0..REPLICAS).map(|_| now + lasts(random)).collect();
        Self { rows, until, share: *random.choice(&[50, 90, 100]).unwrap_or(&100) }
    }
}

impl World {
    /// Where a call of this replica arrives.
    pub(super) fn reached(&mut self, caller: Caller) -> Server {
        let Some(former) = &self.store.former else { return Server::Primary };
        let may = former.until.get(caller.replica).is_some_and(|until| self.now < *until);
        if may && self.random.u32(0..100) < former.share { Server::Former } else { Server::Primary }
    }

    /// For what is a write: whether it arrives where it can be committed.
    pub(super) fn commits(&mut self, caller: Caller) -> bool {
        let commits = self.reached(caller) == Server::Primary;
        self.counts.hung += u64::from(!commits);
        commits
    }
}
