//! The drivers around the cores: they carry out actions, number calls, give up on answers, and wake a core when it wants.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use fastrand::Rng;

use super::{
    faults::Fault,
    machine::{Instant, Machine},
    network::{Lane, MILLI, Place},
    scenario::{Scenario, change_of},
    traffic::Waiter,
    world::{Caller, Connection, REPLICAS, Work, World},
};
use crate::{
    broken::{Broken, Variant},
    change::Position,
    log::{LogCall, LogReply},
    member::Life,
    message::{FromWatcher, StreamId, ToWatcher, WatcherId},
    replica::{self, CallId, Mode, Outcome, Replica, RequestId},
    time::Moment,
    watcher::{self, FlightId, Watcher},
};

const CONFIRM_TIMEOUT: Instant = 1000 * MILLI;
/// Longer than anything that is issued or ended here lives.
pub(super) const LONG: std::time::Duration = std::time::Duration::from_secs(3600);

pub(super) struct ReplicaProcess {
    pub(super) machine: Machine,
    pub(super) core: Replica,
    settings: replica::Settings,
    requests: HashMap<RequestId, Requester>,
    wake_at: Option<Instant>,
}

/// Who made a request to a replica.
#[derive(Clone, Copy)]
enum Requester {
    Peer { caller: Caller, call: CallId },
    Question { guard: usize, life: u32, question: u64 },
    Flight { guard: usize, life: u32, flight: FlightId },
    Ending { key: usize, began: Instant, repeat: bool },
    Raise { raise: usize },
}

pub(super) struct GuardProcess {
    pub(super) machine: Machine,
    pub(super) core: Watcher<()>,
    settings: watcher::Settings,
    pub(super) connections: BTreeMap<StreamId, u64>,
    pub(super) questions: HashMap<u64, (usize, Instant)>,
    pub(super) waiters: HashMap<FlightId, Vec<Waiter>>,
    /// The last position that was applied, for invariant 3.
    pub(super) position: Option<Position>,
    /// What a guard that reads its clock now and then takes for the present.
    pub(super) clock_read: Moment,
    wake_at: Option<Instant>,
}

impl ReplicaProcess {
    pub(super) fn new(at: usize, scenario: &Scenario, variant: Variant, random: &mut Rng) -> Self {
        let machine = Machine::new(random);
        let lease = scenario.leases.get(at).copied().unwrap_or_default();
        let settings = replica::Settings { lease, address: at.to_string(), variant };
        let core = Replica::new(settings.clone(), Life(random.u128(..)), machine.now(0));
        Self { machine, core, settings, requests: HashMap::new(), wake_at: None }
    }
}

impl GuardProcess {
    pub(super) fn new(_at: usize, scenario: &Scenario, variant: Variant, random: &mut Rng) -> Self {
        let machine = Machine::new(random);
        let settings =
            watcher::Settings { lease: scenario.expected_lease, remember: scenario.remember, variant };
        let now = machine.now(0);
        Self {
            core: Watcher::new(settings.clone(), WatcherId(random.u128(..)), now),
            machine,
            settings,
            connections: BTreeMap::new(),
            questions: HashMap::new(),
            waiters: HashMap::new(),
            position: None,
            clock_read: now.moment,
            wake_at: None,
        }
    }
}

impl World {
    pub(super) fn happen(&mut self, place: Place, work: Work) {
        match (place, work) {
            (Place::World, Work::Fault(fault)) => self.fault(fault),
            (Place::Log, Work::LogCalled { caller, call, log_call }) => {
                self.log_called(caller, call, &log_call)
            }
            (Place::Log, Work::RowEnded { caller, request, key }) => self.row_ended(caller, request, key),
            (Place::Log, Work::Shown { entries, reply, to }) => {
                entries.into_iter().for_each(|entry| self.store.ledger.show(entry));
                self.send_to_life(Place::Log, Place::Replica(to.replica), to.life, None, *reply);
            }
            (Place::Log, Work::Issue(step)) => self.issue_at_log(step),
            (Place::Replica(at), work) => self.at_replica(at, work),
            (Place::Guard(at), work) => self.at_guard(at, work),
            _ => {}
        }
    }

    fn at_replica(&mut self, at: usize, work: Work) {
        match work {
            Work::Replica(event) => self.replica_event(at, event),
            Work::ReplicaTick => {
                if let Some(process) = self.replicas.get_mut(at)
                    && process.wake_at.is_none_or(|wake| wake <= self.now)
                {
                    process.wake_at = None;
                    self.replica_event(at, replica::Event::Tick);
                }
            }
            Work::ConfirmAsked { caller, call, member, position } => {
                let request = self.request(at, Requester::Peer { caller, call });
                self.replica_event(at, replica::Event::ConfirmAsked { request, member, position });
            }
            Work::Asked { guard, life, question, credential } => {
                let request = self.request(at, Requester::Question { guard, life, question });
                self.replica_event(at, replica::Event::Asked { request, credential });
            }
            Work::FillAsked { guard, life, flight, target, at_least } => {
                let request = self.request(at, Requester::Flight { guard, life, flight });
                self.replica_event(at, replica::Event::FillAsked { request, target, at_least });
            }
            Work::EndAsked { key, repeat } => self.end_asked(at, key, repeat),
            Work::Issue(step) => self.issue_at_replica(at, step),
            _ => {}
        }
    }

    fn at_guard(&mut self, at: usize, work: Work) {
        match work {
            Work::Guard(watcher::Event::Started) => self.begin_guard(at),
            Work::Guard(event) => self.guard_event(at, event),
            Work::GuardTick => {
                if let Some(process) = self.guards.get_mut(at)
                    && process.wake_at.is_none_or(|wake| wake <= self.now)
                {
                    process.wake_at = None;
                    self.guard_event(at, watcher::Event::Tick);
                }
            }
            Work::ClockRead => self.read_clock(at),
            Work::Requested(key) => self.requested(at, key),
            Work::Looked(request) => self.look(at, request),
            Work::Answered { question, answer } => self.answered(at, question, answer),
            Work::Filled { flight, fill } => self.filled(at, flight, fill),
            _ => {}
        }
    }

    /// A number for a request that this life of a replica has to answer.
    fn request(&mut self, at: usize, requester: Requester) -> RequestId {
        let request = RequestId(self.id());
        if let Some(process) = self.replicas.get_mut(at) {
            process.requests.insert(request, requester);
        }
        request
    }

    pub(super) fn replica_event(&mut self, at: usize, event: replica::Event) {
        if matches!(
            &event,
            replica::Event::LogReplied {
                reply: LogReply::Beat(crate::log::Beat::Diverged)
                    | LogReply::Read(crate::log::Read::Diverged),
                ..
            }
        ) {
            self.counts.diverged += 1;
        }
        let Some(process) = self.replicas.get_mut(at) else { return };
        let now = process.machine.now(self.now);
        let actions = process.core.on(event, now);
        let deadline = process.core.deadline();
        for action in actions {
            self.trace(|| format!("replica {at} {action:?}"));
            self.act_for_replica(at, action);
        }
        let Some(process) = self.replicas.get_mut(at) else { return };
        let Some(wake) = deadline.map(|deadline| process.machine.when(deadline).max(self.now + 1)) else {
            return;
        };
        if process.machine.alive && process.wake_at.is_none_or(|known| known > wake) {
            process.wake_at = Some(wake);
            self.at(wake, Place::Replica(at), Work::ReplicaTick);
        }
    }

    fn act_for_replica(&mut self, at: usize, action: replica::Action) {
        use replica::{Action, Event};
        let place = Place::Replica(at);
        let Some(process) = self.replicas.get_mut(at) else { return };
        let caller = Caller { replica: at, life: process.machine.life };
        match action {
            Action::CallLog { call, log_call } => {
                self.send(place, Place::Log, None, Work::LogCalled { caller, call, log_call });
                let timeout = self.now + self.scenario.log_timeout;
                self.at(timeout, place, Work::Replica(Event::LogFailed { call }));
            }
            Action::Send { stream: StreamId(id), message } => {
                let Some(Connection { guard, guard_life, stream, .. }) = self.connections.get(&id).copied()
                else {
                    return;
                };
                if message == ToWatcher::Reset {
                    self.counts.resets += 1;
                }
                let overtakes =
                    self.is(Broken::GrantOvertakesChanges) && matches!(message, ToWatcher::Grant { .. });
                let lane = (!overtakes).then_some(Lane::ToGuard(id));
                let work = Work::Guard(watcher::Event::Received { stream, message });
                self.send_to_life(place, Place::Guard(guard), guard_life, lane, work);
            }
            Action::Close { stream: StreamId(id) } => self.tell_guard_closed(id),
            Action::Confirm { call, member, position } => {
                let peer = member.address.parse().unwrap_or(REPLICAS);
                let work = Work::ConfirmAsked { caller, call, member: member.id, position };
                self.send(place, Place::Replica(peer), None, work);
                let timeout = self.now + CONFIRM_TIMEOUT;
                self.at(timeout, place, Work::Replica(Event::ConfirmFailed { call }));
            }
            Action::AnswerConfirm { request, confirmed } => {
                if let Some(Requester::Peer { caller, call }) = process.requests.remove(&request) {
                    let event =
                        if confirmed { Event::Confirmed { call } } else { Event::ConfirmFailed { call } };
                    let to = Place::Replica(caller.replica);
                    self.send_to_life(place, to, caller.life, None, Work::Replica(event));
                }
            }
            Action::Answer { request, answer } => {
                if let Some(Requester::Question { guard, life, question }) = process.requests.remove(&request)
                {
                    let work = Work::Answered { question, answer };
                    self.send_to_life(place, Place::Guard(guard), life, None, work);
                }
            }
            Action::ReadBody { request, .. } => {
                let takes = *self.random.choice(&[0, 0, 5, 300]).unwrap_or(&0);
                self.at(self.now + takes * MILLI, place, Work::Replica(Event::BodyRead { request }));
            }
            Action::AnswerFill { request, fill } => {
                if let Some(Requester::Flight { guard, life, flight }) = process.requests.remove(&request) {
                    let work = Work::Filled { flight, fill };
                    self.send_to_life(place, Place::Guard(guard), life, None, work);
                }
            }
            Action::Ended { request, outcome } => match process.requests.remove(&request) {
                Some(Requester::Ending { key, began, repeat }) => self.ended(key, began, repeat, outcome),
                Some(Requester::Raise { raise }) => self.raised(raise, outcome),
                _ => {}
            },
            Action::Stopped => self.restart_after(at, 30 * MILLI),
        }
    }

    fn log_called(&mut self, caller: Caller, call: CallId, log_call: &LogCall) {
        let time = self.log.now(self.now).wall;
        let LogCall::Append(changes) = log_call else {
            let reply = self.store.call(log_call, time, self.now, &mut self.random);
            let event = replica::Event::LogReplied { call, reply };
            let to = Place::Replica(caller.replica);
            return self.send_to_life(Place::Log, to, caller.life, None, Work::Replica(event));
        };
        let committed = self.store.append(changes, self.now);
        let reply = LogReply::Appended(committed.position);
        let event = replica::Event::LogReplied { call, reply };
        self.answer_commit(caller, committed, Work::Replica(event));
    }

    /// A statement that ends a row unless it has ended, and appends the entry in the same transaction.
    fn row_ended(&mut self, caller: Caller, request: RequestId, key: usize) {
        let mode = Mode::Everywhere;
        if !self.store.ended.insert(key) {
            let event = replica::Event::End { request, changes: Vec::new(), mode };
            let to = Place::Replica(caller.replica);
            return self.send_to_life(Place::Log, to, caller.life, None, Work::Replica(event));
        }
        let change = change_of(key, self.log.now(self.now).wall + LONG);
        let committed = self.store.append_one(change, self.now, &mut self.random);
        let event = replica::Event::Committed { request, position: committed.position, mode };
        self.answer_commit(caller, committed, Work::Replica(event));
    }

    pub(super) fn answer_commit(&mut self, to: Caller, committed: super::store::Committed, reply: Work) {
        if committed.shown_later.is_empty() {
            return self.send_to_life(Place::Log, Place::Replica(to.replica), to.life, None, reply);
        }
        let after = *self.random.choice(&[0.1, 0.1, 10.0, 60.0]).unwrap_or(&0.1);
        let work = Work::Shown { entries: committed.shown_later, reply: Box::new(reply), to };
        self.at(self.now + super::network::millis(after), Place::Log, work);
    }

    fn end_asked(&mut self, at: usize, key: usize, repeat: bool) {
        self.checks.begun.insert(key);
        let request = self.request(at, Requester::Ending { key, began: self.now, repeat });
        let Some(process) = self.replicas.get(at) else { return };
        if key % 2 == 1 {
            // The service's own transaction; what it does not hear of within its deadline is not confirmed.
            let caller = Caller { replica: at, life: process.machine.life };
            return self.send(Place::Replica(at), Place::Log, None, Work::RowEnded { caller, request, key });
        }
        let until = process.machine.now(self.now).wall + LONG;
        let mode =
            if !self.scenario.calm && self.random.f64() < 0.05 { Mode::Durable } else { Mode::Everywhere };
        let event = replica::Event::End { request, changes: vec![change_of(key, until)], mode };
        self.replica_event(at, event);
    }

    pub(super) fn raise_request(&mut self, at: usize, raise: usize) -> RequestId {
        self.request(at, Requester::Raise { raise })
    }

    fn ended(&mut self, key: usize, began: Instant, repeat: bool, outcome: Outcome) {
        match outcome {
            // Nothing is promised of what the log has lost since.
            Outcome::Done { everywhere: true, position }
                if self.store.holds(position) && self.store.holds_ending(key) =>
            {
                self.acknowledge(key, began);
            }
            Outcome::Done { .. } => {}
            Outcome::NotConfirmed | Outcome::TooMany => {
                self.counts.not_confirmed += 1;
                if repeat {
                    let replica = self.random.usize(0..REPLICAS);
                    let fault = Fault::End { replica, key };
                    self.at(self.now + 100 * MILLI, Place::World, Work::Fault(fault));
                }
            }
        }
    }

    pub(super) fn guard_event(&mut self, at: usize, event: watcher::Event) {
        let Some(process) = self.guards.get_mut(at) else { return };
        let now = process.machine.now(self.now);
        let actions = process.core.on(event, now);
        let deadline = process.core.deadline();
        let renewed = actions
            .iter()
            .any(|action| matches!(action, watcher::Action::Send { message: FromWatcher::Renew { .. }, .. }));
        for action in actions {
            self.trace(|| format!("guard {at} {action:?}"));
            self.act_for_guard(at, action);
        }
        if renewed && !self.scenario.calm && self.random.f64() < 0.01 {
            self.at(self.now + MILLI, Place::Guard(at), Work::Guard(watcher::Event::GiveUp));
        }
        let Some(process) = self.guards.get_mut(at) else { return };
        let wake = process.machine.when(deadline).max(self.now + 1);
        if process.wake_at.is_none_or(|known| known > wake) {
            process.wake_at = Some(wake);
            self.at(wake, Place::Guard(at), Work::GuardTick);
        }
    }

    fn act_for_guard(&mut self, at: usize, action: watcher::Action) {
        use watcher::Action;
        let place = Place::Guard(at);
        match action {
            Action::Connect { stream } => {
                let replica = self.random.usize(0..REPLICAS);
                let id = self.id();
                let Some(process) = self.guards.get_mut(at) else { return };
                process.connections.insert(stream, id);
                let guard_life = process.machine.life;
                self.connections.insert(id, Connection { guard: at, guard_life, stream, replica });
                let refused = self.replicas.get(replica).is_some_and(|process| !process.machine.alive);
                if refused && self.random.bool() {
                    self.tell_guard_closed(id);
                }
            }
            Action::Send { stream, message } => {
                self.send_to_replica(at, stream, |id| replica::Event::Received { stream: id, message })
            }
            Action::Disconnect { stream } => {
                self.send_to_replica(at, stream, |id| replica::Event::StreamClosed { stream: id });
                if let Some(process) = self.guards.get_mut(at) {
                    process.connections.remove(&stream);
                }
            }
            Action::Applied { entries, position, after_reset } => {
                let entries: Arc<[_]> = entries;
                self.check_positions(at, &entries, position, after_reset);
            }
            Action::ClocksApart(_) => self.violate(format!("{place:?} takes clocks for apart that are not")),
        }
    }

    fn send_to_replica(
        &mut self,
        at: usize,
        stream: StreamId,
        event: impl FnOnce(StreamId) -> replica::Event,
    ) {
        let Some(id) = self.guards.get(at).and_then(|process| process.connections.get(&stream)).copied()
        else {
            return;
        };
        let Some(Connection { replica, .. }) = self.connections.get(&id).copied() else { return };
        let work = Work::Replica(event(StreamId(id)));
        self.send(Place::Guard(at), Place::Replica(replica), Some(Lane::ToReplica(id)), work);
    }

    pub(super) fn tell_guard_closed(&mut self, id: u64) {
        let Some(Connection { guard, guard_life, stream, replica }) = self.connections.get(&id).copied()
        else {
            return;
        };
        let work = Work::Guard(watcher::Event::StreamClosed { stream });
        let lane = Some(Lane::ToGuard(id));
        self.send_to_life(Place::Replica(replica), Place::Guard(guard), guard_life, lane, work);
    }

    /// A new life, which remembers nothing.
    pub(super) fn start_replica(&mut self, at: usize) {
        let life = Life(self.random.u128(..));
        let Some(process) = self.replicas.get_mut(at) else { return };
        process.machine.life += 1;
        process.machine.alive = true;
        process.machine.paused_until = 0;
        // Broken: the id is a name that the next life has too.
        let life = if process.settings.variant.is(Broken::StableReplicaId) { Life(at as u128) } else { life };
        process.core = Replica::new(process.settings.clone(), life, process.machine.now(self.now));
        process.requests.clear();
        process.wake_at = None;
        self.replica_event(at, replica::Event::Started);
    }

    pub(super) fn start_guard(&mut self, at: usize) {
        let id = WatcherId(self.random.u128(..));
        let Some(process) = self.guards.get_mut(at) else { return };
        process.machine.life += 1;
        process.machine.alive = true;
        process.machine.paused_until = 0;
        let now = process.machine.now(self.now);
        process.core = Watcher::new(process.settings.clone(), id, now);
        process.connections.clear();
        process.questions.clear();
        process.waiters.clear();
        process.position = None;
        process.clock_read = now.moment;
        process.wake_at = None;
        self.begin_guard(at);
    }

    fn begin_guard(&mut self, at: usize) {
        if self.is(Broken::CachedClock) {
            self.read_clock(at);
        }
        self.guard_event(at, watcher::Event::Started);
    }

    fn read_clock(&mut self, at: usize) {
        // A starved thread.
        let after = *self.random.choice(&[20, 20, 20, 900]).unwrap_or(&20);
        let Some(process) = self.guards.get_mut(at) else { return };
        process.clock_read = process.machine.now(self.now).moment;
        self.at(self.now + after * MILLI, Place::Guard(at), Work::ClockRead);
    }
}
