//! Calls to the log that are under way, and what each is for.

use std::collections::BTreeMap;

use super::{CallId, RequestId, answering::Question, ending::Batch};
use crate::{
    member::MemberId,
    message::StreamId,
    time::{Moment, Wall},
};

#[derive(Debug)]
pub(super) enum Purpose {
    Register(MemberId),
    Snapshot,
    Beat(Began),
    Hello(StreamId),
    /// A peer asks for a position that is not here yet.
    CatchUp(u64),
    Answer(Question),
    Append(Batch),
    /// Nothing to end: everything up to the head must hold everywhere.
    Head(RequestId),
    /// After one commit, for all that it ended; for nothing, when this process begins.
    Members(Vec<RequestId>),
    /// Only a broken variant reads members before it appends.
    EarlyMembers,
    Remove,
    /// Of another, which somebody will fence again if it fails.
    Fence(MemberId),
    /// Removals of others, which somebody will do again if they fail.
    Cleanup,
}

/// What a beat may grant, fixed before it is sent.
#[derive(Debug)]
pub(super) struct Began {
    pub(super) id: MemberId,
    pub(super) at: Moment,
    pub(super) wall: Wall,
    /// The last renewal that had been received on each open stream.
    pub(super) renewals: Vec<(StreamId, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    under_way: BTreeMap<CallId, (Purpose, u32)>,
    last: u64,
}

impl Calls {
    pub(super) fn begin(&mut self, purpose: Purpose, epoch: u32) -> CallId {
        let call = self.number();
        self.under_way.insert(call, (purpose, epoch));
        call
    }

    /// The purpose, and the history in which the call was made. A second answer to one call is nobody's.
    pub(super) fn take(&mut self, call: CallId) -> Option<(Purpose, u32)> {
        self.under_way.remove(&call)
    }

    pub(super) fn number(&mut self) -> CallId {
        self.last += 1;
        CallId(self.last)
    }

    pub(super) fn count(&self, wanted: impl Fn(&Purpose) -> bool) -> usize {
        self.under_way.values().filter(|(purpose, _)| wanted(purpose)).count()
    }
}
