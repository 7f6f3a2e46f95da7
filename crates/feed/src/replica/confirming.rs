//! Confirmations: a replica says "done" for an ending once it has applied it, and so has every watcher whose lease from it
//! may still be valid.

use std::{collections::BTreeMap, time::Duration};

use super::{Action, Misconduct, Phase, Replica, RequestId, call::Purpose, history::Included};
use crate::{
    broken::Broken,
    change::Position,
    log::{LogCall, Read},
    member::MemberId,
    message::{StreamId, WatcherId},
    time::{Moment, Now, waited_out},
};

/// Rule R10: so many times within [`STRIKES_WITHIN`] held up, and the watcher gets no grants for that long.
const MAX_STRIKES: usize = 3;
const STRIKES_WITHIN: Duration = Duration::from_secs(60);

/// The leases granted on one stream. It outlives the stream.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) watcher: WatcherId,
    /// What the watcher has, whichever of its streams it said so on.
    pub(super) acked: u64,
    /// By this process's clock, which may be the faster one.
    pub(super) until: Moment,
}

#[derive(Debug)]
pub(super) struct Waiting {
    number: u64,
    pub(super) waiter: Waiter,
    pub(super) position: Position,
    pub(super) since: Moment,
    /// Since when the position is applied here, and so has been sent on every stream that was open then.
    applied: Option<Moment>,
    struck: bool,
    /// The log was read since, and goes on from what is applied here.
    verified: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Waiter {
    Peer(RequestId),
    /// This process ends something itself and is one of the members.
    Own {
        request: RequestId,
        member: MemberId,
    },
}

#[derive(Debug, Default)]
pub(super) struct Strikes {
    at: Vec<Moment>,
    held_back_until: Option<Moment>,
}

impl Replica {
    /// Rule R7. Only an id of this life is answered for.
    pub(super) fn confirm_asked(
        &mut self,
        request: RequestId,
        member: MemberId,
        position: Position,
        now: Now,
    ) {
        if !self.is_own(member) {
            self.actions.push(Action::AnswerConfirm { request, confirmed: false });
            return;
        }
        self.confirm(Waiter::Peer(request), position, now.moment);
    }

    pub(super) fn confirm(&mut self, waiter: Waiter, position: Position, now: Moment) {
        let number = self.calls.number().0;
        self.waiting.push(Waiting {
            number,
            waiter,
            position,
            since: now,
            applied: None,
            struck: false,
            verified: false,
        });
        // Also while it hands over: until its row is gone, others wait for what it says.
        if self.history.includes(position, self.settings.variant) != Included::Yes
            && matches!(self.phase, Phase::Serving | Phase::Stopping(_))
        {
            self.call_log(Purpose::CatchUp(number), LogCall::Read { after: self.applied() });
        }
    }

    pub(super) fn catch_up_read(&mut self, number: u64, read: Read) {
        if self.caught_up(read)
            && let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.number == number)
        {
            waiting.verified = true;
        }
    }

    /// False if what was read could not be applied.
    pub(super) fn caught_up(&mut self, read: Read) -> bool {
        match read {
            Read::Current { head, entries } => {
                self.absorb(head, &entries) && self.applied().number >= head.number
            }
            Read::Diverged => {
                self.diverged();
                false
            }
        }
    }

    pub(super) fn confirmations_due(&mut self, now: Moment) {
        self.records.retain(|_, record| record.until > now);
        if self.waiting.is_empty() {
            return;
        }
        for waiting in &mut self.waiting {
            let is_applied = match self.history.includes(waiting.position, self.settings.variant) {
                Included::Yes => true,
                Included::Unknown => waiting.verified,
                Included::No => false,
            };
            waiting.applied = if is_applied { waiting.applied.or(Some(now)) } else { None };
        }
        self.strike_the_slow(now);
        let slowest = self.slowest_acknowledgement();
        let patience = self.patience();
        let mut done = Vec::new();
        self.waiting.retain(|waiting| {
            let everywhere =
                waiting.applied.is_some() && slowest.is_none_or(|acked| acked >= waiting.position.number);
            let over = everywhere || waiting.since + patience <= now;
            if over {
                done.push((waiting.waiter, everywhere));
            }
            !over
        });
        for (waiter, confirmed) in done {
            match waiter {
                Waiter::Peer(request) => {
                    self.actions.push(Action::AnswerConfirm { request, confirmed });
                }
                Waiter::Own { request, member } if confirmed => self.member_done(request, member),
                Waiter::Own { .. } => {}
            }
        }
    }

    pub(super) fn confirming_deadline(&self) -> Option<Moment> {
        let strike = self.waiting.iter().filter(|waiting| !waiting.struck);
        let strike = strike.filter_map(|waiting| waiting.applied);
        let strike = strike.map(|applied| applied + self.settings.lease / 4).min();
        let over = self.waiting.iter().map(|waiting| waiting.since + self.patience()).min();
        let record = if self.waiting.is_empty() && !matches!(self.phase, Phase::Stopping(_)) {
            None
        } else {
            self.records.values().map(|record| record.until).min()
        };
        [strike, over, record].into_iter().flatten().min()
    }

    pub(super) fn is_held_back(&self, watcher: WatcherId, now: Moment) -> bool {
        self.strikes
            .get(&watcher)
            .and_then(|strikes| strikes.held_back_until)
            .is_some_and(|until| until > now)
    }

    fn slowest_acknowledgement(&self) -> Option<u64> {
        if self.settings.variant.is(Broken::ConfirmWithoutRecords) {
            let open = self.records.iter().filter(|(id, _)| self.streams.contains_key(id));
            return open.map(|(_, record)| record.acked).min();
        }
        self.records.values().map(|record| record.acked).min()
    }

    /// Rule R10. A confirmation that waits for longer than a quarter of a lease counts once against each that holds it up:
    /// that was sent the position so long ago, and whose connection stands.
    fn strike_the_slow(&mut self, now: Moment) {
        let patience = self.settings.lease / 4;
        for waiting in self.waiting.iter_mut().filter(|waiting| !waiting.struck) {
            let Some(applied) = waiting.applied.filter(|applied| *applied + patience <= now) else {
                continue;
            };
            waiting.struck = true;
            let behind = self.records.iter().filter(|(_, record)| record.acked < waiting.position.number);
            let left = behind.map(|(id, _)| *id).filter(|id| !self.streams.contains_key(id));
            let note = |stream| Action::Note { stream, misconduct: Misconduct::LeftLease };
            self.actions.extend(left.map(note));
            let slow = self.records.iter().filter(|(id, record)| {
                let since = self.streams.get(id).and_then(|stream| stream.since);
                record.acked < waiting.position.number && since.is_some_and(|since| since <= applied)
            });
            // One that has two streams here is one all the same.
            let slow: BTreeMap<WatcherId, StreamId> =
                slow.map(|(id, record)| (record.watcher, *id)).collect();
            for (watcher, id) in slow {
                let strikes = self.strikes.entry(watcher).or_default();
                strikes.at.retain(|at| *at + STRIKES_WITHIN > now);
                strikes.at.push(now);
                if strikes.at.len() >= MAX_STRIKES {
                    strikes.at.clear();
                    strikes.held_back_until = Some(now + STRIKES_WITHIN);
                    self.actions.push(Action::Note { stream: id, misconduct: Misconduct::HeldBack });
                }
            }
        }
        self.strikes.retain(|_, strikes| {
            strikes.held_back_until.is_some_and(|until| until > now)
                || strikes.at.iter().any(|at| *at + STRIKES_WITHIN > now)
        });
    }

    /// A peer that still waits after that has waited this member's leases out.
    fn patience(&self) -> Duration {
        waited_out(self.settings.lease) + Duration::from_secs(1)
    }
}
