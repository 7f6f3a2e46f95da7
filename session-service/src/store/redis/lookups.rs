//! Which session a secret finds: the question of every request. It is one key, read by itself, and those that are asked for
//! at once go to Redis in one command: a command each, or a script, costs both sides more (`cargo xtask bench sessions`).
//!
//! One key is as exact as a script, since it is read as of one moment. That of a former secret leads to its session; what it
//! still opens is left to the script.

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, cmd, pipe};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::error::Failure;
use super::keys::{secret_key, shard_key};
use super::link::Link;
use super::{record, reply, scripts};
use crate::domain::{SecretDigest, SessionId};
use crate::store::Found;
use crate::store::row::milliseconds;

/// Lookups that go to Redis together at most, and that wait to.
const MOST: usize = 256;

/// Cloned freely.
#[derive(Clone)]
pub(super) struct Lookups(mpsc::Sender<Lookup>);

/// What [`Lookups`] are answered by.
pub(super) struct Answering(mpsc::Receiver<Lookup>);

/// What is kept under a secret.
type Kept = Result<Option<Vec<u8>>, Failure>;

struct Lookup {
    secret: SecretDigest,
    answer: oneshot::Sender<Kept>,
}

pub(super) fn lookups() -> (Lookups, Answering) {
    let (asking, asked) = mpsc::channel(MOST);
    (Lookups(asking), Answering(asked))
}

impl Lookups {
    /// Under its caller's deadline.
    pub(super) async fn find(
        &self,
        to: &mut MultiplexedConnection,
        secret: SecretDigest,
        now: OffsetDateTime,
    ) -> Result<Option<Found>, Failure> {
        let (answer, answered) = oneshot::channel();
        let gone = || Failure::Down("nobody looks sessions up any more".into());
        self.0.send(Lookup { secret, answer }).await.map_err(|_| gone())?;
        // Nobody's, or its session was ended.
        let Some(text) = answered.await.map_err(|_| gone())?? else { return Ok(None) };
        if let Some(id) = record::former(&text)? {
            // Rare, and some kilobytes that every lookup would carry along.
            return Box::pin(by_former(to, &id, &secret, now)).await;
        }
        let session = record::session(&text)?;
        let is_over = now >= session.absolute_expires_at;
        Ok((!is_over).then_some(Found { session, successors: Vec::new() }))
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
    pub(super) async fn keep(mut self, link: Link) {
        let mut together = Vec::new();
        while let Some(first) = self.0.recv().await {
            together.push(first);
            // What is there to be read on connections joins it: once around for who reads that, once for who then asks.
            for _ in 0..2 {
                yield_now().await;
            }
            while together.len() < MOST
                && let Ok(lookup) = self.0.try_recv()
            {
                together.push(lookup);
            }
            answer(&link, &mut together).await;
        }
        // The store is gone, and with it everybody who could ask.
        std::future::pending().await
    }
}

/// Whoever does not wait any more is not asked for.
async fn answer(link: &Link, lookups: &mut Vec<Lookup>) {
    lookups.retain(|lookup| !lookup.answer.is_closed());
    let within = link.timeout();
    let answers = match link.connection() {
        Ok((to, _)) => timeout(within, read(to, lookups)).await.unwrap_or(Err(Failure::Late(within))),
        Err(down) => Err(down),
    };
    // Whoever left in the meantime does not take it.
    match answers {
        Ok(answers) => {
            for (lookup, kept) in lookups.drain(..).zip(answers) {
                let _ = lookup.answer.send(kept);
            }
        }
        Err(failure) => {
            for lookup in lookups.drain(..) {
                let _ = lookup.answer.send(Err(failure.clone()));
            }
        }
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
