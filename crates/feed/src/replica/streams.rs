//! The watch streams: what each watcher has been sent, and in which order. One queue a stream carries changes and grants.

use std::{collections::VecDeque, sync::Arc};

use super::{Action, Misconduct, Phase, Replica, call::Purpose, confirming::Record, history::Included};
use crate::{
    broken::Broken,
    change::{Entry, Position},
    log::{LogCall, Read},
    message::{FromWatcher, StreamId, ToWatcher, WatcherId},
    time::{Moment, Now, Wall, at_most},
};

/// How many batches a watcher may leave unacknowledged before its stream is closed.
const MAX_UNACKNOWLEDGED: usize = 4096;
/// So many entries in one message: with ids as long as they may be, a message stays under 1 MiB.
pub(super) const MAX_MESSAGE: usize = 1024;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) watcher: WatcherId,
    /// It has just begun, and has had a lease from nobody.
    is_newcomer: bool,
    state: State,
    /// The last renewal that was received.
    renewal: Option<u64>,
    /// The last one that was granted.
    granted: Option<u64>,
    /// When the first one was. Who renews late has no record between two leases, and holds up all the same what it was sent.
    pub(super) since: Option<Moment>,
    pub(super) told_to_leave: bool,
}

#[derive(Debug)]
enum State {
    /// The log is being read since the Hello arrived; what is applied meanwhile is kept for the stream.
    Opening { position: Option<Position>, meanwhile: Vec<Entry> },
    Live {
        sent: Position,
        acked: u64,
        /// What was sent after `acked`. Only these are believed when they are acknowledged.
        unacked: VecDeque<Position>,
    },
}

impl Stream {
    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }
}

impl Replica {
    pub(super) fn received(&mut self, stream: StreamId, message: FromWatcher, now: Now) {
        match message {
            FromWatcher::Hello { watcher, position } => self.hello(stream, watcher, position, now.moment),
            FromWatcher::Renew { sequence, acked } => self.renew(stream, sequence, acked, now),
            FromWatcher::Release => {
                self.streams.remove(&stream);
                self.records.remove(&stream);
            }
        }
    }

    /// The record stays: the lease that it stands for may still be used.
    pub(super) fn stream_closed(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
        if self.settings.variant.is(Broken::RecordDiesWithStream) {
            self.records.remove(&stream);
        }
    }

    pub(super) fn close(&mut self, stream: StreamId) {
        self.stream_closed(stream);
        self.actions.push(Action::Close { stream });
    }

    fn note(&mut self, stream: StreamId, misconduct: Misconduct) {
        self.actions.push(Action::Note { stream, misconduct });
    }

    /// Rule R4: the log is read after the Hello arrived, so that no watcher is ever ahead of what it is sent.
    fn hello(&mut self, id: StreamId, watcher: WatcherId, position: Option<Position>, now: Moment) {
        if self.streams.contains_key(&id) {
            self.note(id, Misconduct::SecondHello);
            return self.close(id);
        }
        // Who would be told to leave at once is not taken in: it would be back before anybody else has taken it in.
        if self.phase != Phase::Serving || self.misses_beats_at().is_some_and(|at| at <= now) {
            return self.close(id);
        }
        if self.settings.variant.is(Broken::HelloForgetsRecords) {
            self.records.retain(|_, record| record.watcher != watcher);
        }
        let state = State::Opening { position, meanwhile: Vec::new() };
        let is_newcomer = position.is_none();
        let stream = Stream {
            watcher,
            is_newcomer,
            state,
            renewal: None,
            granted: None,
            since: None,
            told_to_leave: false,
        };
        self.streams.insert(id, stream);
        if self.settings.variant.is(Broken::BehindReplicaResets) {
            return self.reset(id);
        }
        let applied = self.applied();
        let after = position.filter(|position| position.number < applied.number).unwrap_or(applied);
        self.call_log(Purpose::Hello(id), LogCall::Read { after });
    }

    pub(super) fn hello_read(&mut self, id: StreamId, read: Read) {
        let asked = match self.streams.get(&id) {
            Some(Stream { state: State::Opening { position, .. }, .. }) => *position,
            _ => return,
        };
        let Read::Current { head, entries } = read else {
            // Either the watcher's position leads nowhere, or ours does, which the next beat will find out.
            return self.start_anew(id, asked);
        };
        if !self.absorb(head, &entries) || self.applied().number < head.number {
            return self.close(id);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let State::Opening { meanwhile, .. } = &mut stream.state else { return };
        let Some(position) =
            asked.filter(|position| self.history.includes(*position, self.settings.variant) != Included::No)
        else {
            return self.start_anew(id, asked);
        };
        let mut missed: Vec<Entry> = entries;
        missed.append(meanwhile);
        missed.retain(|entry| entry.position.number > position.number);
        missed.sort_by_key(|entry| entry.position.number);
        missed.dedup_by_key(|entry| entry.position.number);
        let last = self.history.applied();
        if missed.len() as u64 != last.number - position.number
            && !self.settings.variant.is(Broken::BareSequence)
        {
            // The log has lost what was applied here: the next beat will find that out.
            return self.close(id);
        }
        stream.state = State::Live { sent: position, acked: position.number, unacked: VecDeque::new() };
        if missed.is_empty() {
            // The watcher waits for an answer before it renews.
            let message = ToWatcher::Changes { previous: position, entries: Arc::default(), last: position };
            self.actions.push(Action::Send { stream: id, message });
        } else {
            send_changes(&mut self.actions, id, stream, &missed.into(), last);
        }
        let watcher = stream.watcher;
        self.acknowledged(watcher, position);
        self.hasten_first_grant(id);
    }

    /// For a watcher that has no position, or whose position leads nowhere.
    fn start_anew(&mut self, id: StreamId, position: Option<Position>) {
        if position.is_some() {
            self.note(id, Misconduct::UnknownPosition);
        }
        self.reset(id);
    }

    pub(super) fn reset_all(&mut self) {
        // Positions of another history were acknowledged: no record is at or beyond anything of this one.
        self.records.values_mut().for_each(|record| record.acked = 0);
        let live: Vec<StreamId> =
            self.streams.iter().filter(|(_, stream)| stream.is_live()).map(|(id, _)| *id).collect();
        for id in live {
            self.reset(id);
        }
    }

    /// Everything that is remembered.
    fn reset(&mut self, id: StreamId) {
        let (everything, since) = self.everything();
        let applied = self.applied();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let position = everything.position();
        stream.state = State::Live { sent: position, acked: 0, unacked: VecDeque::from([position]) };
        self.actions.push(Action::SendEverything { stream: id, everything });
        send_changes(&mut self.actions, id, stream, &since, applied);
        self.hasten_first_grant(id);
    }

    /// Rule R3: memory has changed; every open stream hears of it.
    pub(super) fn push(&mut self, entries: &Arc<[Entry]>) {
        let last = self.applied();
        let mut full = Vec::new();
        for (id, stream) in &mut self.streams {
            match &mut stream.state {
                State::Opening { meanwhile, .. } => meanwhile.extend(entries.iter().cloned()),
                State::Live { unacked, .. } if unacked.len() >= MAX_UNACKNOWLEDGED => full.push(*id),
                State::Live { .. } => send_changes(&mut self.actions, *id, stream, entries, last),
            }
        }
        for id in full {
            self.note(id, Misconduct::TooSlow);
            self.close(id);
        }
    }

    /// Rule R5. What is acknowledged without having been sent moves nothing.
    fn renew(&mut self, id: StreamId, sequence: u64, position: Position, now: Now) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.renewal = stream.renewal.max(Some(sequence));
        if let State::Live { acked, unacked, .. } = &mut stream.state {
            if let Some(at) = unacked.iter().position(|sent| *sent == position) {
                unacked.drain(..=at);
                *acked = position.number;
                let watcher = stream.watcher;
                self.acknowledged(watcher, position);
            } else if position.number > *acked {
                self.note(id, Misconduct::StrayAcknowledgement);
            }
        }
        self.hasten_first_grant(id);
        if self.settings.variant.is(Broken::GrantWithoutBeat) {
            self.grant(id, sequence, now.wall, now.moment);
        }
    }

    /// What a process has applied holds for each lease of its, whichever stream it came on.
    fn acknowledged(&mut self, watcher: WatcherId, position: Position) {
        for record in self.records.values_mut().filter(|record| record.watcher == watcher) {
            record.acked = record.acked.max(position.number);
        }
    }

    /// A watcher that has just begun and has renewed can do nothing before its first lease.
    fn hasten_first_grant(&mut self, id: StreamId) {
        let waits = |stream: &Stream| stream.is_newcomer && stream.is_live() && stream.renewal.is_some();
        if self.streams.get(&id).is_some_and(waits) && !self.records.contains_key(&id) {
            self.beat_soon();
        }
    }

    pub(super) fn renewals(&self) -> Vec<(StreamId, u64)> {
        let live = self.streams.iter().filter(|(_, stream)| stream.is_live());
        live.filter_map(|(id, stream)| stream.renewal.map(|renewal| (*id, renewal))).collect()
    }

    pub(super) fn grant(&mut self, id: StreamId, sequence: u64, log_time: Wall, now: Moment) {
        let lease = self.settings.lease;
        if self.streams.get(&id).is_none_or(|stream| self.is_held_back(stream.watcher, now)) {
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let State::Live { acked, .. } = stream.state else { return };
        stream.since.get_or_insert(now);
        // A lease counts from the sending of its renewal: told again it is no longer. Whoever says nothing any more has none once
        // that is over, and endings do not wait for it, however long its connection stands.
        if stream.granted < Some(sequence) {
            stream.granted = Some(sequence);
            let until = now + at_most(lease);
            let new = Record { watcher: stream.watcher, acked, until };
            let record = self.records.entry(id).or_insert(new);
            record.acked = record.acked.max(acked);
            record.until = record.until.max(until);
        }
        self.actions
            .push(Action::Send { stream: id, message: ToWatcher::Grant { sequence, lease, log_time } });
    }
}

fn send_changes(
    actions: &mut Vec<Action>,
    id: StreamId,
    stream: &mut Stream,
    entries: &Arc<[Entry]>,
    last: Position,
) {
    let State::Live { sent, unacked, .. } = &mut stream.state else { return };
    if *sent == last {
        return;
    }
    let mut send = |entries: Arc<[Entry]>, last: Position| {
        let previous = std::mem::replace(sent, last);
        unacked.push_back(last);
        actions.push(Action::Send { stream: id, message: ToWatcher::Changes { previous, entries, last } });
    };
    if entries.len() <= MAX_MESSAGE {
        return send(Arc::clone(entries), last);
    }
    let mut parts = entries.chunks(MAX_MESSAGE).peekable();
    while let Some(part) = parts.next() {
        let until = match part.last() {
            Some(entry) if parts.peek().is_some() => entry.position,
            _ => last,
        };
        send(part.into(), until);
    }
}
