//! A service replica: it follows the log, grants leases to guards on the strength of its beats, confirms that it and they
//! have applied an ending, and ends things itself.
//!
//! One state machine in five rooms: `membership` (register, beat, divergence), `streams` (what watchers are sent),
//! `confirming` (records of leases, confirmations), `answering` (answers from memory under the replica's own right) and
//! `ending` (append, read members, confirmations or wait out, acknowledge).

mod answering;
mod call;
mod confirming;
mod ending;
mod event;
mod everything;
mod history;
mod members;
mod membership;
mod streams;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use self::{
    answering::Answering,
    call::{Calls, Purpose},
    confirming::{Record, Strikes, Waiting},
    ending::Ender,
    everything::Told,
    history::{History, Included},
    streams::Stream,
};
pub use self::{
    ending::{Mode, Outcome},
    event::{Action, Answer, CallId, Event, Fill, Misconduct, RequestId},
    everything::Everything,
};
use crate::{
    broken::{Broken, Variant},
    change::{Entry, Position, Tail},
    endings::Endings,
    log::{LogCall, LogReply},
    member::{Life, MemberId},
    message::{StreamId, WatcherId},
    time::{LogClock, Moment, Now},
};

#[derive(Clone, Debug)]
pub struct Settings {
    /// The length of the leases that this replica grants.
    pub lease: Duration,
    /// Where peers reach it.
    pub address: String,
    pub variant: Variant,
}

#[derive(Debug)]
pub struct Replica {
    settings: Settings,
    life: Life,
    phase: Phase,
    id: MemberId,
    /// By which it is or was a member.
    ids: BTreeSet<MemberId>,
    /// Those that it tried last and that may have become members. Nothing was ever granted by them.
    unanswered: VecDeque<MemberId>,
    memory: Arc<Endings>,
    /// While somebody is being told everything, or was a moment ago.
    told: Option<Told>,
    /// The newest version of roles in the history that is followed: what a lost one outdated, the memory keeps, and no database has.
    roles_version: u64,
    history: History,
    /// Until when answers may come from memory.
    right: Option<Moment>,
    /// Whether the log was read as a whole: from then on it is followed, under whatever id.
    was_read: bool,
    /// When the last beat that succeeded was begun.
    beaten: Option<Moment>,
    /// As the last beat brought it.
    log_clock: Option<LogClock>,
    clocks_apart: bool,
    next_beat: Moment,
    /// When the last beat was begun, whatever became of it.
    began: Option<Moment>,
    streams: BTreeMap<StreamId, Stream>,
    records: BTreeMap<StreamId, Record>,
    strikes: BTreeMap<WatcherId, Strikes>,
    waiting: Vec<Waiting>,
    answering: Answering,
    ender: Ender,
    calls: Calls,
    actions: Vec<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The row is being written, for the first time or after a fence.
    Registering,
    /// No answer came; by another id at this moment.
    RegisteringAt(Moment),
    /// The first snapshot, or the one after the log turned out to have another history, is being read.
    Reading,
    /// No answer came; again at this moment.
    ReadingAt(Moment),
    Serving,
    /// Told to stop; at this moment at the latest no lease is left.
    Stopping(Moment),
    Removing,
    Stopped,
}

impl Replica {
    /// `life` is random: no two processes, and no two lives of one, may share it.
    pub fn new(settings: Settings, life: Life, now: Now) -> Self {
        let id = MemberId { life, registration: 0 };
        Self {
            settings,
            life,
            phase: Phase::Registering,
            id,
            ids: BTreeSet::new(),
            unanswered: VecDeque::new(),
            memory: Arc::default(),
            told: None,
            roles_version: 0,
            history: History::default(),
            right: None,
            was_read: false,
            beaten: None,
            log_clock: None,
            clocks_apart: false,
            next_beat: now.moment,
            began: None,
            streams: BTreeMap::new(),
            records: BTreeMap::new(),
            strikes: BTreeMap::new(),
            waiting: Vec::new(),
            answering: Answering::default(),
            ender: Ender::default(),
            calls: Calls::default(),
            actions: Vec::new(),
        }
    }

    pub fn on(&mut self, event: Event, now: Now) -> Vec<Action> {
        match event {
            Event::Started => self.register(),
            Event::Tick => {}
            Event::LogReplied { call, reply } => self.log_replied(call, reply, now),
            Event::LogFailed { call } => {
                if let Some(purpose) = self.calls.take(call) {
                    self.log_failed(purpose.0, now);
                }
            }
            Event::Received { stream, message } => self.received(stream, message, now),
            Event::StreamClosed { stream } => self.stream_closed(stream),
            Event::ConfirmAsked { request, member, position, tail } => {
                self.learn(&tail);
                self.confirm_asked(request, member, position, now);
            }
            Event::Confirmed { call } => self.confirmed(call),
            Event::ConfirmFailed { call } => self.confirm_failed(call, now),
            Event::End { request, changes, mode } => self.end(request, changes, mode),
            Event::Committed { request, position, mode } => self.committed(request, position, mode, now),
            Event::Asked { request, credential } => self.asked(request, credential, now),
            Event::FillAsked { request, target, at_least } => self.fill_asked(request, target, at_least, now),
            Event::BodyRead { request } => self.body_read(request),
            Event::BodyFailed { request } => self.body_failed(request),
            Event::Terminate => self.terminate(now),
        }
        self.due(now);
        std::mem::take(&mut self.actions)
    }

    /// When [`Event::Tick`] is wanted at the latest.
    pub fn deadline(&self) -> Option<Moment> {
        let phase = match self.phase {
            Phase::RegisteringAt(at) | Phase::ReadingAt(at) | Phase::Stopping(at) => Some(at),
            Phase::Serving => Some(self.next_beat),
            Phase::Registering | Phase::Reading | Phase::Removing | Phase::Stopped => None,
        };
        [phase, self.leave_at(), self.confirming_deadline(), self.ending_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Until when answers may come from memory; `None` if the replica never had that right, or lost it.
    pub fn right(&self) -> Option<Moment> {
        self.right
    }

    /// Rule R1: from the first beat on.
    pub fn is_ready(&self) -> bool {
        self.beaten.is_some() && self.phase == Phase::Serving
    }

    pub fn applied(&self) -> Position {
        self.history.applied()
    }

    pub fn memory(&self) -> &Endings {
        &self.memory
    }

    /// The newest version of roles that was heard of: a database that has an older one is not the one that changes are written to.
    pub fn roles_version(&self) -> u64 {
        self.roles_version
    }

    pub fn member(&self) -> MemberId {
        self.id
    }

    /// How old the news is that this replica certainly has: what was committed longer ago, it knows.
    pub fn staleness(&self, now: Moment) -> Option<Duration> {
        self.beaten.map(|began| now.since(began))
    }

    /// `None` before the first beat. What is remembered is forgotten by it.
    pub fn log_clock(&self) -> Option<LogClock> {
        self.log_clock
    }

    /// Whether this machine's wall clock and the log's were, at the last beat, further apart than endings are remembered for
    /// longer: what is ended here may be forgotten before it has expired.
    pub fn clocks_apart(&self) -> bool {
        self.clocks_apart
    }

    /// How many watchers are connected, and how many leases may still be valid.
    pub fn watchers(&self, now: Moment) -> (usize, usize) {
        (self.streams.len(), self.records.values().filter(|record| record.until > now).count())
    }

    fn log_replied(&mut self, call: CallId, reply: LogReply, now: Now) {
        let Some((purpose, epoch)) = self.calls.take(call) else { return };
        // What was asked about a history that the log has lost since says nothing about this one.
        if epoch != self.history.epoch() {
            return self.log_failed(purpose, now);
        }
        match (purpose, reply) {
            (Purpose::Register(id), LogReply::Done) => self.registered(id, now),
            (Purpose::Snapshot, LogReply::Snapshot(snapshot)) => self.snapshot_read(snapshot, now),
            (Purpose::Beat(began), LogReply::Beat(beat)) => self.beat_answered(began, beat, now),
            (Purpose::Hello(stream), LogReply::Read(read)) => self.hello_read(stream, read),
            (Purpose::CatchUp(waiting), LogReply::Read(read)) => self.catch_up_read(waiting, read),
            (Purpose::Answer(question), LogReply::Read(read)) => self.answer_read(question, read),
            (Purpose::Append(batch), LogReply::Appended(placed)) => self.appended(batch, placed, now),
            (Purpose::Head(request), LogReply::Read(read)) => self.head_read(request, read, now),
            (Purpose::Members(requests), LogReply::Members(members)) => {
                self.look_at_members(&members, now.moment);
                for request in requests {
                    self.members_read(request, members.clone(), now);
                }
            }
            (Purpose::EarlyMembers, LogReply::Members(members)) => self.early_members_read(members),
            (Purpose::Remove, LogReply::Done) => self.removed(),
            (Purpose::Fence(member), LogReply::Done) => self.saw_fenced(member, now.moment),
            (Purpose::Cleanup, _) => {}
            (purpose, _) => self.log_failed(purpose, now),
        }
    }

    fn log_failed(&mut self, purpose: Purpose, now: Now) {
        match purpose {
            Purpose::Register(_) | Purpose::Snapshot => self.start_again_later(now),
            Purpose::Beat(_) | Purpose::CatchUp(_) | Purpose::Fence(_) | Purpose::Cleanup => {}
            Purpose::Hello(stream) => self.close(stream),
            Purpose::Answer(question) => self.unavailable(&question),
            Purpose::Append(batch) => self.append_failed(batch),
            Purpose::Head(request) => self.not_confirmed(request),
            Purpose::Members(requests) => {
                requests.into_iter().for_each(|request| self.not_confirmed(request));
            }
            Purpose::EarlyMembers => self.early_members_failed(),
            Purpose::Remove => self.removed(),
        }
    }

    fn call_log(&mut self, purpose: Purpose, log_call: LogCall) {
        let call = self.calls.begin(purpose, self.history.epoch());
        self.actions.push(Action::CallLog { call, log_call });
    }

    fn due(&mut self, now: Now) {
        self.membership_due(now);
        self.confirmations_due(now.moment);
        self.endings_due(now);
    }

    /// Takes in what the log answered; false if the log turned out to have another history.
    fn absorb(&mut self, head: Position, entries: &[Entry]) -> bool {
        if !self.history.agrees(head, entries, self.settings.variant) {
            self.diverged();
            return false;
        }
        self.apply(entries);
        true
    }

    /// Takes in what the log holds, from somebody who appended or read it. Where it does not go on from here, the log will be
    /// read: what is missing before it, or on another history, must not be passed over.
    fn learn(&mut self, tail: &Tail) {
        let variant = self.settings.variant;
        let goes_on = self.history.includes(tail.after, variant) == Included::Yes
            || variant.is(Broken::TailOfAnotherHistory);
        let last = tail.entries.last().map_or(tail.after, |entry| entry.position);
        if matches!(self.phase, Phase::Serving | Phase::Stopping(_))
            && tail.is_unbroken()
            && goes_on
            && self.history.agrees(last, &tail.entries, variant)
        {
            self.apply(&tail.entries);
        }
    }

    fn apply(&mut self, entries: &[Entry]) {
        let Some(new) = self.history.extend(entries, self.settings.variant) else { return };
        let memory = self.memory_mut();
        new.iter().for_each(|entry| memory.remember(entry));
        for entry in new {
            self.roles_version = self.roles_version.max(entry.roles_version().unwrap_or(0));
        }
        self.tell_after(new);
        self.push(&new.into());
    }
}
