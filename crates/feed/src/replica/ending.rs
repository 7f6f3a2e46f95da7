//! Ending something: append, read the members, wait for each to confirm or wait its leases out, acknowledge.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{Action, CallId, Replica, RequestId, call::Purpose, confirming::Waiter};
use crate::{
    broken::Broken,
    change::{Change, Entry, Position, Tail},
    log::{Appended, LogCall, MAX_APPEND, Placed, Read},
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
    pub(super) waits: BTreeMap<RequestId, Wait>,
    peers: BTreeMap<CallId, (RequestId, MemberId)>,
    /// When this process first saw that a member was fenced, of those that were when they were last read.
    pub(super) seen_fenced: BTreeMap<MemberId, Moment>,
    pub(super) early_members: Option<Vec<Member>>,
    /// As last read: who is asked while they are read again.
    pub(super) known: Vec<Member>,
    /// The highest position that each has confirmed.
    pub(super) told: BTreeMap<MemberId, u64>,
}

#[derive(Debug)]
struct Queued {
    request: RequestId,
    changes: Vec<Change>,
    mode: Mode,
}

/// Requests that share one append, and what it carries.
#[derive(Debug)]
pub(super) struct Batch {
    requests: Vec<(RequestId, Mode)>,
    appended: Vec<Appended>,
}

impl Batch {
    /// What the log holds after `after` from then on.
    fn tail(&self, after: Position) -> Tail {
        let numbered = (after.number + 1..).zip(&self.appended);
        let entries = numbered.map(|(number, Appended { tag, change })| Entry {
            position: Position { number, tag: *tag },
            change: change.clone(),
        });
        Tail { after, entries: entries.collect() }
    }
}

/// An ending that is committed, but not yet everywhere.
#[derive(Debug)]
pub(super) struct Wait {
    position: Position,
    /// Read after the commit was answered: every lease that matters began before.
    pub(super) since: Moment,
    give_up: Moment,
    /// The members were read after the commit: `left` is complete.
    counted: bool,
    /// They were read once more, because one did not confirm.
    counted_again: bool,
    left: BTreeMap<MemberId, Left>,
    /// Whose confirmation is under way.
    asked: BTreeSet<MemberId>,
    confirmed: BTreeSet<MemberId>,
}

/// A member that has not confirmed.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) member: Member,
    pub(super) waited_out: Moment,
    pub(super) ask_again: Option<Moment>,
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
        let mut requests = Vec::new();
        let mut appended: Vec<Appended> = Vec::new();
        while let Some(next) = self.ender.queue.front()
            && appended.len() + next.changes.len() <= MAX_APPEND
        {
            let Some(Queued { request, changes, mode }) = self.ender.queue.pop_front() else { break };
            requests.push((request, mode));
            for change in changes {
                self.ender.tags += 1;
                appended.push(Appended { tag: self.life.tag(self.ender.tags), change });
            }
        }
        self.ender.appending = true;
        let log_call = LogCall::Append(appended.clone());
        self.call_log(Purpose::Append(Batch { requests, appended }), log_call);
    }

    pub(super) fn appended(&mut self, batch: Batch, placed: Placed, now: Now) {
        self.ender.appending = false;
        if let Some(after) = placed.after {
            self.learn(&batch.tail(after));
        }
        let mut waiting = batch.requests;
        waiting.retain(|(request, mode)| self.begins_to_wait(*request, placed.last, *mode, now));
        if !waiting.is_empty() {
            self.read_members(waiting.into_iter().map(|(request, _)| request).collect(), now);
        }
        self.ender.early_members = None;
        self.append();
    }

    pub(super) fn append_failed(&mut self, batch: Batch) {
        self.ender.appending = false;
        for (request, _) in batch.requests {
            if self.settings.variant.is(Broken::FailedAppendIsDone) {
                let outcome = Outcome::Done { position: self.applied(), everywhere: true };
                self.actions.push(Action::Ended { request, outcome });
            }
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

    pub(super) fn committed(&mut self, request: RequestId, position: Position, mode: Mode, now: Now) {
        if self.begins_to_wait(request, position, mode, now) {
            self.read_members(vec![request], now);
        }
    }

    /// Whether there is anything to wait for.
    fn begins_to_wait(&mut self, request: RequestId, position: Position, mode: Mode, now: Now) -> bool {
        if self.settings.variant.is(Broken::AckAfterCommit) {
            self.everywhere(request, position);
            return false;
        }
        if mode == Mode::Durable {
            let outcome = Outcome::Done { position, everywhere: false };
            self.actions.push(Action::Ended { request, outcome });
            return false;
        }
        let give_up = now.moment + waited_out(self.settings.lease) + GRACE;
        let wait = Wait {
            position,
            since: now.moment,
            give_up,
            counted: false,
            counted_again: false,
            left: BTreeMap::new(),
            asked: BTreeSet::new(),
            confirmed: BTreeSet::new(),
        };
        self.ender.waits.insert(request, wait);
        true
    }

    /// Rule E2: everything up to a head that was read after the call began.
    pub(super) fn head_read(&mut self, request: RequestId, read: Read, now: Now) {
        match read {
            Read::Current { head, entries } if self.absorb(head, &entries) => {
                self.committed(request, head, Mode::Everywhere, now);
            }
            Read::Current { .. } => self.not_confirmed(request),
            Read::Diverged => {
                self.diverged();
                self.not_confirmed(request);
            }
        }
    }

    /// All that there is to wait for.
    pub(super) fn wait_for(&mut self, request: RequestId, mut left: BTreeMap<MemberId, Left>, now: Moment) {
        let Some(wait) = self.ender.waits.get_mut(&request) else { return };
        let longest = left.values().map(|left| left.waited_out).max();
        wait.give_up = longest.unwrap_or(wait.since) + GRACE;
        wait.counted = true;
        left.retain(|id, _| !wait.confirmed.contains(id));
        wait.left = left;
        let unasked = wait.left.values().filter(|left| !wait.asked.contains(&left.member.id));
        for member in unasked.map(|left| left.member.clone()).collect::<Vec<_>>() {
            self.ask(request, member, now);
        }
        self.done_if_nobody_is_left(request);
    }

    /// A peer is told along with the question what it may not have read yet.
    pub(super) fn ask(&mut self, request: RequestId, member: Member, now: Moment) {
        let Some(wait) = self.ender.waits.get_mut(&request) else { return };
        let (id, position) = (member.id, wait.position);
        wait.asked.insert(id);
        if let Some(left) = wait.left.get_mut(&id) {
            left.ask_again = None;
        }
        if self.is_own(id) {
            return self.confirm(Waiter::Own { request, member: id }, position, now);
        }
        let call = self.calls.number();
        self.ender.peers.insert(call, (request, id));
        let told = self.ender.told.get(&id).copied();
        let tail = self.history.tail(told, position);
        self.actions.push(Action::Confirm { call, member, position, tail });
    }

    pub(super) fn confirmed(&mut self, call: CallId) {
        if let Some((request, member)) = self.ender.peers.remove(&call) {
            if let Some(wait) = self.ender.waits.get(&request) {
                let told = self.ender.told.entry(member).or_default();
                *told = wait.position.number.max(*told);
            }
            self.member_done(request, member);
        }
    }

    pub(super) fn confirm_failed(&mut self, call: CallId, now: Now) {
        let Some((request, member)) = self.ender.peers.remove(&call) else { return };
        let Some(wait) = self.ender.waits.get_mut(&request) else { return };
        wait.asked.remove(&member);
        if let Some(left) = wait.left.get_mut(&member) {
            left.ask_again = Some(now.moment + left.member.lease / 16);
        }
        // One that stopped has first had its leases given back and its row removed: nobody has to wait for it.
        // Reading them again would mend the broken rule.
        let early = self.settings.variant.is(Broken::MembersBeforeCommit);
        if wait.counted && !early && !std::mem::replace(&mut wait.counted_again, true) {
            self.call_log(Purpose::Members(vec![request]), LogCall::Members);
        }
    }

    pub(super) fn member_done(&mut self, request: RequestId, member: MemberId) {
        if let Some(wait) = self.ender.waits.get_mut(&request) {
            wait.left.remove(&member);
            wait.confirmed.insert(member);
            self.done_if_nobody_is_left(request);
        }
    }

    fn done_if_nobody_is_left(&mut self, request: RequestId) {
        if self.ender.waits.get(&request).is_some_and(|wait| wait.counted && wait.left.is_empty())
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
        let due: Vec<(RequestId, Member, bool)> = self
            .ender
            .waits
            .iter()
            .flat_map(|(request, wait)| wait.left.values().map(move |left| (*request, left)))
            .filter_map(|(request, left)| {
                let over = left.waited_out <= now.moment;
                let again = left.ask_again.is_some_and(|at| at <= now.moment);
                (over || again).then(|| (request, left.member.clone(), over))
            })
            .collect();
        for (request, member, over) in due {
            if over {
                self.call_log(Purpose::Fence(member.id), LogCall::Fence(member.id));
                self.member_done(request, member.id);
            } else {
                self.ask(request, member, now.moment);
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
