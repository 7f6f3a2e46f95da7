//! What takes back what was issued (a raised generation, an ended login) or outdates the roles in it, and the judge of what
//! guards say of it afterwards.

use std::time::Duration;

use super::{
    checks::ms,
    faults::Fault,
    issuing::{BOUNDS, Family, LIFE, Step, Token, family_target},
    machine::Instant,
    network::{MILLI, Place},
    scenario::KEYS,
    world::{Caller, Work, World},
};
use crate::{
    broken::Broken,
    change::{Change, Target, What},
    replica::{self, Mode, Outcome, RequestId},
};

/// Who has a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    Subject(usize),
    /// There is one.
    Client,
}

impl Party {
    pub(super) fn target(self) -> Target {
        match self {
            Self::Subject(number) => Target::new(What::Subject, format!("subject{number}")),
            Self::Client => Target::new(What::Client, "client"),
        }
    }
}

/// What is done to what was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    Raise(Party),
    EndFamily(usize),
    /// Roles change: of one subject, or of everybody.
    Roles(Option<usize>),
}

#[derive(Debug)]
pub(super) struct TakenBack {
    taking: Taking,
    /// The number of its entry, or of one after it.
    committed: Option<u64>,
    acknowledged: Option<Instant>,
}

impl TakenBack {
    /// Whether it speaks of a request by `token` that was answered with roles as they were at `roles`.
    fn concerns(&self, token: &Token, family: &Family, roles: u64) -> bool {
        let Some(committed) = self.committed else { return false };
        match self.taking {
            Taking::Raise(Party::Subject(subject)) if subject != family.subject => false,
            Taking::Raise(_) => committed > family.authorised,
            Taking::EndFamily(ended) => ended == token.family,
            Taking::Roles(subject) => subject.is_none_or(|one| one == family.subject) && committed > roles,
        }
    }
}

/// Whose roles change.
pub(super) fn principal(subject: usize) -> Target {
    Target::new(What::Principal, Party::Subject(subject).target().key)
}

impl World {
    pub(super) fn take_back(&mut self, caller: Caller, taking: Taking) {
        let at = self.issuing.taken_back.len();
        self.issuing.taken_back.push(TakenBack { taking, committed: None, acknowledged: None });
        let request = self.taking_request(caller.replica, at);
        self.call_database(caller.replica, Step::Commit { caller, at, request });
    }

    /// In one transaction with the row that it changes.
    pub(super) fn commit_taking(&mut self, caller: Caller, at: usize, request: RequestId) {
        let Some(TakenBack { taking, .. }) = self.issuing.taken_back.get(at) else { return };
        let mode = Mode::Everywhere;
        let (target, min) = match *taking {
            Taking::Raise(party) => (party.target(), Some(self.raised(party))),
            Taking::EndFamily(family) => {
                let Some(row) = self.store.rows.families.get_mut(family) else { return };
                if std::mem::replace(&mut row.ended, true) {
                    self.committed_at(at, self.store.rows.head());
                    let event = replica::Event::End { request, changes: Vec::new(), mode };
                    let to = Place::Replica(caller.replica);
                    return self.send_to_life(Place::Log, to, caller.life, None, Work::Replica(event));
                }
                (family_target(family), None)
            }
            Taking::Roles(Some(subject)) => (principal(subject), None),
            Taking::Roles(None) => (Target::new(What::All, ""), None),
        };
        let wall = self.log.now(self.now).wall;
        let until = if self.is(Broken::ForgetEarly) {
            wall + Duration::from_millis(100)
        } else {
            BOUNDS.until(wall, LIFE) + self.scenario.unheard()
        };
        let change = Change { target, min, except: None, until };
        let committed = self.store.append_one(change, self.now, &mut self.random);
        let position = committed.placed.last;
        self.committed_at(at, position.number);
        let event = replica::Event::Committed { request, position, mode };
        self.answer_commit(caller, committed, Work::Replica(event));
    }

    fn committed_at(&mut self, at: usize, number: u64) {
        if let Some(taken) = self.issuing.taken_back.get_mut(at) {
            taken.committed = Some(number);
        }
    }

    fn raised(&mut self, party: Party) -> u64 {
        let raised = if self.is(Broken::GenerationInSeconds) {
            self.second()
        } else {
            self.store.rows.generation(party) + 1
        };
        self.store.rows.generations.insert(party, raised);
        raised
    }

    /// What a broken issuer takes for a generation.
    pub(super) fn second(&self) -> u64 {
        self.log.now(self.now).wall.unix_millis() / 1000
    }

    pub(super) fn taken_back(&mut self, at: usize, outcome: Outcome) {
        if !matches!(outcome, Outcome::Done { everywhere: true, .. }) {
            self.counts.not_confirmed += 1;
            return;
        }
        let Some(taken) = self.issuing.taken_back.get_mut(at) else { return };
        taken.acknowledged.get_or_insert(self.now);
        let Some(taken) = self.issuing.taken_back.get(at) else { return };
        let wall = self.log.now(self.now).wall;
        let is_to_be_seen = |key: &usize| {
            self.issued(*key).is_some_and(|(token, family)| {
                token.expires_at > wall && taken.concerns(token, family, token.roles.at)
            })
        };
        let keys = KEYS..KEYS + self.issuing.tokens.len();
        for key in keys.filter(is_to_be_seen).collect::<Vec<_>>() {
            self.probe(key);
        }
    }

    /// Invariant 1, for what was issued: `roles` is how far the log was when those were read that the request is answered with.
    pub(super) fn check_issued(&mut self, guard: usize, key: usize, began: Instant, roles: u64) {
        let Some((token, family)) = self.issued(key) else { return };
        let stale = self.issuing.taken_back.iter().find(|taken| {
            taken.concerns(token, family, roles) && taken.acknowledged.is_some_and(|at| at < began)
        });
        if let Some(TakenBack { taking, acknowledged, .. }) = stale {
            let text = format!(
                "{taking:?} acknowledged at {}, request by token {key} began {}, allowed {} by guard {guard}",
                ms(acknowledged.unwrap_or(0)),
                ms(began),
                ms(self.now)
            );
            self.violate(text);
        }
    }

    /// Whether it may be refused: roles that change end nothing.
    pub(super) fn is_taken_back(&self, key: usize) -> bool {
        let Some((token, family)) = self.issued(key) else { return false };
        let mut ends =
            self.issuing.taken_back.iter().filter(|taken| !matches!(taken.taking, Taking::Roles(_)));
        ends.any(|taken| taken.concerns(token, family, 0))
    }

    /// A guard judges expiry before it looks into any memory. What had expired once has expired (rule W8).
    pub(super) fn has_expired(&mut self, guard: usize, key: usize) -> bool {
        let Some((Token { expires_at, .. }, _)) = self.issued(key) else { return false };
        let expires_at = *expires_at;
        let Some(process) = self.guards.get(guard) else { return true };
        let has_expired = expires_at <= process.judging_time(process.machine.now(self.now).wall);
        if !has_expired && expires_at <= process.latest_judged {
            self.violate(format!("token {key} had expired before {} for guard {guard}", ms(self.now)));
        }
        if has_expired && !self.scenario.calm && self.random.f64() < 0.05 {
            let at = self.now + self.random.u64(0..100 * MILLI);
            self.at(at, Place::World, Work::Fault(Fault::SetClock { guard, key }));
        }
        has_expired
    }
}
