//! What the gateways do meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::clients::{Application, Gateway};

/// Requests with a token that stays good, an open loop at each gateway.
pub(super) struct Background {
    over: Arc<AtomicBool>,
    left_out: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl Background {
    pub(super) async fn start(
        application: &Application,
        gateways: &[Arc<Gateway>],
        rate: u64,
    ) -> anyhow::Result<Self> {
        let background = Self {
            over: Arc::default(),
            left_out: Arc::new(AtomicU64::new(u64::MAX)),
            answered: Arc::default(),
            failed: Arc::default(),
        };
        for (number, gateway) in gateways.iter().enumerate() {
            let token = application.token(gateway).await?;
            let gateway = Arc::clone(gateway);
            let Self { over, left_out, answered, failed } = &background;
            let (over, left_out) = (Arc::clone(over), Arc::clone(left_out));
            let (answered, failed) = (Arc::clone(answered), Arc::clone(failed));
            tokio::spawn(async move {
                let mut beat =
                    tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1).max(1));
                while !over.load(Ordering::Relaxed) {
                    beat.tick().await;
                    if left_out.load(Ordering::Relaxed) == number as u64 {
                        continue;
                    }
                    let (gateway, token) = (Arc::clone(&gateway), token.clone());
                    let (answered, failed) = (Arc::clone(&answered), Arc::clone(&failed));
                    tokio::spawn(async move {
                        let count = if gateway.call(&token).await.is_ok_and(|status| status == 200) {
                            answered
                        } else {
                            failed
                        };
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
        }
        Ok(background)
    }

    /// Nobody waits for a gateway that stands still.
    pub(super) fn leave_out(&self, gateway: usize) {
        self.left_out.store(gateway as u64, Ordering::Relaxed);
    }

    pub(super) fn stop(self) -> (u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}
