//! Endings while one gateway stands still.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::json;

use super::{
    LEASE, Revoked, Seen,
    beside::Floor,
    clients::{Application, Gateway},
    pace,
};
use crate::report::{milliseconds, percentile};

/// What the slowest may take besides a lease: the margin of the specification, and what the answer takes.
const MARGIN: Duration = Duration::from_millis(500);
/// Endings that may wait for who stands still: one at each auth-service, and one that was under way.
const MOST_SLOW: usize = 3;

/// What was taken back while a gateway stood still that had let all of it in.
pub(super) struct Without {
    revoked: Revoked,
    /// What that gateway said of it when it went on, and once more when it served again.
    gone_on: Seen,
}

pub(super) async fn without(
    application: &Application,
    floor: &mut Floor,
    gateways: &[Arc<Gateway>],
    standing: usize,
    tokens: Vec<String>,
    go_on: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Without> {
    let mut others = gateways.to_vec();
    let standing = others.remove(standing);
    let live = application.token(others.first().context("no gateway")?).await?;
    let mut revoked = Revoked::default();
    // Whatever comes of it, the gateway goes on.
    let taken_back = async {
        let mut pace = pace();
        for token in &tokens {
            pace.tick().await;
            revoked.take_back(application, floor, &others, token).await?;
        }
        anyhow::Ok(())
    };
    let taken_back = taken_back.await;
    go_on()?;
    taken_back?;
    let mut gone_on = Seen::default();
    for token in &tokens {
        gone_on.add(standing.call(token).await?);
    }
    let until = Instant::now() + 4 * LEASE;
    while standing.call(&live).await? != 200 {
        ensure!(Instant::now() < until, "a gateway that went on serves nobody");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for token in &tokens {
        gone_on.add(standing.call(token).await?);
    }
    Ok(Without { revoked, gone_on })
}

impl Without {
    pub(super) fn accepted(&self) -> usize {
        self.revoked.seen.accepted + self.gone_on.accepted
    }

    fn slow(&self) -> usize {
        self.revoked.took.iter().filter(|took| **took > Duration::from_secs(1)).count()
    }

    /// No ending waits for more than the lease of whoever stands still, which holds one up at least: else nobody stood still.
    pub(super) fn is_bounded(&self) -> anyhow::Result<()> {
        let (most, bound) = (self.most(), LEASE + MARGIN);
        ensure!(
            most <= bound,
            "the slowest acknowledgement took {:.0} ms: above {bound:?}",
            milliseconds(most)
        );
        // Once that lease is over endings wait for nobody.
        let slow = self.slow();
        ensure!(
            (1..=MOST_SLOW).contains(&slow),
            "{slow} acknowledgements took over a second: not 1 to {MOST_SLOW}"
        );
        Ok(())
    }

    fn most(&self) -> Duration {
        self.revoked.took.iter().max().copied().unwrap_or_default()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({ "revocations": self.revoked.took.len(), "accepted_afterwards": self.revoked.seen.accepted,
            "accepted_when_it_went_on": self.gone_on.accepted, "over_a_second": self.slow(), "most_ms": milliseconds(self.most()),
            "p50_ms": milliseconds(percentile(&self.revoked.took, 50)), "flush_ms": milliseconds(self.revoked.beside.spread().flush.p50) })
    }
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} revocations, {} accepted, {} took over a second, the slowest {:.0} ms, p50 {:.2} ms; when it went on it accepted {} of these; beside them {}",
            self.revoked.took.len(),
            self.revoked.seen.accepted,
            self.slow(),
            milliseconds(self.most()),
            milliseconds(percentile(&self.revoked.took, 50)),
            self.gone_on.accepted,
            self.revoked.beside
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_waits_for_a_lease_and_no_longer() {
        let bounded = |slowest: Duration| {
            let took = vec![Duration::from_millis(2), slowest];
            let revoked = Revoked { took, ..Revoked::default() };
            Without { revoked, gone_on: Seen::default() }.is_bounded().is_ok()
        };
        assert!(bounded(LEASE + MARGIN) && bounded(LEASE / 2));
        assert!(!bounded(LEASE + MARGIN + Duration::from_millis(1)) && !bounded(2 * LEASE));
        // Nobody stood still.
        assert!(!bounded(Duration::from_millis(2)));
    }
}
