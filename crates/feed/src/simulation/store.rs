//! The service's database: the log, and the rows that an ending changes in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::{machine::Instant, scenario::change_of, taking_back::Party};
use crate::{
    broken::Broken,
    change::{Change, Entry, Position},
    log::{Appended, Beat, Ledger, LogCall, LogReply, Placed, Read},
    time::Wall,
};

#[derive(Debug)]
pub(super) struct Store {
    pub(super) ledger: Ledger,
    broken: Option<Broken>,
    /// Keys whose row says that they have ended.
    pub(super) ended: BTreeSet<usize>,
    pub(super) generations: BTreeMap<Party, u64>,
    /// Numbers that a bare sequence has given away.
    sequence: u64,
    /// What the head was, and since when.
    heads: Vec<(Instant, Position)>,
}

/// What the database answers, and the entry that it shows only later, if its numbers come from a bare sequence.
pub(super) struct Committed {
    pub(super) placed: Placed,
    pub(super) shown_later: Vec<Entry>,
}

impl Store {
    pub(super) fn new(broken: Option<Broken>) -> Self {
        Self {
            ledger: Ledger::default(),
            broken,
            ended: BTreeSet::new(),
            generations: BTreeMap::new(),
            sequence: 0,
            heads: vec![(0, Position::START)],
        }
    }

    pub(super) fn append(&mut self, changes: &[Appended], now: Instant) -> Committed {
        if self.broken != Some(Broken::BareSequence) {
            let placed = self.ledger.append(changes);
            self.heads.push((now, placed.last));
            return Committed { placed, shown_later: Vec::new() };
        }
        let mut position = Position::START;
        let entry = |Appended { tag, change }: &Appended| {
            self.sequence += 1;
            position = Position { number: self.sequence, tag: *tag };
            Entry { position, change: change.clone() }
        };
        let shown_later = changes.iter().map(entry).collect();
        Committed { placed: Placed { after: None, last: position }, shown_later }
    }

    pub(super) fn append_one(&mut self, change: Change, now: Instant, random: &mut Rng) -> Committed {
        self.append(&[Appended { tag: crate::change::Tag(random.u64(..)), change }], now)
    }

    /// The number of the newest entry.
    pub(super) fn head(&self) -> u64 {
        self.ledger.head().number
    }

    pub(super) fn generation(&self, party: Party) -> u64 {
        self.generations.get(&party).copied().unwrap_or(1)
    }

    /// Every call but an append.
    pub(super) fn call(&mut self, call: &LogCall, time: Wall, now: Instant, random: &mut Rng) -> LogReply {
        let mut call = call.clone();
        if self.broken == Some(Broken::TagsIgnored)
            && let LogCall::Read { after } | LogCall::Beat { after, .. } = &mut call
        {
            self.guess_tag(after);
        }
        let mut reply = self.ledger.call(&call, time);
        if self.broken == Some(Broken::StaleHead)
            && let LogReply::Beat(Beat::Current { head, entries, .. }) = &mut reply
            && random.f64() < 0.3
        {
            // A deposed primary or a standby answers.
            let then = now.saturating_sub(random.u64(0..3_000_000_000));
            let stale = self.heads.iter().rev().find(|(at, _)| *at <= then);
            *head = stale.map_or(Position::START, |(_, head)| *head);
            entries.retain(|entry| entry.position.number <= head.number);
        }
        reply
    }

    /// Loses its last entries and what was written with them.
    pub(super) fn lose_tail(&mut self, count: usize, now: Instant) -> Vec<Entry> {
        let lost = self.ledger.lose_tail(count);
        self.heads.push((now, self.ledger.head()));
        lost
    }

    pub(super) fn holds(&self, position: Position) -> bool {
        self.broken == Some(Broken::BareSequence) || self.ledger.read(position) != Read::Diverged
    }

    pub(super) fn holds_ending(&self, key: usize) -> bool {
        let entries = self.ledger.snapshot().entries;
        entries.iter().any(|entry| entry.change.target == change_of(key, entry.change.until).target)
    }

    /// A log without tags takes the number for the whole position.
    fn guess_tag(&self, position: &mut Position) {
        let before = Position { number: position.number, ..*position };
        let entries = self.ledger.snapshot().entries;
        if let Some(entry) = entries.iter().find(|entry| entry.position.number == before.number) {
            *position = entry.position;
        }
    }
}
