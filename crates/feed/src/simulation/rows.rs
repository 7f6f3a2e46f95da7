//! What a server of the database holds: the log, and the rows that a change to them is in one transaction with.

use std::collections::{BTreeMap, BTreeSet};

use super::{issuing::Family, taking_back::Party};
use crate::log::Ledger;

#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) ledger: Ledger,
    /// Keys whose row says that they have ended.
    pub(super) ended: BTreeSet<usize>,
    pub(super) generations: BTreeMap<Party, u64>,
    pub(super) families: Vec<Family>,
}

impl Rows {
    /// The number of the newest entry.
    pub(super) fn head(&self) -> u64 {
        self.ledger.head().number
    }

    pub(super) fn generation(&self, party: Party) -> u64 {
        self.generations.get(&party).copied().unwrap_or(1)
    }
}
