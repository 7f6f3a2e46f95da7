//! The driver around a replica's core: it carries out actions, numbers requests, gives up on answers, and wakes the core.

use std::{collections::HashMap, time::Duration};

use fastrand::Rng;

use super::{
    driving::LONG,
    faults::Fault,
    machine::{Instant, Machine},
    network::{Lane, MILLI, Place},
    scenario::{Scenario, change_of},
    world::{Caller, Connection, REPLICAS, Work, World},
};
use crate::{
    broken::{Broken, Variant},
    log::{Beat, LogReply, Read},
    member::Life,
    message::{StreamId, ToWatcher},
    replica::{self, CallId, Mode, Outcome, Replica, RequestId},
    watcher::{self, FlightId},
};

const CONFIRM_TIMEOUT: Instant = 1000 * MILLI;

pub(super) struct ReplicaProcess {
    pub(super) machine: Machine,
    pub(super) core: Replica,
    settings: replica::Settings,
    requests: HashMap<RequestId, Requester>,
    wake_at: Option<Instant>,
    /// What a connection is still taking.
    telling: Option<replica::Everything>,
}

/// Who made a request to a replica.
#[derive(Clone, Copy)]
enum Requester {
    Peer { caller: Caller, call: CallId },
    Question { guard: usize, life: u32, question: u64 },
    Flight { guard: usize, life: u32, flight: FlightId },
    Ending { key: usize, began: Instant, repeat: bool },
    Taking { at: usize },
}

impl ReplicaProcess {
    pub(super) fn new(at: usize, scenario: &Scenario, variant: Variant, random: &mut Rng) -> Self {
        let machine = Machine::new(random);
        let lease = scenario.leases.get(at).copied().unwrap_or_default();
        let settings = replica::Settings { lease, address: at.to_string(), variant };
        let core = Replica::new(settings.clone(), Life(random.u128(..)), machine.now(0));
        Self { machine, core, settings, requests: HashMap::new(), wake_at: None, telling: None }
    }

    /// From its next life on: the present one has read its settings.
    pub(super) fn configure(&mut self, lease: Duration) {
        self.settings.lease = lease;
    }
}

impl World {
    pub(super) fn at_replica(&mut self, at: usize, work: Work) {
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
            Work::ConfirmAsked { caller, call, member, position, tail } => {
                let request = self.request(at, Requester::Peer { caller, call });
                self.replica_event(at, replica::Event::ConfirmAsked { request, member, position, tail });
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
            Work::Roles(step) => self.roles_at_replica(at, step),
            _ => {}
        }
    }

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
                reply: LogReply::Beat(Beat::Diverged) | LogReply::Read(Read::Diverged),
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
            Action::Send { stream, message } => self.tell_guard(at, stream, message),
            Action::SendEverything { stream, everything } => {
                // Some connections take long to take it: whoever comes meanwhile is told the same.
                process.telling = (stream.0 % 2 == 0).then(|| everything.clone());
                for message in everything {
                    self.tell_guard(at, stream, message);
                }
            }
            Action::Close { stream: StreamId(id) } => self.tell_guard_closed(id),
            Action::Note { .. } => {}
            Action::Confirm { call, member, position, tail } => {
                let peer = member.address.parse().unwrap_or(REPLICAS);
                let work = Work::ConfirmAsked { caller, call, member: member.id, position, tail };
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
                Some(Requester::Taking { at }) => self.taken_back(at, outcome),
                _ => {}
            },
            Action::Stopped => self.drained(at),
        }
    }

    fn tell_guard(&mut self, at: usize, stream: StreamId, message: ToWatcher) {
        let StreamId(id) = stream;
        let Some(Connection { guard, guard_life, stream, .. }) = self.connections.get(&id).copied() else {
            return;
        };
        if message == ToWatcher::Reset {
            self.counts.resets += 1;
        }
        let overtakes = self.is(Broken::GrantOvertakesChanges) && matches!(message, ToWatcher::Grant { .. });
        let lane = (!overtakes).then_some(Lane::ToGuard(id));
        let work = Work::Guard(watcher::Event::Received { stream, message });
        self.send_to_life(Place::Replica(at), Place::Guard(guard), guard_life, lane, work);
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

    pub(super) fn taking_request(&mut self, replica: usize, at: usize) -> RequestId {
        self.request(replica, Requester::Taking { at })
    }

    fn ended(&mut self, key: usize, began: Instant, repeat: bool, outcome: Outcome) {
        match outcome {
            // Nothing is promised of what the log has lost since, in histories in which it loses something.
            Outcome::Done { everywhere: true, position }
                if !self.scenario.loses_tail
                    || (self.store.holds(position) && self.store.holds_ending(key)) =>
            {
                self.acknowledge(key, began);
            }
            Outcome::Done { .. } => {}
            Outcome::NotConfirmed | Outcome::Refused => {
                self.counts.not_confirmed += 1;
                if repeat {
                    let replica = self.random.usize(0..REPLICAS);
                    let fault = Fault::End { replica, key };
                    self.at(self.now + 100 * MILLI, Place::World, Work::Fault(fault));
                }
            }
        }
    }

    pub(super) fn start_replica(&mut self, at: usize) {
        self.newcomers.remove(&at);
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
        process.telling = None;
        self.replica_event(at, replica::Event::Started);
    }
}
