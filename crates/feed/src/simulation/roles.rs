//! Roles that a guard without a lease asks a replica for, the way policy-service answers: from its database, if before and after that
//! the replica has the right to, and if the database has all that it had heard of before.

use super::{
    checks::Said,
    machine::Instant,
    network::{MILLI, Place},
    replicas::ReplicaProcess,
    world::{Caller, REPLICAS, Work, World},
};

/// A life of a guard, and the number of its question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    guard: usize,
    life: u32,
    question: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// At a replica.
    Asked(Asker),
    /// At the log.
    Read { caller: Caller, asker: Asker, at_least: u64 },
    /// At the replica: how far the log was when they were read.
    Found { asker: Asker, at_least: u64, roles: u64 },
    /// At the guard. `None`: they are not to be had.
    Answered { question: u64, roles: Option<u64> },
}

impl World {
    pub(super) fn ask_for_roles(&mut self, guard: usize, key: usize, began: Instant) {
        let question = self.id();
        let replica = self.random.usize(0..REPLICAS);
        let timeout = self.now + 250 * MILLI;
        let Some(process) = self.guards.get_mut(guard) else { return };
        process.questions.insert(question, (key, began));
        let asker = Asker { guard, life: process.machine.life, question };
        self.send(Place::Guard(guard), Place::Replica(replica), None, Work::Roles(Step::Asked(asker)));
        let nothing = Work::Roles(Step::Answered { question, roles: None });
        self.at(timeout, Place::Guard(guard), nothing);
    }

    pub(super) fn roles_at_replica(&mut self, at: usize, step: Step) {
        let place = Place::Replica(at);
        let Some(process) = self.replicas.get(at) else { return };
        match step {
            Step::Asked(asker) => {
                let caller = Caller { replica: at, life: process.machine.life };
                match self.roles_at_least(at) {
                    Some(at_least) => {
                        let read = Step::Read { caller, asker, at_least };
                        self.send(place, Place::Log, None, Work::Roles(read));
                    }
                    None => self.answer_roles(at, asker, None),
                }
            }
            Step::Found { asker, at_least, roles } => {
                let roles = self.may_give_out(at, at_least, roles).then_some(roles);
                self.answer_roles(at, asker, roles);
            }
            Step::Read { .. } | Step::Answered { .. } => {}
        }
    }

    fn answer_roles(&mut self, at: usize, asker: Asker, roles: Option<u64>) {
        let Asker { guard, life, question } = asker;
        let answered = Work::Roles(Step::Answered { question, roles });
        self.send_to_life(Place::Replica(at), Place::Guard(guard), life, None, answered);
    }

    /// How far the log must have been when roles are read that this replica gives out. `None`: it has no right, so there may be
    /// more than it has heard of.
    pub(super) fn roles_at_least(&self, replica: usize) -> Option<u64> {
        let ReplicaProcess { core, machine, .. } = self.replicas.get(replica)?;
        let now = machine.now(self.now).moment;
        core.right().filter(|right| now < *right).map(|_| core.roles_version())
    }

    /// Whether roles that have been read, as they were at `roles`, are those of now.
    pub(super) fn may_give_out(&self, replica: usize, at_least: u64, roles: u64) -> bool {
        self.roles_at_least(replica).is_some() && roles >= at_least
    }

    pub(super) fn roles_at_log(&mut self, step: Step) {
        let Step::Read { caller, asker, at_least } = step else { return };
        let server = self.reached(caller);
        let roles = self.store.rows_at(server).head();
        let found = Step::Found { asker, at_least, roles };
        let to = Place::Replica(caller.replica);
        self.send_to_life(Place::Log, to, caller.life, None, Work::Roles(found));
    }

    pub(super) fn roles_at_guard(&mut self, guard: usize, step: Step) {
        let Step::Answered { question, roles } = step else { return };
        let Some(process) = self.guards.get_mut(guard) else { return };
        let Some((key, began)) = process.questions.remove(&question) else { return };
        self.counts.asked_roles += u64::from(roles.is_some());
        self.say(guard, key, began, roles.map_or(Said::Unavailable, |roles| Said::Allowed { roles }));
    }
}
