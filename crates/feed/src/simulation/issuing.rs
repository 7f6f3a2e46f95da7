//! Issuing while generations are raised: rules I1 and I2 under pauses, late signatures and clocks that differ.

use std::time::Duration;

use super::{
    checks::ms,
    machine::{Instant, WALL_SPREAD_MILLIS},
    network::{MILLI, Place},
    scenario::KEYS,
    world::{Caller, GUARDS, Work, World},
};
use crate::{
    broken::Broken,
    change::{Change, Target, What},
    credential::{Credential, Stamp},
    issuer::{Bounds, Issue},
    replica::{self, Mode, Outcome},
    time::Wall,
};

const LIFE: Duration = Duration::from_millis(1000);
/// Small, so that within one history entries leave the memory.
const BOUNDS: Bounds =
    Bounds { leeway: Duration::ZERO, clocks_apart: Duration::from_millis(2 * WALL_SPREAD_MILLIS) };

#[derive(Debug, Default)]
pub(super) struct Issuing {
    tokens: Vec<Token>,
    raises: Vec<Raise>,
}

#[derive(Debug)]
struct Token {
    subject: usize,
    generation: u64,
    /// The read of the row that let it be issued, in the order of the log's operations: several may be done at one
    /// instant.
    authorised: u64,
    expires_at: Wall,
}

#[derive(Debug)]
struct Raise {
    subject: usize,
    committed: Option<u64>,
    acknowledged: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// At a replica.
    Begin {
        subject: usize,
    },
    /// At the log: the read that authorises, and with it the generation.
    Read {
        caller: Caller,
        subject: usize,
        issue: Issue,
    },
    /// Only a broken issuer reads the generation by itself.
    ReadGeneration {
        caller: Caller,
        subject: usize,
        issue: Issue,
        authorised: u64,
    },
    /// At the replica again.
    Authorised {
        subject: usize,
        issue: Issue,
        authorised: u64,
        generation: Option<u64>,
    },
    Sign {
        subject: usize,
        issue: Issue,
        authorised: u64,
        generation: u64,
    },
    Raise {
        subject: usize,
    },
    Commit {
        caller: Caller,
        raise: usize,
        request: replica::RequestId,
    },
}

impl World {
    pub(super) fn issue_at_replica(&mut self, at: usize, step: Step) {
        let place = Place::Replica(at);
        let Some(process) = self.replicas.get(at) else { return };
        let caller = Caller { replica: at, life: process.machine.life };
        let wall = process.machine.now(self.now).wall;
        match step {
            Step::Begin { subject } => {
                let step = Step::Read { caller, subject, issue: Issue::begin(wall) };
                self.send(place, Place::Log, None, Work::Issue(step));
            }
            Step::Authorised { subject, issue, authorised, generation: None } => {
                let step = Step::ReadGeneration { caller, subject, issue, authorised };
                self.send(place, Place::Log, None, Work::Issue(step));
            }
            Step::Authorised { subject, issue, authorised, generation: Some(generation) } => {
                let takes = *self.random.choice(&[0, 5, 300, 4000]).unwrap_or(&0);
                let step = Step::Sign { subject, issue, authorised, generation };
                self.at(self.now + takes * MILLI, place, Work::Issue(step));
            }
            Step::Sign { subject, issue, authorised, generation } => {
                let issue = if self.is(Broken::LifeFromSignature) { Issue::begin(wall) } else { issue };
                let expires_at = issue.expires_at(LIFE);
                self.issuing.tokens.push(Token { subject, generation, authorised, expires_at });
                self.counts.issued += 1;
                let key = KEYS + self.issuing.tokens.len() - 1;
                for guard in 0..GUARDS {
                    for after in [1, 20, 200, 500, 900, 1300, 2500, 4000] {
                        self.request_at(self.now + after * MILLI, guard, key);
                    }
                }
            }
            Step::Raise { subject } => {
                let raise = self.issuing.raises.len();
                self.issuing.raises.push(Raise { subject, committed: None, acknowledged: None });
                let request = self.raise_request(at, raise);
                self.send(place, Place::Log, None, Work::Issue(Step::Commit { caller, raise, request }));
            }
            Step::Read { .. } | Step::ReadGeneration { .. } | Step::Commit { .. } => {}
        }
    }

    pub(super) fn issue_at_log(&mut self, step: Step) {
        let (caller, reply) = match step {
            Step::Read { caller, subject, issue } => {
                let generation = self.generation(subject);
                let generation = (!self.is(Broken::GenerationReadLate)).then_some(generation);
                (caller, Step::Authorised { subject, issue, authorised: self.id(), generation })
            }
            Step::ReadGeneration { caller, subject, issue, authorised } => {
                let generation = Some(self.generation(subject));
                (caller, Step::Authorised { subject, issue, authorised, generation })
            }
            Step::Commit { caller, raise, request } => return self.commit_raise(caller, raise, request),
            _ => return,
        };
        self.send_to_life(Place::Log, Place::Replica(caller.replica), caller.life, None, Work::Issue(reply));
    }

    fn commit_raise(&mut self, caller: Caller, raise: usize, request: replica::RequestId) {
        let operation = self.id();
        let Some(Raise { subject, committed, .. }) = self.issuing.raises.get_mut(raise) else { return };
        *committed = Some(operation);
        let subject = *subject;
        let generation = self.store.generations.entry(subject).or_insert(1);
        *generation += 1;
        let min = Some(*generation);
        let wall = self.log.now(self.now).wall;
        let until = if self.is(Broken::ForgetEarly) {
            wall + Duration::from_millis(100)
        } else {
            BOUNDS.until(wall, LIFE)
        };
        let change = Change { target: target(subject), min, except: None, until };
        let committed = self.store.append_one(change, self.now, &mut self.random);
        let event =
            replica::Event::Committed { request, position: committed.placed.last, mode: Mode::Everywhere };
        self.answer_commit(caller, committed, Work::Replica(event));
    }

    pub(super) fn raised(&mut self, raise: usize, outcome: Outcome) {
        if let Outcome::Done { everywhere: true, .. } = outcome
            && let Some(raise) = self.issuing.raises.get_mut(raise)
        {
            raise.acknowledged.get_or_insert(self.now);
        }
    }

    /// A guard judges expiry before it looks into any memory.
    pub(super) fn is_expired(&self, guard: usize, key: usize) -> bool {
        let Some(token) = key.checked_sub(KEYS).and_then(|at| self.issuing.tokens.get(at)) else {
            return false;
        };
        let Some(process) = self.guards.get(guard) else { return true };
        token.expires_at <= process.core.judging_time(process.machine.now(self.now))
    }

    /// Invariant 1, for what was issued.
    pub(super) fn check_issued(&mut self, guard: usize, key: usize, began: Instant) {
        let Some(token) = self.issuing.tokens.get(key - KEYS) else { return };
        let stale = self.issuing.raises.iter().find(|raise| {
            raise.subject == token.subject
                && raise.committed.is_some_and(|at| at > token.authorised)
                && raise.acknowledged.is_some_and(|at| at < began)
        });
        if let Some(raise) = stale {
            let text = format!(
                "token {key} authorised before a raise that was acknowledged at {}, request began {}, allowed by guard {guard}",
                ms(raise.acknowledged.unwrap_or(0)),
                ms(began)
            );
            self.violate(text);
        }
    }

    pub(super) fn was_raised_after(&self, key: usize) -> bool {
        let Some(token) = self.issuing.tokens.get(key - KEYS) else { return false };
        self.issuing.raises.iter().any(|raise| {
            raise.subject == token.subject && raise.committed.is_some_and(|at| at > token.authorised)
        })
    }

    pub(super) fn issued_credential(&self, key: usize) -> Credential {
        let Some(Token { subject, generation, expires_at, .. }) = self.issuing.tokens.get(key - KEYS) else {
            return Credential::default();
        };
        let stamp = Stamp { id: target(*subject).key, generation: *generation };
        Credential { subject: Some(stamp), expired_from: Some(*expires_at), ..Credential::default() }
    }

    fn generation(&self, subject: usize) -> u64 {
        self.store.generations.get(&subject).copied().unwrap_or(1)
    }
}

fn target(subject: usize) -> Target {
    Target::new(What::Subject, format!("subject{subject}"))
}
