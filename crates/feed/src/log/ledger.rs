//! A log as plain data: what the simulation runs against, and what [`super::MemoryLog`] locks.

use std::collections::BTreeMap;

use super::{Appended, Beat, LogCall, LogReply, Placed, Read, Snapshot};
use crate::{
    change::{Entry, Position},
    member::{Member, MemberId},
    time::Wall,
};

#[derive(Clone, Debug)]
pub struct Ledger {
    entries: BTreeMap<u64, Entry>,
    head: Position,
    /// The highest number that was trimmed: positions before it lead nowhere.
    horizon: u64,
    members: BTreeMap<MemberId, Member>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), head: Position::START, horizon: 0, members: BTreeMap::new() }
    }
}

impl Ledger {
    /// `time` is the log's own wall clock.
    pub fn call(&mut self, call: &LogCall, time: Wall) -> LogReply {
        match call {
            LogCall::Append(changes) => LogReply::Appended(self.append(changes)),
            LogCall::Read { after } => LogReply::Read(self.read(*after)),
            LogCall::Snapshot => LogReply::Snapshot(self.snapshot()),
            LogCall::Beat { member, after } => LogReply::Beat(self.beat(*member, *after, time)),
            LogCall::Register(member) => {
                self.register(member);
                LogReply::Done
            }
            LogCall::Fence(member) => {
                self.fence(*member);
                LogReply::Done
            }
            LogCall::Remove(member) => {
                self.remove(*member);
                LogReply::Done
            }
            LogCall::Members => LogReply::Members(self.members()),
        }
    }

    pub fn append(&mut self, changes: &[Appended]) -> Placed {
        let after = Some(self.head);
        for Appended { tag, change } in changes {
            self.head = Position { number: self.head.number + 1, tag: *tag };
            self.entries.insert(self.head.number, Entry { position: self.head, change: change.clone() });
        }
        Placed { after, last: self.head }
    }

    pub fn read(&self, after: Position) -> Read {
        if !self.holds(after) {
            return Read::Diverged;
        }
        let entries = self.entries.range(after.number + 1..).map(|(_, entry)| entry.clone()).collect();
        Read::Current { head: self.head, entries }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot { position: self.head, entries: self.entries.values().cloned().collect() }
    }

    pub fn beat(&self, member: MemberId, after: Position, time: Wall) -> Beat {
        if self.members.get(&member).is_none_or(|member| member.fenced) {
            return Beat::Fenced;
        }
        match self.read(after) {
            Read::Diverged => Beat::Diverged,
            Read::Current { head, entries } => Beat::Current { head, entries, time },
        }
    }

    pub fn register(&mut self, member: &Member) {
        // A repeated registration must not lift a fence.
        self.members.entry(member.id).or_insert_with(|| member.clone());
    }

    pub fn fence(&mut self, member: MemberId) {
        if let Some(member) = self.members.get_mut(&member) {
            member.fenced = true;
        }
    }

    pub fn remove(&mut self, member: MemberId) {
        self.members.remove(&member);
    }

    pub fn members(&self) -> Vec<Member> {
        self.members.values().cloned().collect()
    }

    pub fn trim(&mut self, wall: Wall, before: u64) {
        let before = before.min(self.head.number);
        let mut horizon = self.horizon;
        self.entries.retain(|number, entry| {
            let stays = *number >= before || entry.change.until > wall;
            if !stays {
                horizon = horizon.max(*number);
            }
            stays
        });
        self.horizon = horizon;
    }

    pub fn head(&self) -> Position {
        self.head
    }

    fn holds(&self, position: Position) -> bool {
        let found = match self.entries.get(&position.number) {
            Some(entry) => entry.position == position,
            None => position == Position::START,
        };
        found && position.number >= self.horizon
    }
}

/// What no sound log does.
#[cfg(feature = "simulation")]
impl Ledger {
    /// Loses its last `count` entries, as an asynchronous failover would; returns them.
    pub(crate) fn lose_tail(&mut self, count: usize) -> Vec<Entry> {
        let mut lost = Vec::new();
        while lost.len() < count
            && let Some((_, entry)) = self.entries.pop_last()
        {
            lost.push(entry);
        }
        self.head = self.entries.values().next_back().map_or(Position::START, |entry| entry.position);
        lost
    }

    pub(crate) fn lose_members(&mut self) {
        self.members.clear();
    }

    /// Shows an entry whose number was drawn before, as a bare sequence would: perhaps after a higher one.
    pub(crate) fn show(&mut self, entry: Entry) {
        if entry.position.number > self.head.number {
            self.head = entry.position;
        }
        self.entries.insert(entry.position.number, entry);
    }
}
