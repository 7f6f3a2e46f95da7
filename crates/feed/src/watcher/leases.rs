//! The leases of a guard: one for each stream that granted one; the longest counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{message::StreamId, time::Moment};

/// Renewals that no grant has answered yet; older ones would be worth nothing.
const MAX_UNANSWERED: usize = 256;

/// The right to look into the memory of endings once. Whoever waits for longer than [`Permit::GOOD_FOR`] between the look
/// and its consequence asks for another one and looks again.
#[derive(Debug)]
pub struct Permit {
    at: Moment,
}

impl Permit {
    pub const GOOD_FOR: Duration = Duration::from_millis(100);

    pub fn is_spent(&self, now: Moment) -> bool {
        now.since(self.at) > Self::GOOD_FOR
    }
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    ends: BTreeMap<StreamId, Moment>,
    /// Streams that were left without giving their lease up. Their connections are still open.
    left: BTreeSet<StreamId>,
    /// When each renewal was sent that may still be answered.
    sent: BTreeMap<(StreamId, u64), Moment>,
    newest_evidence: Option<Moment>,
    last_end: Option<Moment>,
    forbidden: bool,
}

impl Leases {
    pub(super) fn permit(&self, now: Moment) -> Option<Permit> {
        self.end().is_some_and(|end| now < end).then_some(Permit { at: now })
    }

    pub(super) fn renewed(&mut self, stream: StreamId, sequence: u64, now: Moment) {
        self.sent.insert((stream, sequence), now);
        if self.sent.len() > MAX_UNANSWERED {
            self.sent.pop_first();
        }
    }

    /// Rule W4: from the sending, never from the receipt.
    pub(super) fn granted(&mut self, stream: StreamId, sequence: u64, lease: Duration) {
        let Some(sent) = self.sent.get(&(stream, sequence)).copied() else { return };
        self.sent.retain(|(of, number), _| *of != stream || *number >= sequence);
        let end = sent + lease;
        let known = self.ends.entry(stream).or_insert(end);
        *known = (*known).max(end);
        // Leases are not taken away when they end: whoever looks compares. Shorter ones have had their use.
        let longest = *known;
        self.ends.retain(|of, end| *of == stream || *end > longest);
        self.newest_evidence = self.newest_evidence.max(Some(sent));
        self.last_end = self.last_end.max(Some(end));
    }

    pub(super) fn end(&self) -> Option<Moment> {
        if self.forbidden { None } else { self.ends.values().copied().max() }
    }

    /// When the first stream that was left has no lease any more.
    pub(super) fn next_left_end(&self) -> Option<Moment> {
        self.left.iter().filter_map(|stream| self.ends.get(stream).copied()).min()
    }

    /// The end of the longest lease that this process ever had.
    pub(super) fn last_end(&self) -> Option<Moment> {
        self.last_end
    }

    pub(super) fn newest_evidence(&self) -> Option<Moment> {
        self.newest_evidence
    }

    pub(super) fn drop_stream(&mut self, stream: StreamId) {
        self.ends.remove(&stream);
        self.left.remove(&stream);
        self.sent.retain(|(of, _), _| *of != stream);
    }

    /// The streams that had one, or had been left.
    pub(super) fn drop_all(&mut self) -> BTreeSet<StreamId> {
        self.sent.clear();
        let ends = std::mem::take(&mut self.ends);
        std::mem::take(&mut self.left).into_iter().chain(ends.into_keys()).collect()
    }

    pub(super) fn left(&mut self, stream: StreamId) {
        self.left.insert(stream);
    }

    pub(super) fn closed(&mut self, stream: StreamId) {
        self.left.remove(&stream);
    }

    /// Those of the streams that were left whose lease is no longer than that of `stream`.
    pub(super) fn outlived_by(&self, stream: StreamId) -> Vec<StreamId> {
        let end = self.ends.get(&stream);
        self.left.iter().copied().filter(|left| self.ends.get(left) <= end).collect()
    }

    /// The streams that were left and whose lease is over.
    pub(super) fn ended(&mut self, now: Moment) -> Vec<StreamId> {
        let is_over = |stream: &StreamId| self.ends.get(stream).is_none_or(|end| *end <= now);
        let ended: Vec<_> = self.left.iter().copied().filter(is_over).collect();
        for stream in &ended {
            self.left.remove(stream);
        }
        ended
    }

    pub(super) fn forbid(&mut self, forbidden: bool) {
        self.forbidden = forbidden;
    }
}
