//! Issuing, the way auth-service does it: a login, and refreshes of it, each authorised by rows that may change at any moment until
//! the token is signed (rules I1 and I2).

use std::time::Duration;

use super::{
    machine::WALL_SPREAD_MILLIS,
    network::{MILLI, Place},
    rows::Rows,
    scenario::KEYS,
    taking_back::{Party, TakenBack, Taking},
    world::{Caller, GUARDS, Work, World},
};
use crate::{
    broken::Broken,
    change::{Target, What},
    credential::{Credential, Roles, Stamp},
    issuer::{Bounds, Issue},
    replica::RequestId,
    time::Wall,
};

pub(super) const LIFE: Duration = Duration::from_millis(1000);
/// Small, so that within one history entries leave the memory.
pub(super) const BOUNDS: Bounds =
    Bounds { leeway: Duration::ZERO, clocks_apart: Duration::from_millis(2 * WALL_SPREAD_MILLIS) };

#[derive(Debug, Default)]
pub(super) struct Issuing {
    pub(super) tokens: Vec<Token>,
    pub(super) taken_back: Vec<TakenBack>,
}

/// A login, as its row has it.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) subject: usize,
    generations: Generations,
    /// How far the log was when the row was read that let it be begun.
    pub(super) authorised: u64,
    pub(super) ended: bool,
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) family: usize,
    generations: Generations,
    pub(super) roles: RolesRead,
    pub(super) expires_at: Wall,
}

#[derive(Clone, Copy, Debug, Default)]
struct Generations {
    subject: u64,
    client: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RolesRead {
    /// How far the log was when they were read.
    pub(super) at: u64,
    /// What the token says about that.
    version: u64,
}

/// A token on its way between its issuer and the database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    caller: Caller,
    subject: usize,
    /// At a login there is none before it was begun.
    family: Option<usize>,
    issue: Issue,
    authorised: u64,
    generations: Generations,
    /// As [`World::roles_at_least`] when it was begun.
    roles_at_least: Option<u64>,
    roles: RolesRead,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// At a replica.
    Login {
        subject: usize,
    },
    Refresh {
        family: usize,
    },
    /// At the log: the reads that authorise, and the roles.
    Authorise(Draft),
    /// At the replica, which may think about a password.
    Authorised(Draft),
    /// At the log: the family is begun, or its refresh token is spent, by a statement that repeats what authorised it.
    Write(Draft),
    /// At the replica.
    Written(Draft),
    Sign(Draft),
    /// At a replica, and then at the log: something is taken back.
    TakeBack(Taking),
    Commit {
        caller: Caller,
        at: usize,
        request: RequestId,
    },
}

impl World {
    pub(super) fn issue_at_replica(&mut self, at: usize, step: Step) {
        let place = Place::Replica(at);
        let Some(process) = self.replicas.get(at) else { return };
        let caller = Caller { replica: at, life: process.machine.life };
        let issue = Issue::begin(process.machine.now(self.now).wall);
        let begun = |subject, family| Draft {
            caller,
            subject,
            family,
            issue,
            authorised: 0,
            generations: Generations::default(),
            roles_at_least: self.roles_at_least(at),
            roles: RolesRead::default(),
        };
        match step {
            Step::Login { subject } => self.call_database(at, Step::Authorise(begun(subject, None))),
            Step::Refresh { family } => {
                let Some(Family { subject, .. }) = self.store.rows.families.get(family) else { return };
                let draft = begun(*subject, Some(family));
                self.call_database(at, Step::Authorise(draft));
            }
            // The roles are policy-service's answer: a database that was deposed does not give it.
            Step::Authorised(draft)
                if !draft
                    .roles_at_least
                    .is_some_and(|at_least| self.may_give_out(at, at_least, draft.roles.at)) => {}
            Step::Authorised(draft) => {
                let takes = *self.random.choice(&[0, 5, 300]).unwrap_or(&0);
                self.at(self.now + takes * MILLI, place, Work::Issue(Step::Write(draft)));
            }
            Step::Write(draft) => self.call_database(at, Step::Write(draft)),
            Step::Written(draft) => {
                let takes = *self.random.choice(&[0, 5, 300, 4000]).unwrap_or(&0);
                self.at(self.now + takes * MILLI, place, Work::Issue(Step::Sign(draft)));
            }
            Step::Sign(draft) if self.is(Broken::LifeFromSignature) => self.sign(Draft { issue, ..draft }),
            Step::Sign(draft) => self.sign(draft),
            Step::TakeBack(taking) => self.take_back(caller, taking),
            Step::Authorise(_) | Step::Commit { .. } => {}
        }
    }

    pub(super) fn call_database(&mut self, replica: usize, step: Step) {
        self.send(Place::Replica(replica), Place::Log, None, Work::Issue(step));
    }

    pub(super) fn issue_at_log(&mut self, step: Step) {
        let (reply, caller) = match step {
            Step::Authorise(draft) => {
                let server = self.reached(draft.caller);
                let authorised = self.authorised(self.store.rows_at(server), draft);
                (authorised.map(Step::Authorised), draft.caller)
            }
            Step::Write(draft) if self.commits(draft.caller) => {
                (self.written(draft).map(Step::Written), draft.caller)
            }
            Step::Commit { caller, at, request } if self.commits(caller) => {
                return self.commit_taking(caller, at, request);
            }
            _ => return,
        };
        if let Some(reply) = reply {
            let to = Place::Replica(caller.replica);
            self.send_to_life(Place::Log, to, caller.life, None, Work::Issue(reply));
        }
    }

    /// `None`: refused.
    fn authorised(&self, rows: &Rows, mut draft: Draft) -> Option<Draft> {
        draft.authorised = rows.head();
        draft.roles = RolesRead { at: draft.authorised, version: draft.authorised };
        draft.generations = self.stamped(rows, draft.subject);
        if let Some(family) = draft.family {
            if !self.may_be_refreshed(rows, family) {
                return None;
            }
            if !self.is(Broken::GenerationAtRefresh) {
                draft.generations = rows.families.get(family)?.generations;
            }
        }
        Some(draft)
    }

    fn written(&mut self, mut draft: Draft) -> Option<Draft> {
        if self.is(Broken::VersionOfAnotherAnswer) {
            draft.roles.version = self.store.rows.head();
        }
        if let Some(family) = draft.family {
            let refreshed = self.may_be_refreshed(&self.store.rows, family);
            self.counts.refreshed += u64::from(refreshed);
            return refreshed.then_some(draft);
        }
        if self.is(Broken::GenerationReadLate) {
            draft.generations = self.stamped(&self.store.rows, draft.subject);
        }
        if !is_current(&self.store.rows, draft.subject, draft.generations) {
            return None;
        }
        let Draft { subject, generations, authorised, .. } = draft;
        let family = self.store.rows.families.len();
        self.store.rows.families.push(Family { subject, generations, authorised, ended: false });
        self.set_up_family(family);
        Some(Draft { family: Some(family), ..draft })
    }

    /// What its row and those of its subject and client say now: entries leave the memory, rows stay.
    fn may_be_refreshed(&self, rows: &Rows, family: usize) -> bool {
        let Some(Family { subject, generations, ended, .. }) = rows.families.get(family) else {
            return false;
        };
        match self.broken {
            Some(Broken::RefreshUnchecked) => true,
            Some(Broken::GenerationAtRefresh) => !ended,
            _ => !ended && is_current(rows, *subject, *generations),
        }
    }

    /// What is issued now is stamped with.
    fn stamped(&self, rows: &Rows, subject: usize) -> Generations {
        let of = |party| {
            if self.is(Broken::GenerationInSeconds) { self.second() } else { rows.generation(party) }
        };
        Generations { subject: of(Party::Subject(subject)), client: of(Party::Client) }
    }

    fn sign(&mut self, Draft { family, generations, roles, issue, .. }: Draft) {
        let Some(family) = family else { return };
        self.issuing.tokens.push(Token { family, generations, roles, expires_at: issue.expires_at(LIFE) });
        self.counts.issued += 1;
        let key = KEYS + self.issuing.tokens.len() - 1;
        for guard in 0..GUARDS {
            for after in [1, 20, 200, 500, 900, 1300] {
                self.request_at(self.now + after * MILLI, guard, key);
            }
        }
    }

    pub(super) fn issued(&self, key: usize) -> Option<(&Token, &Family)> {
        let token = self.issuing.tokens.get(key.checked_sub(KEYS)?)?;
        Some((token, self.store.rows.families.get(token.family)?))
    }

    pub(super) fn issued_credential(&self, key: usize) -> Credential {
        let Some((token, family)) = self.issued(key) else { return Credential::default() };
        let subject = Party::Subject(family.subject).target().key;
        let roles = Roles { principals: vec![subject.clone()], version: token.roles.version };
        let client = Stamp { id: Party::Client.target().key, generation: token.generations.client };
        Credential {
            family: Some(family_target(token.family).key),
            subject: Some(Stamp { id: subject, generation: token.generations.subject }),
            client: Some(client),
            roles: Some(roles),
            expired_from: Some(token.expires_at),
            ..Credential::default()
        }
    }
}

fn is_current(rows: &Rows, subject: usize, generations: Generations) -> bool {
    generations.subject >= rows.generation(Party::Subject(subject))
        && generations.client >= rows.generation(Party::Client)
}

/// With an id as the services make them.
pub(super) fn family_target(family: usize) -> Target {
    Target::new(What::Family, format!("fam_{family:026}"))
}
