//! What a replica is told, and what it wants done.

use super::{
    ending::{Mode, Outcome},
    everything::Everything,
};
use crate::{
    change::{Change, Position, Tail, Target},
    credential::{Credential, Verdict},
    log::{LogCall, LogReply},
    member::{Member, MemberId},
    message::{FromWatcher, StreamId, ToWatcher},
};

/// One call that this replica made, to its log or to a peer. Never used twice in one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One call that somebody made to this replica; the driver's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

#[derive(Clone, Debug)]
pub enum Event {
    /// First, and once.
    Started,
    /// The moment that [`Replica::deadline`] named has come. Any other event serves as well.
    Tick,
    LogReplied {
        call: CallId,
        reply: LogReply,
    },
    /// No reply came in time, or an error: what was asked may have happened.
    LogFailed {
        call: CallId,
    },
    Received {
        stream: StreamId,
        message: FromWatcher,
    },
    /// The connection is gone, or its queue was full.
    StreamClosed {
        stream: StreamId,
    },
    /// A peer wants to know that `member`, which it takes for this process, is at or beyond `position`.
    ConfirmAsked {
        request: RequestId,
        member: MemberId,
        position: Position,
        /// The last of the log, as far as the peer thinks that it is not here yet.
        tail: Tail,
    },
    Confirmed {
        call: CallId,
    },
    ConfirmFailed {
        call: CallId,
    },
    /// Append these changes, at most [`crate::log::MAX_APPEND`], and say when they hold everywhere. None: there was
    /// nothing to end, and what had ended before must hold everywhere.
    End {
        request: RequestId,
        changes: Vec<Change>,
        mode: Mode,
    },
    /// The changes were appended within the caller's own transaction, which has been committed.
    Committed {
        request: RequestId,
        position: Position,
        mode: Mode,
    },
    Asked {
        request: RequestId,
        credential: Credential,
    },
    FillAsked {
        request: RequestId,
        target: Target,
        at_least: Position,
    },
    /// The read that [`Action::ReadBody`] wanted is done.
    BodyRead {
        request: RequestId,
    },
    BodyFailed {
        request: RequestId,
    },
    /// Hand everything over and stop.
    Terminate,
}

/// In the order in which they are to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    CallLog {
        call: CallId,
        log_call: LogCall,
    },
    Send {
        stream: StreamId,
        message: ToWatcher,
    },
    /// Message by message, before whatever is sent to the same stream later.
    SendEverything {
        stream: StreamId,
        everything: Everything,
    },
    Close {
        stream: StreamId,
    },
    /// To be named in the log and counted.
    Note {
        stream: StreamId,
        misconduct: Misconduct,
    },
    /// Ask the peer to confirm.
    Confirm {
        call: CallId,
        member: Member,
        position: Position,
        /// What it may not have read yet.
        tail: Tail,
    },
    /// Not confirmed is an error to the peer, which then waits.
    AnswerConfirm {
        request: RequestId,
        confirmed: bool,
    },
    Ended {
        request: RequestId,
        outcome: Outcome,
    },
    Answer {
        request: RequestId,
        answer: Answer,
    },
    /// Read the body of `target` from its store now, then say [`Event::BodyRead`].
    ReadBody {
        request: RequestId,
        target: Target,
    },
    AnswerFill {
        request: RequestId,
        fill: Fill,
    },
    /// Everything is handed over: the process may exit.
    Stopped,
}

/// What no watcher does that keeps to the protocol and keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misconduct {
    /// Its position is not in the log, or was trimmed long ago: it is told everything anew. So is every watcher after the log
    /// has lost its tail.
    UnknownPosition,
    /// It said Hello again on one stream, which is closed.
    SecondHello,
    /// It acknowledged what it was never sent; or, once, when the log has just lost its tail, what it was sent of that.
    StrayAcknowledgement,
    /// It held confirmations up again and again, and gets no grants for a while.
    HeldBack,
    /// It went without giving its lease back, and a confirmation waits for that. So is one that died.
    LeftLease,
    /// Too much of what it was sent is unread or unacknowledged: its stream is closed.
    TooSlow,
    /// As many streams as one name may have are open: it is refused.
    TooMany,
    /// What it said is no message of the protocol, or not where it stands: its stream is closed.
    NotTheProtocol,
}

impl Misconduct {
    pub const EVERY: [Self; 8] = [
        Self::UnknownPosition,
        Self::SecondHello,
        Self::StrayAcknowledgement,
        Self::HeldBack,
        Self::LeftLease,
        Self::TooSlow,
        Self::TooMany,
        Self::NotTheProtocol,
    ];

    /// As it is written in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownPosition => "unknown_position",
            Self::SecondHello => "second_hello",
            Self::StrayAcknowledgement => "stray_acknowledgement",
            Self::HeldBack => "held_back",
            Self::LeftLease => "left_lease",
            Self::TooSlow => "too_slow",
            Self::TooMany => "too_many",
            Self::NotTheProtocol => "not_the_protocol",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Verdict(Verdict),
    Unavailable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// The body that was read is good; the replica had applied `number`.
    Body {
        number: u64,
    },
    Ended,
    Unavailable,
}
