//! The service's database: the server that changes are written to, and the one that was it before, if a standby took its place.

use fastrand::Rng;

use super::{
    demotion::{Former, Server},
    machine::Instant,
    rows::Rows,
    scenario::change_of,
};
use crate::{
    broken::Broken,
    change::{Change, Entry, Position},
    log::{Appended, Beat, LogCall, LogReply, Placed, Read},
    time::Wall,
};

/// Nanoseconds; some beats.
const TRIMMED_AFTER: u64 = 2_000_000_000;

#[derive(Debug)]
pub(super) struct Store {
    pub(super) rows: Rows,
    pub(super) former: Option<Former>,
    broken: Option<Broken>,
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
        Self { rows: Rows::default(), former: None, broken, sequence: 0, heads: vec![(0, Position::START)] }
    }

    pub(super) fn append(&mut self, changes: &[Appended], now: Instant) -> Committed {
        if self.broken != Some(Broken::BareSequence) {
            let placed = self.rows.ledger.append(changes);
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

    /// A standby that has everything that was committed takes the primary's place.
    pub(super) fn promote(&mut self, now: Instant, random: &mut Rng) {
        self.former = Some(Former::begin(self.rows.clone(), now, random));
    }

    pub(super) fn rows_at(&self, server: Server) -> &Rows {
        match (server, &self.former) {
            (Server::Former, Some(former)) => &former.rows,
            _ => &self.rows,
        }
    }

    /// Every call but an append.
    pub(super) fn call(&mut self, call: &LogCall, time: Wall, now: Instant, random: &mut Rng) -> LogReply {
        let mut call = call.clone();
        if self.broken == Some(Broken::TagsIgnored)
            && let LogCall::Read { after } | LogCall::Beat { after, .. } = &mut call
        {
            self.guess_tag(after);
        }
        let mut reply = self.rows.ledger.call(&call, time);
        if self.broken == Some(Broken::StaleHead)
            && let LogReply::Beat(Beat::Current { head, entries, .. }) = &mut reply
            && random.f64() < 0.3
        {
            // A deposed primary or a standby answers.
            *head = self.head_at(now.saturating_sub(random.u64(0..3_000_000_000)));
            entries.retain(|entry| entry.position.number <= head.number);
        }
        reply
    }

    /// As far as the log reached a while ago: a replica is not slower than that unless something is wrong.
    pub(super) fn trim(&mut self, wall: Wall, now: Instant) {
        let passed = self.head_at(now.saturating_sub(TRIMMED_AFTER));
        self.rows.ledger.trim(wall, passed.number);
    }

    fn head_at(&self, then: Instant) -> Position {
        self.heads.iter().rev().find(|(at, _)| *at <= then).map_or(Position::START, |(_, head)| *head)
    }

    /// Loses its last entries and what was written with them.
    pub(super) fn lose_tail(&mut self, count: usize, now: Instant) -> Vec<Entry> {
        let lost = self.rows.ledger.lose_tail(count);
        self.heads.push((now, self.rows.ledger.head()));
        lost
    }

    pub(super) fn holds(&self, position: Position) -> bool {
        self.broken == Some(Broken::BareSequence) || self.rows.ledger.read(position) != Read::Diverged
    }

    pub(super) fn holds_ending(&self, key: usize) -> bool {
        let entries = self.rows.ledger.snapshot().entries;
        entries.iter().any(|entry| entry.change.target == change_of(key, entry.change.until).target)
    }

    /// A log without tags takes the number for the whole position.
    fn guess_tag(&self, position: &mut Position) {
        let before = Position { number: position.number, ..*position };
        let entries = self.rows.ledger.snapshot().entries;
        if let Some(entry) = entries.iter().find(|entry| entry.position.number == before.number) {
            *position = entry.position;
        }
    }
}
