//! Which positions this replica has applied, by number and tag, so that a log that lost its tail and was filled again is
//! noticed instead of being taken for the same log.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    broken::{Broken, Variant},
    change::{Entry, Position, Tag, Tail},
    log::MAX_APPEND,
};

/// How many positions back a confirmation or a late answer is checked by its tag.
const REMEMBERED: usize = 4096;
/// So many entries before a position a peer is told of that has never confirmed anything.
const FIRST_TOLD: u64 = 8;

/// An answer about a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Included {
    Yes,
    No,
    /// Its number is, but from before what is remembered: perhaps on a history that the log has lost since. Whoever reads
    /// the log after what is applied here, and finds that, knows that it is.
    Unknown,
}

#[derive(Debug)]
pub(super) struct History {
    applied: Position,
    tags: BTreeMap<u64, Tag>,
    /// The last entries, as many as one append may carry.
    recent: VecDeque<Entry>,
    /// How often the log turned out to be another one.
    epoch: u32,
}

impl Default for History {
    fn default() -> Self {
        Self { applied: Position::START, tags: BTreeMap::new(), recent: VecDeque::new(), epoch: 0 }
    }
}

impl History {
    pub(super) fn applied(&self) -> Position {
        self.applied
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether everything up to `position` has been applied here.
    pub(super) fn includes(&self, position: Position, variant: Variant) -> Included {
        if position.number > self.applied.number {
            return Included::No;
        }
        if position == Position::START || variant.is(Broken::TagsIgnored) || variant.is(Broken::BareSequence)
        {
            return Included::Yes;
        }
        match self.tags.get(&position.number) {
            Some(tag) if *tag == position.tag => Included::Yes,
            Some(_) => Included::No,
            None => Included::Unknown,
        }
    }

    /// Whether an answer of the log is one that this history's log can give.
    pub(super) fn agrees(&self, head: Position, entries: &[Entry], variant: Variant) -> bool {
        let known = |position: &Position| position.number <= self.applied.number;
        entries
            .iter()
            .map(|entry| entry.position)
            .chain([head])
            .filter(known)
            .all(|position| self.includes(position, variant) != Included::No)
    }

    /// The entries that are new, now applied. None if there are none, or if the log skipped a number.
    pub(super) fn extend<'a>(&mut self, entries: &'a [Entry], variant: Variant) -> Option<&'a [Entry]> {
        let first = entries.partition_point(|entry| entry.position.number <= self.applied.number);
        let new = entries.get(first..)?;
        let next = new.first()?.position.number;
        // A sequence has gaps of its own, so a replica that reads one cannot tell them from an entry still to come.
        if next != self.applied.number + 1 && !variant.is(Broken::BareSequence) {
            return None;
        }
        for entry in new {
            self.apply(entry.position);
            self.recent.push_back(entry.clone());
        }
        self.recent.drain(..self.recent.len().saturating_sub(MAX_APPEND));
        Some(new)
    }

    /// The entries up to `position` that a peer may lack which has confirmed up to a number: none if they are not here any
    /// more, and it reads the log itself.
    pub(super) fn tail(&self, confirmed: Option<u64>, position: Position) -> Tail {
        let after = confirmed.unwrap_or(position.number.saturating_sub(FIRST_TOLD));
        let wanted = |entry: &&Entry| (after + 1..=position.number).contains(&entry.position.number);
        let entries: Arc<[Entry]> = self.recent.iter().filter(wanted).cloned().collect();
        let before = match entries.first().map(|first| first.position.number) {
            Some(1) => Some(Position::START),
            Some(number) => {
                self.tags.get(&(number - 1)).map(|tag| Position { number: number - 1, tag: *tag })
            }
            None => None,
        };
        before.map_or_else(|| Tail::nothing(position), |after| Tail { after, entries })
    }

    /// Begins at `position`: at the start of the process, or after the log turned out to be another one.
    pub(super) fn begin(&mut self, position: Position) {
        self.tags.clear();
        self.recent.clear();
        self.apply(position);
    }

    /// From here on answers to older calls mean nothing.
    pub(super) fn leave(&mut self) {
        self.epoch += 1;
    }

    fn apply(&mut self, position: Position) {
        self.applied = position;
        self.tags.insert(position.number, position.tag);
        if self.tags.len() > REMEMBERED {
            self.tags.pop_first();
        }
    }
}
