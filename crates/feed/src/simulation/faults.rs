//! What goes wrong, at random and on purpose, and what clients do meanwhile.

use std::time::Duration;

use super::{
    issuing::Step,
    machine::Instant,
    network::{MILLI, Place},
    scenario::{KEYS, change_of},
    world::{GUARDS, REPLICAS, Work, World},
};
use crate::{
    broken::Broken,
    change::{Change, Target, What},
    replica, watcher,
};

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Pause(Place, Instant),
    Cut {
        one: Place,
        other: Place,
        both: bool,
        lasts: Instant,
    },
    /// One guard reaches no replica.
    CutOff {
        guard: usize,
        lasts: Instant,
    },
    Crash(Place, Instant),
    /// The end of a crash.
    Start(Place),
    /// SIGTERM, and a new life after the hand-over.
    Drain(usize),
    /// Another length of leases: each replica has it from its next life on, and they are drained in turn.
    RollOut {
        lease: Duration,
    },
    /// The network.
    Slow(f64),
    /// One process: everything waits for what it does before.
    Overload {
        place: Place,
        each: Instant,
        lasts: Instant,
    },
    /// A connection breaks; each side notices in its own time.
    BreakConnections(usize),
    /// The log's replies to one replica are late, then nobody but its guards can reach it.
    LateReplyThenIsolation {
        replica: usize,
        late: Instant,
    },
    Isolate {
        replica: usize,
    },
    /// A replica comes up around an ending.
    StartAround {
        replica: usize,
        ending: Instant,
    },
    /// A replica drains. While it starts again, and takes the guards over, the append of an ending is late.
    SlowAppend {
        newcomer: usize,
    },
    MoveGuards,
    /// A standby takes the primary's place.
    Promote,
    LoseTail,
    LoseMembers,
    AppendShortLived,
    Trim,
    /// A guard's wall clock is set, and a request that was refused before follows.
    SetClock {
        guard: usize,
        key: usize,
    },
    /// Not faults: what clients do.
    End {
        replica: usize,
        key: usize,
    },
    Request {
        guard: usize,
        key: usize,
    },
    Issue {
        replica: usize,
        step: Step,
    },
}

impl World {
    pub(super) fn draw_fault(&mut self) -> Fault {
        let lasts = *self.random.choice(&[60, 300, 1200, 1900, 2600, 5000]).unwrap_or(&60) * MILLI;
        let process = self.any_process();
        let replica = self.random.usize(0..REPLICAS);
        match self.random.f64() {
            kind if kind < 0.30 => Fault::Pause(process, lasts),
            kind if kind < 0.34 => Fault::CutOff { guard: self.random.usize(0..GUARDS), lasts },
            kind if kind < 0.62 => {
                let from = match self.random.usize(0..=REPLICAS) {
                    0 => Place::Log,
                    at => Place::Replica(at - 1),
                };
                let to = self.any_process();
                let (one, other) = if self.random.bool() { (from, to) } else { (to, from) };
                Fault::Cut { one, other, both: self.random.bool(), lasts }
            }
            kind if kind < 0.77 => {
                Fault::Crash(process, *self.random.choice(&[30, 400, 2500]).unwrap_or(&30) * MILLI)
            }
            kind if kind < 0.80 => Fault::Drain(replica),
            kind if kind < 0.84 => Fault::BreakConnections(self.random.usize(0..GUARDS)),
            kind if kind < 0.87 => {
                Fault::Pause(Place::Log, *self.random.choice(&[50, 400, 2500]).unwrap_or(&50) * MILLI)
            }
            kind if kind < 0.89 => Fault::Slow(*self.random.choice(&[0.3, 1.0, 8.0]).unwrap_or(&1.0)),
            kind if kind < 0.92 => {
                let each = *self.random.choice(&[5, 40, 150]).unwrap_or(&5) * MILLI;
                Fault::Overload { place: process, each, lasts }
            }
            _ => Fault::LateReplyThenIsolation {
                replica,
                late: *self.random.choice(&[50, 200, 450]).unwrap_or(&50) * MILLI,
            },
        }
    }

    fn any_process(&mut self) -> Place {
        match self.random.usize(0..REPLICAS + GUARDS) {
            at if at < REPLICAS => Place::Replica(at),
            at => Place::Guard(at - REPLICAS),
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Pause(place, lasts) => self.pause(place, lasts),
            Fault::Cut { one, other, both, lasts } => self.cut(one, other, both, lasts),
            Fault::CutOff { guard, lasts } => {
                for replica in 0..REPLICAS {
                    self.cut(Place::Guard(guard), Place::Replica(replica), true, lasts);
                }
            }
            Fault::Crash(place, lasts) => self.crash(place, lasts),
            Fault::Start(Place::Replica(at)) => self.start_replica(at),
            Fault::Start(Place::Guard(at)) => self.start_guard(at),
            Fault::Start(_) => {}
            Fault::Drain(replica) => self.drain(replica),
            Fault::RollOut { lease } => self.roll_out(lease),
            Fault::Slow(slowness) => self.network.slowness = slowness,
            Fault::Overload { place, each, lasts } => {
                let until = self.now + lasts;
                if let Some(machine) = self.machine_mut(place) {
                    machine.slow = (until, each);
                }
            }
            Fault::BreakConnections(guard) => self.break_connections(guard),
            Fault::LateReplyThenIsolation { replica, late } => self.late_reply_then_isolation(replica, late),
            Fault::Isolate { replica } => {
                self.cut(Place::Log, Place::Replica(replica), true, 4000 * MILLI);
            }
            Fault::StartAround { replica, ending } => {
                let up = ending + self.random.u64(0..10 * MILLI);
                let up = up.saturating_sub(5 * MILLI).max(self.now + 1);
                self.crash(Place::Replica(replica), up - self.now);
            }
            Fault::SlowAppend { newcomer } => {
                self.newcomers.insert(newcomer);
                self.drain(newcomer);
            }
            Fault::MoveGuards => {
                for guard in 0..GUARDS {
                    self.at(self.now, Place::Guard(guard), Work::Guard(watcher::Event::GiveUp));
                }
            }
            Fault::Promote => self.store.promote(self.now, &mut self.random),
            Fault::LoseTail => self.lose_tail(),
            Fault::LoseMembers => self.store.rows.ledger.lose_members(),
            Fault::AppendShortLived => {
                let until = self.log.now(self.now).wall + Duration::from_secs(1);
                let target = Target::new(What::Token, format!("short{}", self.now));
                let change = Change { target, min: None, except: None, until };
                self.store.append_one(change, self.now, &mut self.random);
            }
            Fault::Trim => {
                let wall = self.log.now(self.now).wall;
                self.store.trim(wall, self.now);
            }
            Fault::End { replica, key } => {
                let repeat = self.random.bool();
                self.at(self.now, Place::Replica(replica), Work::EndAsked { key, repeat });
            }
            Fault::Request { guard, key } => self.at(self.now, Place::Guard(guard), Work::Requested(key)),
            Fault::SetClock { guard, key } => {
                if let Some(process) = self.guards.get_mut(guard) {
                    process.machine.set_wall_clock(&mut self.random);
                }
                self.request_at(self.now + MILLI, guard, key);
            }
            Fault::Issue { replica, step } => self.at(self.now, Place::Replica(replica), Work::Issue(step)),
        }
        if self.is(Broken::MembersLost)
            && matches!(fault, Fault::Pause(..) | Fault::Cut { .. } | Fault::Crash(..))
            && self.random.f64() < 0.3
        {
            self.fault(Fault::LoseMembers);
        }
    }

    fn pause(&mut self, place: Place, lasts: Instant) {
        let stops_clock = self.is(Broken::EnvFrozenClock) && matches!(place, Place::Guard(_));
        let until = self.now + lasts;
        if let Some(machine) = self.machine_mut(place) {
            machine.paused_until = machine.paused_until.max(until);
            if stops_clock {
                machine.frozen += lasts;
            }
        }
    }

    fn cut(&mut self, one: Place, other: Place, both: bool, lasts: Instant) {
        self.network.cut(one, other, self.now + lasts);
        if both {
            self.network.cut(other, one, self.now + lasts);
        }
    }

    fn crash(&mut self, place: Place, lasts: Instant) {
        if let Some(machine) = self.machine_mut(place) {
            machine.alive = false;
            machine.life += 1;
            self.at(self.now + lasts, Place::World, Work::Fault(Fault::Start(place)));
        }
    }

    fn drain(&mut self, replica: usize) {
        self.at(self.now, Place::Replica(replica), Work::Replica(replica::Event::Terminate));
    }

    /// One that crashes before its turn comes back with the new settings all the same.
    fn roll_out(&mut self, lease: Duration) {
        let mut turn = self.now;
        self.replicas.iter_mut().for_each(|process| process.configure(lease));
        for replica in 0..REPLICAS {
            self.at(turn, Place::World, Work::Fault(Fault::Drain(replica)));
            turn += self.random.u64(100..3_000) * MILLI;
        }
    }

    /// It has handed over, and nobody waits for it any more.
    pub(super) fn drained(&mut self, replica: usize) {
        let starts = 30 * MILLI;
        self.crash(Place::Replica(replica), starts);
        if self.newcomers.remove(&replica) {
            let ending = self.now + starts - self.random.u64(4 * MILLI..6 * MILLI);
            self.slow_append(ending, replica);
        }
    }

    fn break_connections(&mut self, guard: usize) {
        let ids: Vec<u64> = self
            .guards
            .get(guard)
            .map(|process| process.connections.values().copied().collect())
            .unwrap_or_default();
        for id in ids {
            let Some(connection) = self.connections.get(&id).copied() else { continue };
            self.tell_guard_closed(id);
            let closed = replica::Event::StreamClosed { stream: crate::message::StreamId(id) };
            self.send(Place::Guard(guard), Place::Replica(connection.replica), None, Work::Replica(closed));
        }
    }

    fn late_reply_then_isolation(&mut self, replica: usize, late: Instant) {
        self.cut(Place::Log, Place::Replica(replica), false, late);
        for other in (0..REPLICAS).filter(|other| *other != replica) {
            self.cut(Place::Replica(other), Place::Replica(replica), true, late + 4000 * MILLI);
        }
        let after = *self.random.choice(&[5, 60]).unwrap_or(&5) * MILLI;
        self.at(self.now + late + after, Place::World, Work::Fault(Fault::Isolate { replica }));
    }

    /// The ender has read what it reads first, and its append is held up; the newcomer comes up, and guards come to it.
    fn slow_append(&mut self, ending: Instant, newcomer: usize) {
        let ender = (newcomer + 1) % REPLICAS;
        let held = self.random.u64(300..480) * MILLI;
        let at = ending + self.random.u64(MILLI / 2..4 * MILLI);
        let cut = Fault::Cut { one: Place::Replica(ender), other: Place::Log, both: false, lasts: held };
        self.at(at, Place::World, Work::Fault(cut));
        let moves = ending + self.random.u64(10..40) * MILLI;
        self.at(moves, Place::World, Work::Fault(Fault::MoveGuards));
        // Once it serves them it is alone with them.
        let isolation = Fault::LateReplyThenIsolation { replica: newcomer, late: MILLI };
        self.at(at + held.saturating_sub(20 * MILLI), Place::World, Work::Fault(isolation));
        let live: Vec<usize> = (0..KEYS).step_by(2).filter(|key| !self.checks.begun.contains(key)).collect();
        let Some(key) = self.random.choice(&live).copied() else { return };
        self.at(ending, Place::World, Work::Fault(Fault::End { replica: ender, key }));
    }

    /// And fills it again at once, so that only tags tell the two histories apart.
    fn lose_tail(&mut self) {
        let count = self.random.usize(1..4);
        let lost = self.store.lose_tail(count, self.now);
        for key in 0..KEYS {
            if lost.iter().any(|entry| entry.change.target == change_of(key, entry.change.until).target) {
                self.excuse(key);
                self.store.rows.ended.remove(&key);
            }
        }
        for _ in 0..self.random.usize(1..4) {
            let replica = self.random.usize(0..REPLICAS);
            let key = self.random.usize(0..KEYS);
            let at = self.now + self.random.u64(0..150 * MILLI);
            self.at(at, Place::World, Work::Fault(Fault::End { replica, key }));
        }
        for _ in 0..self.random.usize(0..4) {
            let at = self.now + self.random.u64(0..300 * MILLI);
            self.at(at, Place::World, Work::Fault(Fault::AppendShortLived));
        }
    }
}
