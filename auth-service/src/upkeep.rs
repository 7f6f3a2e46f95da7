//! When upkeep happens: signing keys are advanced and expired rows swept as long as the process lives.

use std::{sync::Arc, time::Duration};

use chassis::{lifecycle::Lifecycle, status::chain};
use tokio::time::{MissedTickBehavior, interval};

use crate::flows::{Auth, sweep};

/// How often, and how much at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upkeep {
    /// How often it is looked whether a signing key is due, and what other replicas did.
    pub keys_every: Duration,
    pub sweep_every: Duration,
    pub batch: u32,
}

impl Upkeep {
    /// Ends when the process drains. A round that fails is logged and tried again in the next.
    pub(crate) async fn run(self, auth: Arc<Auth>, lifecycle: Lifecycle) {
        let draining = lifecycle.draining();
        let (mut keys, mut sweeps) = (interval(self.keys_every), interval(self.sweep_every));
        keys.set_missed_tick_behavior(MissedTickBehavior::Delay);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = draining.cancelled() => return,
                _ = keys.tick() => if let Err(error) = auth.keys.advance(auth.past()).await {
                    tracing::warn!(error = %chain(&error), "the signing keys could not be advanced");
                },
                _ = sweeps.tick() => match sweep::sweep(&auth, auth.past(), self.batch).await {
                    Ok(rows) => tracing::debug!(rows, "sweep"),
                    Err(error) => tracing::warn!(error = %chain(&error), "the sweep failed; it is tried again"),
                },
            }
        }
    }
}
