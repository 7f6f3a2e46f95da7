//! Keeps the connection to one replica: connects, asks after its health, takes it out and brings it back.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connector::{Connector, Dispatch};
use super::link::{Health, Link};
use super::roster::{Asked, Key, Roster, SILENT, Standing};
use crate::entropy::{Entropy as _, SystemEntropy};

/// Both together are how long a replica that is silent without a call under way stays in.
const CHECK_EVERY: Duration = Duration::from_millis(400);
const CHECK_PATIENCE: Duration = Duration::from_millis(500);
/// One that starts is ready soon: it is asked often, and for a while calls wait for it.
const CHECK_UNREADY: Duration = Duration::from_millis(100);
const STARTING: Duration = Duration::from_secs(1);
/// A silent one (stopped, or out of processor time) may go on where it was; longer than this and it is not that.
const SILENCE: Duration = Duration::from_secs(5);
/// Between attempts to connect: at first only as long as keeps a herd from hammering.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A connection that ends sooner is followed by another only after a breath, or there could be thousands a second.
const SHORT: Duration = Duration::from_secs(1);
const SHORT_PAUSE: Duration = Duration::from_millis(20);
/// A refusal that takes no longer costs a call nothing that it would notice.
const AT_ONCE: Duration = Duration::from_millis(300);

/// One replica, and what is needed to keep it.
pub(super) struct Replica {
    pub(super) key: Key,
    pub(super) removed: CancellationToken,
    pub(super) roster: Arc<Roster>,
    pub(super) connector: Arc<Connector>,
    pub(super) ejections: Counter<u64>,
    pub(super) neighbour: Arc<str>,
}

/// How a connection ended.
enum End {
    /// It was good, and was closed or broke.
    Good,
    /// There was none that was good, and why.
    Bad(String, Asked),
}

impl Replica {
    /// Until it is removed.
    pub(super) async fn run(self) {
        tokio::select! {
            () = self.keep() => {}
            () = self.removed.cancelled() => {}
        }
    }

    async fn keep(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let end = match self.connector.connect(&self.key.1).await {
                // Who refuses at once answers at once when it is back: a call may well wait for that. A handshake is dear
                // for both sides, and one that fails will mostly fail again.
                Err(error) if error.is_refusal() && began.elapsed() < AT_ONCE => {
                    End::Bad(error.to_string(), Asked::From(Instant::now() + spread(SHORT_PAUSE)))
                }
                Err(error) => End::Bad(error.to_string(), Asked::Never),
                Ok((link, dispatch)) => self.watch(&link, dispatch).await,
            };
            match end {
                End::Good => {
                    pause = FIRST_PAUSE;
                    self.stands(Standing::Coming);
                    if began.elapsed() < SHORT {
                        tokio::time::sleep(SHORT_PAUSE).await;
                    }
                }
                End::Bad(reason, asked) => {
                    let mut wanted = self.roster.wanted();
                    self.stands(Standing::Out { reason: reason.clone(), asked });
                    let called_for = async {
                        match asked {
                            Asked::From(again) => tokio::time::sleep_until(again).await,
                            Asked::Never | Asked::Now => std::future::pending().await,
                        }
                        wanted.changed().await.is_ok()
                    };
                    tokio::select! {
                        () = tokio::time::sleep(spread(pause)) => {}
                        true = called_for => self.stands(Standing::Out { reason, asked: Asked::Now }),
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Follows a connection to its end.
    async fn watch(&self, link: &Arc<Link>, dispatch: Dispatch) -> End {
        let _closed = Closed(link);
        let mut dispatch = pin!(dispatch);
        let bad = |reason: &str| End::Bad(reason.to_owned(), Asked::Never);
        let broken = "the connection broke off";
        let began = Instant::now();
        let (mut wanted, mut called_for) = (self.roster.wanted(), false);
        let (mut was_ready, mut shown, mut patience) = (false, None, CHECK_PATIENCE);
        loop {
            let health = tokio::select! {
                health = link.check(patience) => health,
                _ = &mut dispatch => Health::Broken,
            };
            was_ready |= health == Health::Serving;
            if health == Health::Silent && patience == CHECK_PATIENCE {
                self.eject("silent");
            }
            let starts = health == Health::NotServing && !was_ready && began.elapsed() < STARTING;
            let news = shown.replace((health, starts)) != Some((health, starts));
            // Who called for it waits for the answer, also for the same one.
            if (news || std::mem::take(&mut called_for))
                && let Some(standing) = standing(health, starts, was_ready, link)
            {
                self.roster.set(&self.key, &self.removed, standing);
            }
            let pause = match health {
                Health::Serving => CHECK_EVERY,
                Health::NotServing => CHECK_UNREADY,
                // The next check waits longer: should the process go on, its answer is what tells.
                Health::Silent if patience == CHECK_PATIENCE => {
                    patience = SILENCE;
                    continue;
                }
                Health::Silent => {
                    link.cut();
                    return bad(SILENT);
                }
                Health::Broken => {
                    link.retire();
                    return if was_ready { End::Good } else { bad(broken) };
                }
            };
            patience = CHECK_PATIENCE;
            tokio::select! {
                _ = &mut dispatch => link.retire(),
                () = link.doubt.notified() => {}
                () = tokio::time::sleep(pause) => {}
                // A call finds nobody: it may have become ready since it was asked.
                Ok(()) = wanted.changed(), if health == Health::NotServing => called_for = true,
            }
            if !link.is_open() {
                return if was_ready { End::Good } else { bad(broken) };
            }
        }
    }

    fn stands(&self, standing: Standing) {
        self.roster.set(&self.key, &self.removed, standing);
    }

    fn eject(&self, reason: &'static str) {
        tracing::warn!(peer = &*self.neighbour, reason, "a replica is left out");
        let labels = [KeyValue::new("peer", self.neighbour.to_string()), KeyValue::new("reason", reason)];
        self.ejections.add(1, &labels);
    }
}

/// Closes a link with the end of what takes its calls, whichever way that comes.
struct Closed<'a>(&'a Link);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What a health check makes of a replica; a broken connection makes nothing of it yet.
fn standing(health: Health, starts: bool, was_ready: bool, link: &Arc<Link>) -> Option<Standing> {
    match health {
        Health::Serving => Some(Standing::Serving(link.clone())),
        Health::NotServing if starts => Some(Standing::Coming),
        Health::NotServing if was_ready => Some(Standing::Leaving(link.clone())),
        Health::NotServing => {
            let reason = "it says that it is not ready".to_owned();
            Some(Standing::Out { reason, asked: Asked::From(Instant::now()) })
        }
        Health::Silent => Some(Standing::Silent(link.clone())),
        Health::Broken => None,
    }
}

/// Up to a quarter more, so that those who lost the same replica do not come back together.
fn spread(pause: Duration) -> Duration {
    let mut random = [0_u8; 1];
    SystemEntropy.fill(&mut random);
    pause + pause / 1024 * u32::from(u8::from_ne_bytes(random))
}
