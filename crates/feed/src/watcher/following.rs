//! Following a replica's stream: changes in order, catching up after a Reset, and moving on when the replica is silent.

use std::sync::Arc;

use super::{Action, Following, Watcher};
use crate::{
    broken::Broken,
    change::{Entry, Position},
    message::{FromWatcher, StreamId, ToWatcher},
    time::{Moment, Now},
};

impl<V: Clone> Watcher<V> {
    pub(super) fn received(&mut self, stream: StreamId, message: ToWatcher, now: Now) {
        let left =
            stream != self.stream || matches!(self.following, Following::Nobody(_) | Following::Stopped);
        if left {
            // What a stream says that was left counts for nothing: its changes are not applied any more.
            if let ToWatcher::Grant { sequence, lease, .. } = message
                && self.settings.variant.is(Broken::GrantFromLeftStream)
            {
                self.leases.granted(stream, sequence, lease);
            }
            return;
        }
        self.last_heard = now.moment;
        match message {
            ToWatcher::Reset => {
                self.following = Following::Building;
                if self.settings.variant.is(Broken::ResetClears) {
                    self.endings = crate::endings::Endings::default();
                }
                #[cfg(feature = "simulation")]
                self.aside.clear();
            }
            ToWatcher::Live(entries) => self.live(entries),
            ToWatcher::CaughtUp(position) => self.caught_up_with(position, now.moment),
            ToWatcher::Changes { previous, entries, last } => {
                self.changes(previous, entries, last, now.moment)
            }
            ToWatcher::Grant { sequence, lease, log_time } => {
                if let Some(apart) = self.clock.log_said(log_time, now) {
                    self.leases.forbid(apart);
                    self.actions.push(Action::ClocksApart(apart));
                }
                self.lease = lease;
                if self.settings.variant.is(Broken::LeaseFromReceipt) {
                    self.leases.renewed(stream, sequence, now.moment);
                }
                self.leases.granted(stream, sequence, lease);
                self.leave_the_left();
            }
            ToWatcher::Leave => self.move_on(now.moment),
        }
    }

    /// Rule W2. Applied first, then acknowledged: whoever reads the acknowledgement relies on it.
    fn changes(&mut self, previous: Position, entries: Arc<[Entry]>, last: Position, now: Moment) {
        let follows = matches!(self.following, Following::Greeting | Following::Changes);
        if !follows || self.position != Some(previous) {
            return self.move_on(now);
        }
        self.following = Following::Changes;
        self.position = Some(last);
        #[cfg(feature = "simulation")]
        if self.settings.variant.is(Broken::AckBeforeApply) {
            self.unapplied.push((now + std::time::Duration::from_millis(30), Arc::clone(&entries)));
            return self.renew(now);
        }
        self.apply(&entries);
        self.actions.push(Action::Applied { entries });
        self.actions.push(Action::CaughtUp { position: last, after_reset: false });
        self.renew(now);
    }

    /// Rule W3. A union: what this guard has heard of stays ended, whatever the log holds now. Part by part, since millions at once
    /// would keep everybody else from looking; what was heard early refuses early, and the position does not move before the end.
    fn live(&mut self, entries: Arc<[Entry]>) {
        if matches!(self.following, Following::Building) {
            #[cfg(feature = "simulation")]
            if self.settings.variant.is(Broken::BehindReplicaResets) {
                return self.aside.push(entries);
            }
            self.apply(&entries);
            self.actions.push(Action::Applied { entries });
        }
    }

    fn caught_up_with(&mut self, position: Position, now: Moment) {
        if !matches!(self.following, Following::Building) {
            return self.move_on(now);
        }
        #[cfg(feature = "simulation")]
        if self.settings.variant.is(Broken::BehindReplicaResets) {
            self.endings = crate::endings::Endings::default();
            for entries in std::mem::take(&mut self.aside) {
                self.apply(&entries);
                self.actions.push(Action::Applied { entries });
            }
        }
        self.following = Following::Changes;
        self.fetches.drop_all();
        self.position = Some(position);
        self.caught_up = true;
        self.actions.push(Action::CaughtUp { position, after_reset: true });
        self.renew(now);
    }

    /// Rule W1: the lease will count from here.
    fn renew(&mut self, now: Moment) {
        let Some(acked) = self.position else { return };
        self.next_renewal = now + self.lease / 8;
        self.sequence += 1;
        let sequence = self.sequence;
        self.leases.renewed(self.stream, sequence, now);
        let message = FromWatcher::Renew { sequence, acked };
        self.actions.push(Action::Send { stream: self.stream, message });
    }

    /// To another replica. The lease from the present one holds until the next grants one, or until it ends.
    fn move_on(&mut self, now: Moment) {
        if !matches!(self.following, Following::Nobody(_)) {
            self.leases.left(self.stream);
        }
        self.connect(now);
    }

    /// Rule W5: the lease goes first; only then may the replica count on its being gone.
    pub(super) fn give_up(&mut self, now: Moment) {
        if matches!(self.following, Following::Nobody(_) | Following::Stopped) {
            return;
        }
        if !self.settings.variant.is(Broken::ForgetAfterRelease) {
            self.leases.drop_stream(self.stream);
        }
        self.release(self.stream);
        self.connect(now);
    }

    /// As giving up, for every stream, and for good.
    pub(super) fn stop(&mut self) {
        let mut streams = self.leases.drop_all();
        if !matches!(self.following, Following::Nobody(_) | Following::Stopped) {
            streams.insert(self.stream);
        }
        self.following = Following::Stopped;
        for stream in streams {
            self.release(stream);
        }
    }

    /// Nothing is renewed before the replica has answered: what is granted to who has left already holds endings up all the same.
    fn connect(&mut self, now: Moment) {
        self.stream = StreamId(self.stream.0 + 1);
        self.following = Following::Greeting;
        self.last_heard = now;
        self.actions.push(Action::Connect { stream: self.stream });
        let message = FromWatcher::Hello { watcher: self.id, position: self.position };
        self.actions.push(Action::Send { stream: self.stream, message });
    }

    fn release(&mut self, stream: StreamId) {
        self.actions.push(Action::Send { stream, message: FromWatcher::Release });
        self.actions.push(Action::Disconnect { stream });
    }

    /// The streams that were left, once the present one's lease is as long as theirs.
    fn leave_the_left(&mut self) {
        for stream in self.leases.outlived_by(self.stream) {
            self.leases.drop_stream(stream);
            self.release(stream);
        }
    }

    pub(super) fn stream_closed(&mut self, stream: StreamId, now: Moment) {
        // Its lease holds: the replica keeps the record of it.
        self.leases.closed(stream);
        if stream == self.stream && !matches!(self.following, Following::Nobody(_) | Following::Stopped) {
            self.following = Following::Nobody(now + self.lease / 16);
        }
    }

    pub(super) fn silent_at(&self) -> Moment {
        self.last_heard + self.lease * 3 / 10
    }

    pub(super) fn follow_due(&mut self, now: Moment) {
        for stream in self.leases.ended(now) {
            self.release(stream);
        }
        match &self.following {
            Following::Nobody(again) if *again <= now => self.connect(now),
            Following::Nobody(_) | Following::Stopped => {}
            _ if self.silent_at() <= now => self.move_on(now),
            Following::Changes if self.next_renewal <= now => self.renew(now),
            _ => {}
        }
    }
}
