//! Who does what happens, and what the database answers.

use super::{
    network::{Place, millis},
    scenario::change_of,
    store::Committed,
    world::{Caller, Work, World},
};
use crate::{
    log::{LogCall, LogReply},
    replica::{self, CallId, Mode, RequestId},
};

/// Longer than anything that is issued or ended here lives.
pub(super) const LONG: std::time::Duration = std::time::Duration::from_secs(3600);

impl World {
    pub(super) fn happen(&mut self, place: Place, work: Work) {
        match (place, work) {
            (Place::World, Work::Fault(fault)) => self.fault(fault),
            (Place::Log, Work::LogCalled { caller, call, log_call }) => {
                self.log_called(caller, call, &log_call)
            }
            (Place::Log, Work::RowEnded { caller, request, key }) => self.row_ended(caller, request, key),
            (Place::Log, Work::Shown { entries, reply, to }) => {
                entries.into_iter().for_each(|entry| self.store.rows.ledger.show(entry));
                self.send_to_life(Place::Log, Place::Replica(to.replica), to.life, None, *reply);
            }
            (Place::Log, Work::Issue(step)) => self.issue_at_log(step),
            (Place::Log, Work::Roles(step)) => self.roles_at_log(step),
            (Place::Replica(at), work) => self.at_replica(at, work),
            (Place::Guard(at), work) => self.at_guard(at, work),
            _ => {}
        }
    }

    fn log_called(&mut self, caller: Caller, call: CallId, log_call: &LogCall) {
        if *log_call == LogCall::Snapshot {
            let server = self.reached(caller);
            let snapshot = self.store.rows_at(server).ledger.snapshot();
            return self.answer_log_call(caller, call, LogReply::Snapshot(snapshot));
        }
        // Everything else writes: that the log is as it was, is answered by a commit.
        if !self.commits(caller) {
            return;
        }
        let time = self.log.now(self.now).wall;
        let LogCall::Append(changes) = log_call else {
            let reply = self.store.call(log_call, time, self.now, &mut self.random);
            return self.answer_log_call(caller, call, reply);
        };
        let committed = self.store.append(changes, self.now);
        let reply = LogReply::Appended(committed.placed);
        let event = replica::Event::LogReplied { call, reply };
        self.answer_commit(caller, committed, Work::Replica(event));
    }

    fn answer_log_call(&mut self, caller: Caller, call: CallId, reply: LogReply) {
        let event = replica::Event::LogReplied { call, reply };
        let to = Place::Replica(caller.replica);
        self.send_to_life(Place::Log, to, caller.life, None, Work::Replica(event));
    }

    /// A write, also if it had ended before.
    fn row_ended(&mut self, caller: Caller, request: RequestId, key: usize) {
        if !self.commits(caller) {
            return;
        }
        let mode = Mode::Everywhere;
        if !self.store.rows.ended.insert(key) {
            let event = replica::Event::End { request, changes: Vec::new(), mode };
            let to = Place::Replica(caller.replica);
            return self.send_to_life(Place::Log, to, caller.life, None, Work::Replica(event));
        }
        let change = change_of(key, self.log.now(self.now).wall + LONG);
        let committed = self.store.append_one(change, self.now, &mut self.random);
        let event = replica::Event::Committed { request, position: committed.placed.last, mode };
        self.answer_commit(caller, committed, Work::Replica(event));
    }

    pub(super) fn answer_commit(&mut self, to: Caller, committed: Committed, reply: Work) {
        if committed.shown_later.is_empty() {
            return self.send_to_life(Place::Log, Place::Replica(to.replica), to.life, None, reply);
        }
        let after = *self.random.choice(&[0.1, 0.1, 10.0, 60.0]).unwrap_or(&0.1);
        let work = Work::Shown { entries: committed.shown_later, reply: Box::new(reply), to };
        self.at(self.now + millis(after), Place::Log, work);
    }
}
