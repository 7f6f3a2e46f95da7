//! What a log of changes promises. It lives in the service's own SQL database; in memory only for a single process.
//!
//! Promises of every adapter:
//! - Numbers are in commit order and without gaps; what was acknowledged stays. Whoever reads sees no entry before every
//!   entry with a lower number.
//! - Every operation is linearizable. [`Log::beat`] fails on a database that has been deposed.
//! - A fenced member's beats fail, for ever.
//! - A position is its number and its tag. One that is not in the log, or that trimming has passed, is [`Read::Diverged`].

mod ledger;
mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod row;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use async_trait::async_trait;

pub use ledger::Ledger;
pub use memory::MemoryLog;

use crate::{
    change::{Change, Entry, Position, Tag},
    member::{Member, MemberId},
    time::Wall,
};

/// How many entries one append may carry.
pub const MAX_APPEND: usize = 256;
/// How many entries one statement of an SQL log removes, and reads for a snapshot: a database limits the time of a statement,
/// and a log may have millions.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
const AT_ONCE: i64 = 4096;

/// A change on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub tag: Tag,
    pub change: Change,
}

/// Where an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What it follows, if the log says so beside: whoever is there then needs no read.
    pub after: Option<Position>,
    pub last: Position,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The position is not in this log, or before its horizon.
    Diverged,
    Current {
        head: Position,
        entries: Vec<Entry>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beat {
    /// This membership has ended, or never was.
    Fenced,
    Diverged,
    /// `time` is the log's wall clock.
    Current {
        head: Position,
        entries: Vec<Entry>,
        time: Wall,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub position: Position,
    pub entries: Vec<Entry>,
}

/// The log could not be asked, or its answer did not come. What was asked may have happened.
#[derive(Debug, thiserror::Error)]
#[error("the log cannot be reached")]
pub struct LogUnavailable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl LogUnavailable {
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Durable and in the order before it answers. At least one change, at most [`MAX_APPEND`].
    async fn append(&self, changes: &[Appended]) -> Result<Placed, LogUnavailable>;
    async fn read(&self, after: Position) -> Result<Read, LogUnavailable>;
    async fn snapshot(&self) -> Result<Snapshot, LogUnavailable>;
    async fn beat(&self, member: MemberId, after: Position) -> Result<Beat, LogUnavailable>;
    async fn register(&self, member: &Member) -> Result<(), LogUnavailable>;
    async fn fence(&self, member: MemberId) -> Result<(), LogUnavailable>;
    async fn remove(&self, member: MemberId) -> Result<(), LogUnavailable>;
    /// Asked after a commit, or a read, of this log was answered: whoever registers later sees that.
    async fn members(&self) -> Result<Vec<Member>, LogUnavailable>;
    /// Removes entries numbered below `before` whose `until` has come by `wall`, never the newest entry, and says whether there
    /// may be more: at once only as many as hold nobody up. Whoever reads the log from then on does not learn of them: `wall`
    /// must not be ahead of the log's own clock. Whoever stands below `before` may have to read all of it again.
    async fn trim(&self, wall: Wall, before: u64) -> Result<bool, LogUnavailable>;

    /// What the core asked for, as its driver passes it on.
    async fn call(&self, call: &LogCall) -> Result<LogReply, LogUnavailable> {
        Ok(match call {
            LogCall::Append(changes) => LogReply::Appended(self.append(changes).await?),
            LogCall::Read { after } => LogReply::Read(self.read(*after).await?),
            LogCall::Snapshot => LogReply::Snapshot(self.snapshot().await?),
            LogCall::Beat { member, after } => LogReply::Beat(self.beat(*member, *after).await?),
            LogCall::Register(member) => self.register(member).await.map(|()| LogReply::Done)?,
            LogCall::Fence(member) => self.fence(*member).await.map(|()| LogReply::Done)?,
            LogCall::Remove(member) => self.remove(*member).await.map(|()| LogReply::Done)?,
            LogCall::Members => LogReply::Members(self.members().await?),
        })
    }
}

/// The operations as values, for a core that calls nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogCall {
    Append(Vec<Appended>),
    Read { after: Position },
    Snapshot,
    Beat { member: MemberId, after: Position },
    Register(Member),
    Fence(MemberId),
    Remove(MemberId),
    Members,
}

/// The answer to the [`LogCall`] of the same name; `Done` where there is nothing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogReply {
    Appended(Placed),
    Read(Read),
    Snapshot(Snapshot),
    Beat(Beat),
    Members(Vec<Member>),
    Done,
}
