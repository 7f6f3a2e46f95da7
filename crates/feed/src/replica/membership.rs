//! Being a member: the durable row, the beats that back every grant, and what follows when they fail.

use super::{
    Action, Phase, Replica,
    call::{Began, Purpose},
};
use crate::{
    broken::Broken,
    issuer::Bounds,
    log::{Beat, LogCall, Snapshot},
    member::{Member, MemberId},
    message::ToWatcher,
    time::{LogClock, Moment, Now},
};

/// Beats under way at once: older ones would be worth nothing any more.
const MAX_BEATS: usize = 8;
/// So many rows are removed for which nobody answered that they were written. One of an earlier attempt, should there be one, is
/// answered for until this process ends, and then waited out once.
const MAX_UNANSWERED: usize = 16;

impl Replica {
    /// INVARIANT: by an id that was never sent to the log. What became of an earlier attempt nobody here knows: its row may have
    /// been written, fenced, waited out and removed, and whoever saw it fenced would wait no more for one that comes back.
    pub(super) fn register(&mut self) {
        self.phase = Phase::Registering;
        let member = Member {
            id: self.id,
            address: self.settings.address.clone(),
            lease: self.settings.lease,
            fenced: false,
        };
        self.call_log(Purpose::Register(self.id), LogCall::Register(member));
    }

    pub(super) fn registered(&mut self, id: MemberId, now: Now) {
        if id != self.id || self.phase != Phase::Registering {
            return;
        }
        self.ids.insert(id);
        for id in std::mem::take(&mut self.unanswered) {
            self.call_log(Purpose::Cleanup, LogCall::Remove(id));
        }
        // Not once it has beaten: of one that is fenced each time while it reads, nobody would ever see a beat.
        if self.was_read {
            self.phase = Phase::Serving;
            self.beat(now);
        } else {
            self.read_snapshot();
        }
    }

    fn register_anew(&mut self) {
        if !self.settings.variant.is(Broken::StableReplicaId) {
            self.id.registration += 1;
        }
        self.register();
    }

    /// Every id that this life ever had: a confirmation asked for an old one is this process's to give.
    pub(super) fn is_own(&self, id: MemberId) -> bool {
        id.life == self.id.life && id.registration <= self.id.registration
    }

    fn read_snapshot(&mut self) {
        self.phase = Phase::Reading;
        self.call_log(Purpose::Snapshot, LogCall::Snapshot);
    }

    pub(super) fn snapshot_read(&mut self, Snapshot { position, entries }: Snapshot, now: Now) {
        if self.phase != Phase::Reading {
            return;
        }
        let memory = self.memory_mut();
        entries.iter().for_each(|entry| memory.remember(entry));
        // It goes on from another history's position.
        self.told = None;
        self.roles_version = entries.iter().filter_map(|entry| entry.roles_version()).max().unwrap_or(0);
        self.history.begin(position);
        self.was_read = true;
        self.reset_all();
        self.phase = Phase::Serving;
        self.beat(now);
        self.read_members(Vec::new(), now);
    }

    pub(super) fn start_again_later(&mut self, now: Now) {
        let at = now.moment + self.settings.lease / 8;
        match self.phase {
            Phase::Registering if self.settings.variant.is(Broken::StableReplicaId) => {
                self.phase = Phase::RegisteringAt(at);
            }
            Phase::Registering => {
                self.unanswered.push_back(self.id);
                if self.unanswered.len() > MAX_UNANSWERED {
                    self.unanswered.pop_front();
                }
                self.phase = Phase::RegisteringAt(at);
            }
            Phase::Reading => self.phase = Phase::ReadingAt(at),
            _ => {}
        }
    }

    /// Rule R2.
    fn beat(&mut self, now: Now) {
        self.next_beat = now.moment + self.settings.lease / 4;
        self.began = Some(now.moment);
        if self.calls.count(|purpose| matches!(purpose, Purpose::Beat(_))) >= MAX_BEATS {
            return;
        }
        let began = Began { id: self.id, at: now.moment, wall: now.wall, renewals: self.renewals() };
        let log_call = LogCall::Beat { member: self.id, after: self.applied() };
        self.call_log(Purpose::Beat(began), log_call);
    }

    /// Somebody waits for a first lease: the next beat is not the next one due. Together they wait for one.
    pub(super) fn beat_soon(&mut self) {
        if let Some(began) = self.began {
            self.next_beat = self.next_beat.min(began + self.settings.lease / 32);
        }
    }

    pub(super) fn beat_answered(&mut self, began: Began, beat: Beat, now: Now) {
        match beat {
            Beat::Fenced => self.fenced(began.id),
            Beat::Diverged => self.diverged(),
            Beat::Current { head, entries, time } => {
                // Changes first: grants must stand behind everything that the beat saw.
                if !self.absorb(head, &entries) || self.applied().number < head.number {
                    return;
                }
                let late = self.settings.variant.is(Broken::BeatTimeAtReply);
                let at = if late { now.moment } else { began.at };
                let renewals = if late { self.renewals() } else { began.renewals };
                if matches!(self.phase, Phase::Stopping(_) | Phase::Removing | Phase::Stopped) {
                    return;
                }
                self.beaten = self.beaten.max(Some(at));
                self.right = self.right.max(Some(at + self.settings.lease));
                for (stream, sequence) in renewals {
                    self.grant(stream, sequence, time, now.moment);
                }
                // One that comes late says less than one that began after it.
                if self.beaten == Some(at) {
                    self.log_clock = Some(LogClock::read(time, began.wall, now.wall));
                }
                self.clocks_apart = time.apart(now.wall) > Bounds::DEFAULT.clocks_apart;
                // Also where nothing is due: what the log had forgotten before this memory began is not live for that.
                self.memory_mut().expire(time);
            }
        }
    }

    fn fenced(&mut self, id: MemberId) {
        if id != self.id || self.phase != Phase::Serving {
            return;
        }
        self.register_anew();
    }

    /// The log has another history than the one applied here. What is remembered stays: it ended.
    pub(super) fn diverged(&mut self) {
        if self.phase != Phase::Serving {
            return;
        }
        self.right = None;
        self.history.leave();
        self.forget_fences();
        self.read_snapshot();
    }

    pub(super) fn terminate(&mut self, now: Now) {
        if matches!(self.phase, Phase::Stopping(_) | Phase::Removing | Phase::Stopped) {
            return;
        }
        let last = self.records.values().map(|record| record.until).max();
        self.phase = Phase::Stopping(last.unwrap_or(now.moment).max(now.moment));
        self.right = None;
        self.say_leave();
    }

    pub(super) fn removed(&mut self) {
        if self.phase == Phase::Removing {
            self.phase = Phase::Stopped;
            self.actions.push(Action::Stopped);
        }
    }

    pub(super) fn membership_due(&mut self, now: Now) {
        match self.phase {
            Phase::RegisteringAt(at) if at <= now.moment => self.register_anew(),
            Phase::ReadingAt(at) if at <= now.moment => self.read_snapshot(),
            Phase::Serving if self.next_beat <= now.moment => self.beat(now),
            Phase::Stopping(at) if at <= now.moment || self.records.is_empty() => {
                self.phase = Phase::Removing;
                let former = self.ids.iter().chain(&self.unanswered);
                let ids: Vec<_> = former.copied().filter(|id| *id != self.id).collect();
                for id in ids {
                    self.call_log(Purpose::Cleanup, LogCall::Remove(id));
                }
                self.call_log(Purpose::Remove, LogCall::Remove(self.id));
            }
            _ => {}
        }
        if self.leave_at().is_some_and(|at| at <= now.moment) {
            self.say_leave();
        }
    }

    /// Rule R9: a replica whose beats fail says so while its watchers still have half a lease.
    pub(super) fn leave_at(&self) -> Option<Moment> {
        let stays = self.streams.values().any(|stream| stream.is_live() && !stream.told_to_leave);
        stays.then(|| self.misses_beats_at()).flatten()
    }

    pub(super) fn misses_beats_at(&self) -> Option<Moment> {
        self.beaten.map(|began| began + self.settings.lease / 2)
    }

    fn say_leave(&mut self) {
        for (id, stream) in &mut self.streams {
            if stream.is_live() && !stream.told_to_leave {
                stream.told_to_leave = true;
                self.actions.push(Action::Send { stream: *id, message: ToWatcher::Leave });
            }
        }
    }
}
