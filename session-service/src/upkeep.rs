//! When upkeep happens: the rounds of [`crate::flows`], as long as the process lives.

use std::sync::Arc;
use std::time::Duration;

use chassis::lifecycle::Lifecycle;
use chassis::status::chain;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use crate::flows::Sessions;
use crate::store::Swept;

/// Ends when the process drains. A round that fails is logged and tried again in the next.
pub(crate) async fn run(sessions: Arc<Sessions>, sweep_every: Duration, lifecycle: Lifecycle) {
    let draining = lifecycle.draining();
    let flush_every = sessions.lifetimes().activity_granularity().max(Duration::from_secs(1));
    // A process that has just begun knows of no activity; what there is to delete, it may delete at once.
    let (mut flush, mut sweep) =
        (interval_at(Instant::now() + flush_every, flush_every), interval(sweep_every));
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let round = tokio::select! {
            () = draining.cancelled() => return,
            () = sessions.somebody_returned() => sessions.write_returned().await.map(|()| Swept::default()),
            _ = flush.tick() => sessions.flush_activity().await,
            _ = sweep.tick() => sessions.sweep().await,
        };
        match round {
            Ok(swept) => tracing::debug!(?swept, "upkeep"),
            Err(error) => tracing::warn!(error = %chain(&error), "upkeep failed; it is tried again"),
        }
    }
}
