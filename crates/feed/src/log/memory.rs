//! The log of a service that is one process and keeps nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Appended, Beat, Ledger, Log, LogUnavailable, Placed, Read, Snapshot};
use crate::{
    change::Position,
    member::{Member, MemberId},
    time::Wall,
};

pub struct MemoryLog {
    ledger: Mutex<Ledger>,
    /// The wall clock that a beat reports.
    clock: Box<dyn Fn() -> Wall + Send + Sync>,
}

impl MemoryLog {
    pub fn new(clock: impl Fn() -> Wall + Send + Sync + 'static) -> Self {
        Self { ledger: Mutex::default(), clock: Box::new(clock) }
    }

    /// As a failover to a database that lags would.
    #[cfg(feature = "simulation")]
    pub fn lose_tail(&self, count: usize) {
        self.ledger().lose_tail(count);
    }

    /// The ledger's operations are complete or not begun: a panic elsewhere leaves nothing half done.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn append(&self, changes: &[Appended]) -> Result<Placed, LogUnavailable> {
        Ok(self.ledger().append(changes))
    }

    async fn read(&self, after: Position) -> Result<Read, LogUnavailable> {
        Ok(self.ledger().read(after))
    }

    async fn snapshot(&self) -> Result<Snapshot, LogUnavailable> {
        Ok(self.ledger().snapshot())
    }

    async fn beat(&self, member: MemberId, after: Position) -> Result<Beat, LogUnavailable> {
        let time = (self.clock)();
        Ok(self.ledger().beat(member, after, time))
    }

    async fn register(&self, member: &Member) -> Result<(), LogUnavailable> {
        self.ledger().register(member);
        Ok(())
    }

    async fn fence(&self, member: MemberId) -> Result<(), LogUnavailable> {
        self.ledger().fence(member);
        Ok(())
    }

    async fn remove(&self, member: MemberId) -> Result<(), LogUnavailable> {
        self.ledger().remove(member);
        Ok(())
    }

    async fn members(&self) -> Result<Vec<Member>, LogUnavailable> {
        Ok(self.ledger().members())
    }

    async fn trim(&self, wall: Wall, before: u64) -> Result<bool, LogUnavailable> {
        self.ledger().trim(wall, before);
        Ok(false)
    }
}
