//! Answers to guards: from memory while the replica has the right, else after a linearizable read begun after the
//! question, else not at all (rule R8).

use std::collections::BTreeMap;

use super::{Action, Answer, Fill, Phase, Replica, RequestId, call::Purpose, history::Included};
use crate::{
    broken::Broken,
    change::{Position, Target},
    credential::{Credential, Verdict},
    log::{LogCall, Read},
    time::{Moment, Now},
};

/// Questions that wait for the log at once; more are refused rather than queued.
const MAX_READS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Answering {
    /// Fills whose body is being read, and the position from before that read.
    bodies: BTreeMap<RequestId, (Target, u64)>,
}

#[derive(Debug)]
pub(super) enum Question {
    Ask { request: RequestId, credential: Credential },
    Fill { request: RequestId, target: Target, at_least: Position },
}

impl Replica {
    /// Whether a credential is void, from memory. `None`: without the right to say so.
    pub fn judge(&self, credential: &Credential, now: Moment) -> Option<Verdict> {
        self.has_right(now).then(|| self.memory.judge(credential))
    }

    pub(super) fn asked(&mut self, request: RequestId, credential: Credential, now: Now) {
        let question = Question::Ask { request, credential };
        if self.has_right(now.moment) { self.answer(question) } else { self.read_for(question) }
    }

    pub(super) fn fill_asked(&mut self, request: RequestId, target: Target, at_least: Position, now: Now) {
        let question = Question::Fill { request, target, at_least };
        if self.history.includes(at_least, self.settings.variant) == Included::Yes
            && self.has_right(now.moment)
        {
            self.answer(question);
        } else {
            self.read_for(question);
        }
    }

    pub(super) fn answer_read(&mut self, question: Question, read: Read) {
        if self.caught_up(read) { self.answer(question) } else { self.unavailable(&question) }
    }

    pub(super) fn unavailable(&mut self, question: &Question) {
        self.actions.push(match question {
            Question::Ask { request, .. } => {
                Action::Answer { request: *request, answer: Answer::Unavailable }
            }
            Question::Fill { request, .. } => {
                Action::AnswerFill { request: *request, fill: Fill::Unavailable }
            }
        });
    }

    pub(super) fn body_read(&mut self, request: RequestId) {
        let Some((target, number)) = self.answering.bodies.remove(&request) else { return };
        let fill = if self.memory.has_ended(&target) { Fill::Ended } else { Fill::Body { number } };
        self.actions.push(Action::AnswerFill { request, fill });
    }

    pub(super) fn body_failed(&mut self, request: RequestId) {
        if self.answering.bodies.remove(&request).is_some() {
            self.actions.push(Action::AnswerFill { request, fill: Fill::Unavailable });
        }
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::Ask { request, credential } => {
                let answer = Answer::Verdict(self.memory.judge(&credential));
                self.actions.push(Action::Answer { request, answer });
            }
            Question::Fill { request, at_least, .. }
                if self.history.includes(at_least, self.settings.variant) == Included::No =>
            {
                self.actions.push(Action::AnswerFill { request, fill: Fill::Unavailable });
            }
            Question::Fill { request, target, .. } => {
                let number = self.applied().number;
                self.answering.bodies.insert(request, (target.clone(), number));
                self.actions.push(Action::ReadBody { request, target });
            }
        }
    }

    fn read_for(&mut self, question: Question) {
        let reads = self.calls.count(|purpose| matches!(purpose, Purpose::Answer(_)));
        if self.phase != Phase::Serving || reads >= MAX_READS {
            return self.unavailable(&question);
        }
        self.call_log(Purpose::Answer(question), LogCall::Read { after: self.applied() });
    }

    fn has_right(&self, now: Moment) -> bool {
        self.right.is_some_and(|until| now < until) || self.settings.variant.is(Broken::AskWithoutRight)
    }
}
