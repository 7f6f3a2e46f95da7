//! Ending something: append, read the members, wait for each to confirm or wait its leases out, acknowledge.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{Action, CallId, Replica, RequestId, call::Purpose, confirming::Waiter};
use crate::{
    broken::Broken,
    change::{Change, Position},
    log::{Appended, LogCall, MAX_APPEND, Read},
    member::{Member, MemberId},
    time::{Moment, Now, waited_out},
};

/// Past the longest lease, for the log and the network.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Answered when no replica accepts it any more.
    Everywhere,
    /// Answered after the commit.
    Durable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done {
        position: Position,
        everywhere: bool,
    },
    /// It may have been appended, and it may hold everywhere: nobody knows. Repeating is right.
    NotConfirmed,
    /// More changes than one append may carry, or an id that is empty or too long: nothing was appended.
    Refused,
}

#[derive(Debug, Default)]
pub(super) struct Ender {
    queue: VecDeque<Queued>,
    appending: bool,
    /// Tags that this life has given away.
    tags: u64,
    waits: BTreeMap<RequestId, Wait>,
    peers: BTreeMap<CallId, (RequestId, MemberId)>,
    /// When this process first saw that a member was fenced.
    seen_fenced: BTreeMap<MemberId, Moment>,
    early_members: Option<Vec<Member>>,
}

#[derive(Debug)]
struct Queued {
    request: RequestId,
    changes: Vec<Change>,
    mode: Mode,
}

/// Requests that share one append.
#[derive(Debug)]
pub(super) struct Batch(Vec<(RequestId, Mode)>);

/// An ending that is committed, but not yet everywhere.
#[derive(Debug)]
struct Wait {
    position: Position,
    /// Read after the commit was answered: every lease that matters began before.
    since: Moment,
    give_up: Moment,
    left: BTreeMap<MemberId, Left>,
}

/// A member that has not confirmed.
#[derive(Debug)]
struct Left {
    member: Member,
    waited_out: Moment,
    ask_again: Option<Moment>,
}

impl Replica {
    pub(super) fn end(&mut self, request: RequestId, changes: Vec<Change>, mode: Mode) {
        if changes.len() > MAX_APPEND || !changes.iter().all(Change::is_well_formed) {
            self.actions.push(Action::Ended { request, outcome: Outcome::Refused });
        } else if changes.is_empty() {
            // Ending twice waits like the first time, which may be under way in another replica.
            if self.settings.variant.is(Broken::RepeatEndAtOnce) {
                return self.everywhere(request, self.applied());
            }
            self.call_log(Purpose::Head(request), LogCall::Read { after: self.applied() });
        } else {
            self.ender.queue.push_back(Queued { request, changes, mode });
            self.append();
        }
    }

    /// Rule E1: one append under way, and what comes meanwhile goes into the next.
    fn append(&mut self) {
        if self.ender.appending || self.ender.queue.is_empty() {
            return;
        }
        if self.settings.variant.is(Broken::MembersBeforeCommit) && self.ender.early_members.is_none() {
            self.ender.appending = true;
            return self.call_log(Purpose::EarlyMembers, LogCall::Members);
        }
        let mut batch = Vec::new();
        let mut appended: Vec<Appended> = Vec::new();
        while let Some(next) = self.ender.queue.front()
            && appended.len() + next.changes.len() <= MAX_APPEND
        {
            let Some(Queued { request, changes, mode }) = self.ender.queue.pop_front() else { break };
            batch.push((request, mode));
            for change in changes {
                self.ender.tags += 1;
                appended.push(Appended { tag: self.life.tag(self.ender.tags), change });
            }
        }
        self.ender.appending = true;
        self.call_log(Purpose::Append(Batch(batch)), LogCall::Append(appended));
    }

    pub(super) fn appended(&mut self, Batch(batch): Batch, position: Position, now: Now) {
        self.ender.appending = false;
        for (request, mode) in batch {
            self.committed(request, position, mode, now);
        }
        self.ender.early_members = None;
        self.append();
    }

    pub(super) fn append_failed(&mut self, Batch(batch): Batch) {
        self.ender.appending = false;
        for (request, _) in batch {
            self.not_confirmed(request);
        }
        self.ender.early_members = None;
        self.append();
    }

    pub(super) fn early_members_read(&mut self, members: Vec<Member>) {
        self.ender.appending = false;
        self.ender.early_members = Some(members);
        self.append();
    }

    pub(super) fn early_members_failed(&mut self) {
        self.ender.appending = false;
        for Queued { request, .. } in std::mem::take(&mut self.ender.queue) {
            self.not_confirmed(request);
        }
    }

    /// Rule E3.
    pub(super) fn committed(&mut self, request: RequestId, position: Position, mode: Mode, now: Now) {
        if self.settings.variant.is(Broken::AckAfterCommit) {
            return self.everywhere(request, position);
        }
        if mode == Mode::Durable {
            let outcome = Outcome::Done { position, everywhere: false };
            self.actions.push(Action::Ended { request, outcome });
            return;
        }
        let give_up = now.moment + waited_out(self.settings.lease) + GRACE;
        let wait = Wait { position, since: now.moment, give_up, left: BTreeMap::new() };
        self.ender.waits.insert(request, wait);
        match self.ender.early_members.clone() {
            Some(members) => self.members_read(request, members, now),
            None => self.call_log(Purpose::Members(request), LogCall::Members),
        }
    }

    /// Rule E2: everything up to a head that was read after the call began.
    pub(super) fn head_read(&mut self, request: RequestId, read: Read, now: Now) {
        match read {
            Read::Current { head, .. } => self.committed(request, head, Mode::Everywhere, now),
            Read::Diverged => {
                self.diverged();
                self.not_confirmed(request);
            }
        }
    }

    /// Rule E4.
    pub(super) fn members_read(&mut self, request: RequestId, members: Vec<Member>, now: Now) {
        let Some(wait) = self.ender.waits.get(&request) else { return };
        let (position, since) = (wait.position, wait.since);
        let mut left = BTreeMap::new();
        for member in members {
            if member.fenced && self.is_long_fenced(&member, now.moment) {
                continue;
            }
            let own = self.settings.variant.is(Broken::OwnLeaseLength);
            let lease = if own { self.settings.lease } else { member.lease };
            let waited_out = since + waited_out(lease);
            left.insert(member.id, Left { member, waited_out, ask_again: None });
        }
        let ids: Vec<MemberId> = left.keys().copied().collect();
        if let Some(wait) = self.ender.waits.get_mut(&request) {
            let longest = left.values().map(|left| left.waited_out).max();
            wait.give_up = longest.unwrap_or(since) + GRACE;
            wait.left = left;
        }
        for member in ids {
            if self.ids.contains(&member) {
                self.confirm(Waiter::Own { request, member }, position, now.moment);
            } else {
                self.ask_peer(request, member);
            }
        }
        self.done_if_nobody_is_left(request);
    }

    /// Whether every lease of a fenced member is over, so that its row may go.
    fn is_long_fenced(&mut self, member: &Member, now: Moment) -> bool {
        let seen = *self.ender.seen_fenced.entry(member.id).or_insert(now);
        if self.settings.variant.is(Broken::SkipFencedAtOnce) {
            return true;
        }
        let over = seen + waited_out(member.lease) <= now;
        if over {
            self.ender.seen_fenced.remove(&member.id);
            self.call_log(Purpose::Cleanup, LogCall::Remove(member.id));
        }
        over
    }

    fn ask_peer(&mut self, request: RequestId, id: MemberId) {
        let Some(wait) = self.ender.waits.get_mut(&request) else { return };
        let Some(left) = wait.left.get_mut(&id) else { return };
        left.ask_again = None;
        let call = self.calls.number();
        self.ender.peers.insert(call, (request, id));
        let (member, position) = (left.member.clone(), wait.position);
        self.actions.push(Action::Confirm { call, member, position });
    }

    pub(super) fn confirmed(&mut self, call: CallId) {
        if let Some((request, member)) = self.ender.peers.remove(&call) {
            self.member_done(request, member);
        }
    }

    pub(super) fn confirm_failed(&mut self, call: CallId, now: Now) {
        let Some((request, member)) = self.ender.peers.remove(&call) else { return };
        if let Some(wait) = self.ender.waits.get_mut(&request)
            && let Some(left) = wait.left.get_mut(&member)
        {
            left.ask_again = Some(now.moment + left.member.lease / 16);
        }
    }

    pub(super) fn member_done(&mut self, request: RequestId, member: MemberId) {
        if let Some(wait) = self.ender.waits.get_mut(&request) {
            wait.left.remove(&member);
            self.done_if_nobody_is_left(request);
        }
    }

    fn done_if_nobody_is_left(&mut self, request: RequestId) {
        if self.ender.waits.get(&request).is_some_and(|wait| wait.left.is_empty())
            && let Some(wait) = self.ender.waits.remove(&request)
        {
            self.everywhere(request, wait.position);
        }
    }

    pub(super) fn not_confirmed(&mut self, request: RequestId) {
        self.ender.waits.remove(&request);
        self.actions.push(Action::Ended { request, outcome: Outcome::NotConfirmed });
    }

    fn everywhere(&mut self, request: RequestId, position: Position) {
        let outcome = Outcome::Done { position, everywhere: true };
        self.actions.push(Action::Ended { request, outcome });
    }

    pub(super) fn endings_due(&mut self, now: Now) {
        let due: Vec<(RequestId, MemberId, bool)> = self
            .ender
            .waits
            .iter()
            .flat_map(|(request, wait)| wait.left.iter().map(move |(id, left)| (*request, *id, left)))
            .filter_map(|(request, id, left)| {
                let over = left.waited_out <= now.moment;
                let again = left.ask_again.is_some_and(|at| at <= now.moment);
                (over || again).then_some((request, id, over))
            })
            .collect();
        for (request, member, over) in due {
            if over {
                self.call_log(Purpose::Cleanup, LogCall::Fence(member));
                self.member_done(request, member);
            } else {
                self.ask_peer(request, member);
            }
        }
        let late: Vec<RequestId> = self
            .ender
            .waits
            .iter()
            .filter(|(_, wait)| wait.give_up <= now.moment)
            .map(|(request, _)| *request)
            .collect();
        for request in late {
            self.not_confirmed(request);
        }
    }

    pub(super) fn ending_deadline(&self) -> Option<Moment> {
        let waits = self.ender.waits.values().flat_map(|wait| {
            let left = wait.left.values().flat_map(|left| [Some(left.waited_out), left.ask_again]);
            left.flatten().chain([wait.give_up])
        });
        waits.min()
    }
}
