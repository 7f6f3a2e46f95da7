//! The way to Redis, and the breaker in it. There is one connection that everybody shares and one task that makes it: a call
//! that finds none fails at once, and nobody waits for a reconnect. What timed out may have run, so nothing is sent twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::lifecycle::Readiness;
use chassis::telemetry::traces;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::error::Failure;
use super::fitness::{self, Unfit};
use crate::store::StoreError;

/// Calls in a row without an answer in time after which nobody else is made to wait for one.
const MOST_LATE: u32 = 3;
/// Who leaves after waiting for so much of the deadline (1/LONG) has had no answer in time either.
const LONG: u32 = 4;
/// How often a server that answers is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often one that does not is asked again.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(250);

/// Cloned freely.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    client: Client,
    timeout: Duration,
    state: Mutex<State>,
    lost: Notify,
}

/// A call under way. A caller who gives up before our own deadline has waited in vain all the same.
struct Waiting<'a> {
    link: &'a Link,
    number: u64,
    since: Instant,
    is_answered: bool,
}

impl Waiting<'_> {
    fn answered(mut self, failure: Option<&Failure>) {
        self.is_answered = true;
        self.link.note(self.number, failure);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        if !self.is_answered && waited >= self.link.0.timeout / LONG {
            self.link.note(self.number, Some(&Failure::Late(waited)));
        }
    }
}

enum State {
    Up { connection: MultiplexedConnection, number: u64, late: u32 },
    Down { reason: Arc<str>, number: u64 },
}

impl Link {
    /// Down until somebody makes a connection.
    pub(super) fn new(client: Client, timeout: Duration) -> Link {
        let state = Mutex::new(State::Down { reason: "not connected yet".into(), number: 0 });
        Link(Arc::new(Inner { client, timeout, state, lost: Notify::new() }))
    }

    /// How long an answer is waited for.
    pub(super) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Does `work` until the deadline. `operation` is what traces call it.
    pub(super) fn run<T, F>(
        &self,
        operation: &'static str,
        work: impl FnOnce(MultiplexedConnection) -> F,
    ) -> impl Future<Output = Result<T, StoreError>>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let done = async move {
            let (connection, number) = self.connection()?;
            let within = self.0.timeout;
            let waiting = Waiting { link: self, number, since: Instant::now(), is_answered: false };
            let done = timeout(within, work(connection)).await.unwrap_or(Err(Failure::Late(within)));
            waiting.answered(done.as_ref().err());
            Ok(done?)
        };
        traces::storing("redis", operation, done)
    }

    pub(super) fn connection(&self) -> Result<(MultiplexedConnection, u64), Failure> {
        match &*self.state() {
            State::Up { connection, number, .. } => Ok((connection.clone(), *number)),
            State::Down { reason, .. } => Err(Failure::Down(Arc::clone(reason))),
        }
    }

    /// What came of a call on the connection of this number.
    fn note(&self, of: u64, failure: Option<&Failure>) {
        let mut state = self.state();
        let State::Up { number, late, .. } = &mut *state else { return };
        if *number != of {
            return;
        }
        match failure {
            Some(Failure::Late(_)) => *late += 1,
            // Of a connection that is gone: it says nothing about this one.
            Some(Failure::Down(_)) => return,
            Some(failure) if failure.is_of_the_server() => {
                let reason = failure.to_string();
                self.open(&mut state, &reason);
                return;
            }
            _ => *late = 0,
        }
        if *late >= MOST_LATE {
            let reason = format!("{MOST_LATE} calls in a row had no answer in time");
            self.open(&mut state, &reason);
        }
    }

    /// Lets go of the connection: from now on calls fail at once.
    fn open(&self, state: &mut State, reason: &str) {
        let (State::Up { number, .. } | State::Down { number, .. }) = *state;
        *state = State::Down { reason: reason.into(), number };
        self.0.lost.notify_one();
    }

    /// Makes a connection to a server that is fit.
    pub(super) async fn connect(&self) -> Result<(), Unfit> {
        let within = self.0.timeout;
        let connecting = async {
            // The deadline here is for all of it.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            let mut connection = self.0.client.get_multiplexed_async_connection_with_config(&config).await?;
            if !fitness::check(&mut connection).await?.is_persistent {
                tracing::warn!(
                    "Redis keeps no append-only file: when it dies, sessions and endings since its last snapshot are lost"
                );
            }
            Ok(connection)
        };
        let made = timeout(within, connecting).await.unwrap_or(Err(Unfit::Silent(Failure::Late(within))));
        let mut state = self.state();
        let (State::Up { number, .. } | State::Down { number, .. }) = *state;
        match made {
            Ok(connection) => {
                *state = State::Up { connection, number: number + 1, late: 0 };
                Ok(())
            }
            Err(unfit) => {
                *state = State::Down { reason: unfit.to_string().into(), number };
                Err(unfit)
            }
        }
    }

    /// Looks at the server from time to time, and makes a new connection when there is none: as long as the process lives.
    pub(super) async fn keep(self, readiness: Readiness) {
        loop {
            tokio::select! {
                () = self.0.lost.notified() => {}
                () = sleep(LOOK_EVERY) => {}
            }
            if self.look().await.is_ok() {
                continue;
            }
            while let Err(unfit) = self.connect().await {
                if let Unfit::Evicts { .. } | Unfit::Evicted { .. } = unfit {
                    tracing::error!(reason = %unfit, "the session store is not used");
                }
                readiness.not_ready(unfit.to_string());
                sleep(ASK_EVERY).await;
            }
            readiness.ready();
        }
    }

    /// Whether the server still answers and is still fit; if not, the connection is let go of.
    async fn look(&self) -> Result<(), ()> {
        let (mut connection, number) = self.connection().map_err(|_| ())?;
        let within = self.0.timeout;
        let looked = timeout(within, fitness::check(&mut connection)).await;
        let Err(unfit) = looked.unwrap_or(Err(Unfit::Silent(Failure::Late(within)))) else { return Ok(()) };
        let mut state = self.state();
        if matches!(*state, State::Up { number: now, .. } if now == number) {
            self.open(&mut state, &unfit.to_string());
        }
        Err(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
