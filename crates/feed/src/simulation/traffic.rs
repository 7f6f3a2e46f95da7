//! Requests at the guards, the way a gateway makes them: lease first, then the memory, then what is cached or fetched;
//! without a lease, ask.

use super::{
    checks::Said,
    machine::Instant,
    network::{MILLI, Place, millis},
    scenario::{KEYS, name_of, what_of},
    taking_back::principal,
    world::{GUARDS, REPLICAS, Work, World},
};
use crate::{
    broken::Broken,
    change::{Target, What},
    credential::{Credential, Stamp, Verdict},
    replica::{Answer, Fill},
    watcher::{Fetch, Fetched, FlightId, Permit},
};

const PROBES: [f64; 11] = [0.01, 0.5, 3.0, 20.0, 60.0, 150.0, 400.0, 900.0, 1500.0, 2100.0, 3500.0];

/// A request between two of its steps: another thread may run there.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) key: usize,
    pub(super) began: Instant,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Look(Permit),
    /// Only a broken guard looks before it has a lease.
    Looked(Verdict),
}

/// Whoever waits for a fetch.
pub(super) struct Waiter {
    key: usize,
    began: Instant,
    permit: Permit,
}

impl World {
    pub(super) fn probe(&mut self, key: usize) {
        for guard in 0..GUARDS {
            for after in PROBES {
                self.request_at(self.now + millis(after), guard, key);
            }
        }
    }

    pub(super) fn requested(&mut self, guard: usize, key: usize) {
        let began = self.now;
        let gap = match self.random.u32(0..100) {
            0..50 => 0,
            50..74 => MILLI / 20,
            74..98 => MILLI,
            // A starved thread.
            _ => self.random.u64(0..600 * MILLI),
        };
        let credential = self.credential(key);
        let cached_clock = self.is(Broken::CachedClock);
        let lookup_first = self.is(Broken::LookupBeforeLease);
        if self.has_expired(guard, key) {
            return;
        }
        let Some(process) = self.guards.get(guard) else { return };
        let now = if cached_clock { process.clock_read } else { process.machine.now(self.now).moment };
        let step = if lookup_first {
            Step::Looked(process.core.endings().judge(&credential))
        } else {
            match process.core.permit(now) {
                Some(permit) => Step::Look(permit),
                None => return self.ask(guard, key, began),
            }
        };
        let request = Request { key, began, step };
        if gap == 0 {
            self.look(guard, request)
        } else {
            self.at(self.now + gap, Place::Guard(guard), Work::Looked(request))
        }
    }

    pub(super) fn look(&mut self, guard: usize, Request { key, began, step }: Request) {
        let credential = self.credential(key);
        let Some(process) = self.guards.get(guard) else { return };
        let (permit, verdict) = match step {
            Step::Look(permit) => {
                let verdict = process.core.judge(&permit, &credential);
                (permit, verdict)
            }
            Step::Looked(verdict) => match process.core.permit(process.machine.now(self.now).moment) {
                Some(permit) => (permit, verdict),
                None => return self.ask(guard, key, began),
            },
        };
        match verdict {
            Verdict::Live if is_session(key) => {}
            Verdict::Live => return self.say(guard, key, began, self.allowed(key)),
            Verdict::RolesOutdated { .. } => {}
            // It has expired meanwhile: that it ended is not said.
            Verdict::Forgotten => return self.say(guard, key, began, Said::Unavailable),
            Verdict::Ended(_) => return self.say(guard, key, began, Said::Denied),
        }
        self.fetch(guard, Waiter { key, began, permit });
    }

    fn fetch(&mut self, guard: usize, waiter: Waiter) {
        let target = self.fetched_for(waiter.key);
        let timeout = self.now + 1500 * MILLI;
        let Some(process) = self.guards.get_mut(guard) else { return };
        match process.core.fetch(&waiter.permit, &target) {
            Fetch::Cached(roles) => self.say(guard, waiter.key, waiter.began, Said::Allowed { roles }),
            Fetch::Join { flight } => process.waiters.entry(flight).or_default().push(waiter),
            Fetch::Begin { flight, at_least } => {
                process.waiters.insert(flight, vec![waiter]);
                let life = process.machine.life;
                let replica = self.random.usize(0..REPLICAS);
                let work = Work::FillAsked { guard, life, flight, target, at_least };
                self.send(Place::Guard(guard), Place::Replica(replica), None, work);
                self.at(timeout, Place::Guard(guard), Work::Filled { flight, fill: Fill::Unavailable });
            }
        }
    }

    pub(super) fn filled(&mut self, guard: usize, flight: FlightId, fill: Fill) {
        let Some(process) = self.guards.get_mut(guard) else { return };
        // A reply after the deadline is nobody's.
        let Some(waiters) = process.waiters.remove(&flight) else { return };
        let number = if let Fill::Body { number } = fill { Some(number) } else { None };
        let fetched = process.core.fetched(flight, number);
        for Waiter { key, began, permit } in waiters {
            let said = match (fetched, fill) {
                (Fetched::Discard, _) | (_, Fill::Unavailable) => Said::Unavailable,
                (Fetched::Use, Fill::Ended) => Said::Denied,
                (Fetched::Use, Fill::Body { number }) => self.look_again(guard, key, &permit, number),
            };
            self.say(guard, key, began, said);
        }
    }

    /// After a wait the first look is worth nothing any more.
    fn look_again(&self, guard: usize, key: usize, permit: &Permit, roles: u64) -> Said {
        let Some(process) = self.guards.get(guard) else { return Said::Unavailable };
        let now = process.machine.now(self.now).moment;
        if !permit.is_spent(now) {
            return Said::Allowed { roles };
        }
        let Some(permit) = process.core.permit(now) else { return Said::Unavailable };
        match process.core.judge(&permit, &self.credential(key)) {
            Verdict::Live | Verdict::RolesOutdated { .. } => Said::Allowed { roles },
            Verdict::Forgotten => Said::Unavailable,
            Verdict::Ended(_) => Said::Denied,
        }
    }

    fn ask(&mut self, guard: usize, key: usize, began: Instant) {
        self.counts.asked += 1;
        let question = self.id();
        let credential = self.credential(key);
        let replica = self.random.usize(0..REPLICAS);
        let timeout = self.now + 250 * MILLI;
        let Some(process) = self.guards.get_mut(guard) else { return };
        process.questions.insert(question, (key, began));
        let life = process.machine.life;
        let work = Work::Asked { guard, life, question, credential };
        self.send(Place::Guard(guard), Place::Replica(replica), None, work);
        self.at(timeout, Place::Guard(guard), Work::Answered { question, answer: Answer::Unavailable });
    }

    pub(super) fn answered(&mut self, guard: usize, question: u64, answer: Answer) {
        let Some(process) = self.guards.get_mut(guard) else { return };
        let Some((key, began)) = process.questions.remove(&question) else { return };
        let said = match answer {
            Answer::Unavailable | Answer::Verdict(Verdict::Forgotten) => Said::Unavailable,
            // The replica has judged the roles as well. Where they come by a feed of their own, they are asked for.
            Answer::Verdict(Verdict::Live) if key >= KEYS && self.random.bool() => {
                return self.ask_for_roles(guard, key, began);
            }
            Answer::Verdict(Verdict::Live) => self.allowed(key),
            Answer::Verdict(Verdict::RolesOutdated { .. }) => return self.ask_for_roles(guard, key, began),
            Answer::Verdict(Verdict::Ended(_)) => Said::Denied,
        };
        self.say(guard, key, began, said);
    }

    /// With the roles that it carries, if it carries any.
    pub(super) fn allowed(&self, key: usize) -> Said {
        Said::Allowed { roles: self.issued(key).map_or(0, |(token, _)| token.roles.at) }
    }

    /// A session's body, or the roles of whom a token is about.
    fn fetched_for(&self, key: usize) -> Target {
        match self.issued(key) {
            Some((_, family)) => principal(family.subject),
            None => Target::new(What::Session, name_of(key)),
        }
    }

    fn credential(&self, key: usize) -> Credential {
        if key >= KEYS {
            return self.issued_credential(key);
        }
        let id = Some(name_of(key).into());
        let mut credential = Credential::default();
        match what_of(key) {
            What::Token => credential.token = id,
            What::Family => credential.family = id,
            What::Key => credential.key = id,
            What::Subject => credential.subject = id.map(|id| Stamp { id, generation: 1 }),
            _ => credential.session = id,
        }
        credential
    }
}

fn is_session(key: usize) -> bool {
    key < KEYS && what_of(key) == What::Session
}
