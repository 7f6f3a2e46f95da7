//! The queue of what will happen, and everybody to whom it happens.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::{
    Counts, Report,
    checks::{Checks, ms},
    faults::Fault,
    guards::GuardProcess,
    issuing::Issuing,
    machine::{Instant, Machine},
    network::{Lane, MILLI, Network, Place},
    queue::Queue,
    replicas::ReplicaProcess,
    scenario::Scenario,
    store::Store,
    traffic::Request,
};
use crate::{
    broken::{Broken, Variant},
    change::{Entry, Position, Tail, Target},
    credential::Credential,
    log::LogCall,
    member::MemberId,
    message::StreamId,
    replica::{self, Answer, CallId, Fill, RequestId},
    watcher::{self, FlightId},
};

pub(super) const GUARDS: usize = 3;
pub(super) const REPLICAS: usize = 3;
const END: Instant = 19_000 * MILLI;

pub(super) struct World {
    pub(super) random: Rng,
    pub(super) broken: Option<Broken>,
    pub(super) scenario: Scenario,
    pub(super) now: Instant,
    queue: Queue<Scheduled>,
    pub(super) log: Machine,
    pub(super) store: Store,
    pub(super) replicas: Vec<ReplicaProcess>,
    pub(super) guards: Vec<GuardProcess>,
    pub(super) network: Network,
    pub(super) connections: BTreeMap<u64, Connection>,
    /// Replicas that drain and are to come back beside a slow append.
    pub(super) newcomers: BTreeSet<usize>,
    /// Ids that the drivers give to connections, requests and questions.
    ids: u64,
    pub(super) checks: Checks,
    pub(super) issuing: Issuing,
    pub(super) counts: Counts,
    /// What happened, if anybody wants to read it.
    trace: Option<Vec<String>>,
}

/// A watch stream between a guard's life and whichever life of the replica hears its Hello.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) guard: usize,
    pub(super) guard_life: u32,
    pub(super) stream: StreamId,
    pub(super) replica: usize,
}

/// A life of a replica that called somebody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) replica: usize,
    pub(super) life: u32,
}

/// Something that happens at a place.
#[derive(Debug)]
pub(super) enum Work {
    LogCalled {
        caller: Caller,
        call: CallId,
        log_call: LogCall,
    },
    /// An ending within the service's own transaction.
    RowEnded {
        caller: Caller,
        request: RequestId,
        key: usize,
    },
    Shown {
        entries: Vec<Entry>,
        reply: Box<Work>,
        to: Caller,
    },
    Replica(replica::Event),
    ReplicaTick,
    ConfirmAsked {
        caller: Caller,
        call: CallId,
        member: MemberId,
        position: Position,
        tail: Tail,
    },
    Asked {
        guard: usize,
        life: u32,
        question: u64,
        credential: Credential,
    },
    FillAsked {
        guard: usize,
        life: u32,
        flight: FlightId,
        target: Target,
        at_least: Position,
    },
    EndAsked {
        key: usize,
        repeat: bool,
    },
    Guard(watcher::Event),
    GuardTick,
    /// Only a broken guard takes the time it read then for the present.
    ClockRead,
    Answered {
        question: u64,
        answer: Answer,
    },
    Filled {
        flight: FlightId,
        fill: Fill,
    },
    Requested(usize),
    Looked(Request),
    Issue(super::issuing::Step),
    Roles(super::roles::Step),
    Fault(Fault),
}

struct Scheduled {
    place: Place,
    life: u32,
    work: Work,
}

impl World {
    pub(super) fn new(seed: u64, broken: Option<Broken>) -> Self {
        let mut random = Rng::with_seed(seed);
        let scenario = Scenario::draw(seed, broken, &mut random);
        let variant = broken.map_or_else(Variant::default, Variant::broken);
        let log = Machine::new(&mut random);
        let replicas =
            (0..REPLICAS).map(|at| ReplicaProcess::new(at, &scenario, variant, &mut random)).collect();
        let guards = (0..GUARDS).map(|_| GuardProcess::new(&scenario, variant, &mut random)).collect();
        let mut world = Self {
            random,
            broken,
            now: 0,
            queue: Queue::default(),
            log,
            store: Store::new(broken),
            replicas,
            guards,
            network: Network::new(scenario.calm),
            connections: BTreeMap::new(),
            newcomers: BTreeSet::new(),
            ids: 0,
            checks: Checks::default(),
            issuing: Issuing::default(),
            counts: Counts::default(),
            trace: None,
            scenario,
        };
        world.set_up();
        world
    }

    pub(super) fn run(&mut self) {
        while let Some(next) = self.queue.next()
            && next.at <= END
            && self.checks.violation.is_none()
        {
            self.now = self.now.max(next.at);
            let Some((place, life)) = self.queue.peek(next).map(|event| (event.place, event.life)) else {
                return;
            };
            if let Some(machine) = self.machine(place) {
                if machine.life != life || !machine.alive {
                    self.queue.take(next);
                    continue;
                }
                if machine.paused_until > self.now {
                    let until = machine.paused_until;
                    self.queue.put_off(next, until);
                    continue;
                }
            }
            let Some(Scheduled { place, work, .. }) = self.queue.take(next) else { return };
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{} {place:?} {work:?}", ms(self.now)));
            }
            self.happen(place, work);
            let now = self.now;
            if let Some(machine) = self.machine_mut(place) {
                machine.worked(now);
            }
        }
    }

    pub(super) fn keep_trace(&mut self) {
        self.trace = Some(vec![format!("{:?}", self.scenario)]);
    }

    pub(super) fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("    {}", line()));
        }
    }

    pub(super) fn report(self) -> Report {
        Report {
            violation: self.checks.violation,
            counts: self.counts,
            acknowledged_after: self.checks.acknowledged_after,
            trace: self.trace.unwrap_or_default(),
        }
    }

    pub(super) fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    pub(super) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub(super) fn machine(&self, place: Place) -> Option<&Machine> {
        match place {
            Place::World => None,
            Place::Log => Some(&self.log),
            Place::Replica(at) => self.replicas.get(at).map(|process| &process.machine),
            Place::Guard(at) => self.guards.get(at).map(|process| &process.machine),
        }
    }

    pub(super) fn machine_mut(&mut self, place: Place) -> Option<&mut Machine> {
        match place {
            Place::World => None,
            Place::Log => Some(&mut self.log),
            Place::Replica(at) => self.replicas.get_mut(at).map(|process| &mut process.machine),
            Place::Guard(at) => self.guards.get_mut(at).map(|process| &mut process.machine),
        }
    }

    pub(super) fn at(&mut self, at: Instant, place: Place, work: Work) {
        let life = self.machine(place).map_or(0, |machine| machine.life);
        self.at_life(at, place, life, work);
    }

    pub(super) fn at_life(&mut self, at: Instant, place: Place, life: u32, work: Work) {
        self.queue.push(at.max(self.now), Scheduled { place, life, work });
    }

    /// A message that may be lost, and that only the present life of the receiver can hear.
    pub(super) fn send(&mut self, from: Place, to: Place, lane: Option<Lane>, work: Work) {
        let life = self.machine(to).map_or(0, |machine| machine.life);
        self.send_to_life(from, to, life, lane, work);
    }

    pub(super) fn send_to_life(&mut self, from: Place, to: Place, life: u32, lane: Option<Lane>, work: Work) {
        if let Some(at) = self.network.arrival(from, to, lane, self.now, &mut self.random) {
            self.at_life(at, to, life, work);
        }
    }
}
