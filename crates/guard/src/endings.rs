//! What is known of tokens that were taken back. The guard knows no transport.

use std::time::Duration;

use async_trait::async_trait;
use feed::{Credential, Verdict, Wall};

use crate::SourceUnavailable;

/// The issuer's endings, watched.
#[async_trait]
pub trait Endings: Send + Sync + 'static {
    /// From memory, under a lease on the change feed. `None`: there is no lease, so nobody here knows.
    fn judge(&self, credential: &Credential) -> Option<Verdict>;

    /// The answer of somebody who may give one. Bounded, in time and in how many may ask at once.
    async fn ask(&self, credential: &Credential) -> Result<Verdict, SourceUnavailable>;

    /// What is remembered without a lease, if the last lease ended no longer ago than `stale_for`. `None`: it may not be
    /// used.
    fn judge_stale(&self, credential: &Credential, stale_for: Duration) -> Option<Verdict>;

    /// By how much the issuer's clock is ahead of this process's, which says `now`: expiry is judged by the later of both, and never
    /// by an earlier time than before.
    fn ahead(&self, _now: Wall) -> Duration {
        Duration::ZERO
    }

    /// Whether this process's clock, which says `now`, is so far ahead of the issuer's that it says nothing about expiry.
    fn is_astray(&self, _now: Wall) -> bool {
        false
    }
}
