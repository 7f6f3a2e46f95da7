//! The driver around a guard's core, and the guard's end of its connections.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use fastrand::Rng;

use super::{
    machine::{Instant, Machine},
    network::{Lane, MILLI, Place},
    scenario::Scenario,
    traffic::Waiter,
    world::{Connection, REPLICAS, Work, World},
};
use crate::{
    broken::{Broken, Variant},
    change::Position,
    message::{FromWatcher, StreamId, WatcherId},
    replica,
    time::{Moment, Wall},
    watcher::{self, FlightId, Watcher},
};

pub(super) struct GuardProcess {
    pub(super) machine: Machine,
    /// What it fetches says how far the log was then.
    pub(super) core: Watcher<u64>,
    settings: watcher::Settings,
    pub(super) connections: BTreeMap<StreamId, u64>,
    pub(super) questions: HashMap<u64, (usize, Instant)>,
    pub(super) waiters: HashMap<FlightId, Vec<Waiter>>,
    /// At the last event: how far the time that decides expiry was ahead of its wall clock, and what it was.
    judged: (Duration, Wall),
    /// What it was at the latest, in this life: only the judge asks.
    pub(super) latest_judged: Wall,
    /// The last position that was applied, for invariant 3.
    pub(super) position: Option<Position>,
    /// The numbers of the entries that were applied since, on the present stream.
    pub(super) applied: Vec<u64>,
    /// What a guard that reads its clock now and then takes for the present.
    pub(super) clock_read: Moment,
    wake_at: Option<Instant>,
}

impl GuardProcess {
    pub(super) fn new(scenario: &Scenario, variant: Variant, random: &mut Rng) -> Self {
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
            judged: (Duration::ZERO, now.wall),
            latest_judged: now.wall,
            position: None,
            applied: Vec::new(),
            clock_read: now.moment,
            wake_at: None,
        }
    }

    pub(super) fn judging_time(&self, wall: Wall) -> Wall {
        let (ahead, judged) = self.judged;
        (wall + ahead).max(judged)
    }
}

impl World {
    pub(super) fn at_guard(&mut self, at: usize, work: Work) {
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
            Work::Roles(step) => self.roles_at_guard(at, step),
            Work::Filled { flight, fill } => self.filled(at, flight, fill),
            _ => {}
        }
    }

    pub(super) fn guard_event(&mut self, at: usize, event: watcher::Event) {
        let Some(process) = self.guards.get_mut(at) else { return };
        let now = process.machine.now(self.now);
        let actions = process.core.on(event, now);
        let judged = process.core.judging_time(now);
        process.judged = (judged.apart(now.wall), judged);
        process.latest_judged = process.latest_judged.max(judged);
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
                process.applied.clear();
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
            Action::Applied { entries } => {
                if let Some(process) = self.guards.get_mut(at) {
                    process.applied.extend(entries.iter().map(|entry| entry.position.number));
                }
            }
            Action::CaughtUp { position, after_reset } => self.check_positions(at, position, after_reset),
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
        process.judged = (Duration::ZERO, now.wall);
        process.latest_judged = now.wall;
        process.position = None;
        process.applied.clear();
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
