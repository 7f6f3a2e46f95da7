//! Which session a secret finds: the question of every request. It is one key, read by itself, and those that are asked for
//! at once go to Redis in one command: a command each, or a script, costs both sides more (`cargo xtask bench sessions`).
//!
//! One key is as exact as a script, since it is read as of one moment. That of a former secret leads to its session; what it
//! still opens is left to the script.

use chassis::telemetry::traces;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, cmd, pipe};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

use super::error::Failure;
use super::keys::{secret_key, shard_key};
use super::link::Link;
use super::{record, reply, scripts};
use crate::domain::{SecretDigest, SessionId};
use crate::store::row::milliseconds;
use crate::store::{Found, StoreError};

/// Lookups that go to Redis together at most, and that wait to.
const MOST: usize = 256;

/// Cloned freely.
#[derive(Clone)]
pub(super) struct Lookups {
    link: Link,
    asking: mpsc::Sender<Lookup>,
}

/// What [`Lookups`] are answered by.
pub(super) struct Answering {
    link: Link,
    asked: mpsc::Receiver<Lookup>,
}

/// What is kept under a secret.
type Kept = Result<Option<Vec<u8>>, Failure>;

struct Lookup {
    secret: SecretDigest,
    answer: oneshot::Sender<Kept>,
}

pub(super) fn lookups(link: &Link) -> (Lookups, Answering) {
    let (asking, asked) = mpsc::channel(MOST);
    (Lookups { link: link.clone(), asking }, Answering { link: link.clone(), asked })
}

impl Lookups {
    /// Whom a secret finds, as [`crate::store::SessionStore::find`] says.
    pub(super) fn find(
        &self,
        secret: SecretDigest,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Option<Found>, StoreError>> {
        traces::storing("redis", "find", async move {
            // Nobody's, or its session was ended.
            let Some(text) = self.kept(secret).await? else { return Ok(None) };
            if let Some(id) = record::former(&text)? {
                // Rare, and some kilobytes that every lookup would carry along.
                let former = |mut to| async move { by_former(&mut to, &id, &secret, now).await };
                return Ok(Box::pin(self.link.ask(1, former)).await?);
            }
            let session = record::session(&text)?;
            let is_over = now >= session.absolute_expires_at;
            Ok((!is_over).then_some(Found { session, successors: Vec::new() }))
        })
    }

    async fn kept(&self, secret: SecretDigest) -> Kept {
        let (answer, answered) = oneshot::channel();
        let gone = || Failure::Down("nobody looks sessions up any more".into());
        let waiting = self.link.wait(1)?;
        self.asking.send(Lookup { secret, answer }).await.map_err(|_| gone())?;
        let kept = answered.await.map_err(|_| gone())?;
        waiting.over();
        kept
    }
}

async fn by_former(
    to: &mut MultiplexedConnection,
    id: &SessionId,
    secret: &SecretDigest,
    now: OffsetDateTime,
) -> Result<Option<Found>, Failure> {
    let mut script = scripts::FIND.key(shard_key(id.shard()));
    script.arg(milliseconds(now)).arg(id.as_str()).arg(secret.as_bytes());
    reply::found(script.invoke_async(to).await?)
}

impl Answering {
    /// As long as the process lives. What is asked for while one command is under way goes together in the next: a command
    /// costs as much as some lookups.
    pub(super) async fn keep(mut self) {
        let mut together = Vec::new();
        while let Some(first) = self.asked.recv().await {
            together.push(first);
            // What is there to be read on connections joins them: once around for who reads it, once for who then asks.
            for _ in 0..2 {
                yield_now().await;
            }
            while together.len() < MOST
                && let Ok(lookup) = self.asked.try_recv()
            {
                together.push(lookup);
            }
            // Whoever does not wait any more is not asked for.
            together.retain(|lookup| !lookup.answer.is_closed());
            let calls = u32::try_from(together.len()).unwrap_or(u32::MAX);
            match self.link.ask(calls, |to| read(to, &together)).await {
                Ok(answers) => {
                    for (lookup, kept) in together.drain(..).zip(answers) {
                        // Whoever left in the meantime does not take it.
                        let _ = lookup.answer.send(kept);
                    }
                }
                Err(failure) => {
                    // Who came meanwhile has waited for that as well.
                    while matches!(failure, Failure::Late(_))
                        && let Ok(lookup) = self.asked.try_recv()
                    {
                        together.push(lookup);
                    }
                    for lookup in together.drain(..) {
                        let _ = lookup.answer.send(Err(failure.clone()));
                    }
                }
            }
        }
        // The store is gone, and with it everybody who could ask.
        std::future::pending().await
    }
}

async fn read(mut to: MultiplexedConnection, lookups: &[Lookup]) -> Result<Vec<Kept>, Failure> {
    if lookups.is_empty() {
        return Ok(Vec::new());
    }
    let mut keys = cmd("MGET");
    for lookup in lookups {
        keys.arg(secret_key(&lookup.secret));
    }
    let Value::Array(kept) = keys.query_async(&mut to).await? else { return Err(Failure::unknown()) };
    if kept.len() != lookups.len() {
        return Err(Failure::unknown());
    }
    let mut kept: Vec<Kept> = kept.into_iter().map(reply::bytes_if_any).collect();
    // `MGET` says nothing of a key that it cannot read, too.
    let nothing = || lookups.iter().zip(0..).filter(|(_, place)| matches!(kept.get(*place), Some(Ok(None))));
    let mut by_itself = pipe();
    let places: Vec<usize> = nothing()
        .map(|(lookup, place)| {
            by_itself.cmd("GET").arg(secret_key(&lookup.secret));
            place
        })
        .collect();
    if !places.is_empty() {
        let said: Vec<Result<Value, RedisError>> = by_itself.ignore_errors().query_async(&mut to).await?;
        for (place, said) in places.into_iter().zip(said) {
            if let Some(kept) = kept.get_mut(place) {
                *kept = said.map_err(Failure::from).and_then(reply::bytes_if_any);
            }
        }
    }
    Ok(kept)
}
