//! Which session a secret finds: the question of every request. It is two plain reads, the pointer and then the session, and
//! those that are asked for at once go to Redis together: a script each costs both sides more (`cargo xtask bench sessions`).
//!
//! Two reads are as exact as a script: a pointer never changes, and one command reads a session, with its current secret, as
//! of one moment. A secret that is not the current one is left to the script, which sees the former ones as well.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, pipe};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::error::Failure;
use super::keys::{parse_target, secret_key};
use super::link::Link;
use super::record::{self, FIELDS};
use super::{reply, scripts};
use crate::domain::SecretDigest;
use crate::store::Found;
use crate::store::row::milliseconds;

/// Lookups that go to Redis together at most, and that wait to.
const MOST: usize = 256;
/// Batches under way at once. What is asked for meanwhile goes together when one is back: a batch costs as much as some lookups.
const UNDER_WAY: usize = 2;

/// Cloned freely.
#[derive(Clone)]
pub(super) struct Lookups(mpsc::Sender<Lookup>);

/// What [`Lookups`] are answered by.
pub(super) struct Answering(mpsc::Receiver<Lookup>);

struct Lookup {
    secret: SecretDigest,
    answer: oneshot::Sender<Result<Value, Failure>>,
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
        let fields = match answered.await.map_err(|_| gone())?? {
            // No pointer.
            Value::Nil => return Ok(None),
            fields => reply::array(fields)?,
        };
        match fields.split_first() {
            // Ended, or swept.
            Some((Value::Nil, _)) => Ok(None),
            Some((Value::BulkString(current), fields)) if current == secret.as_bytes() => {
                let session = record::session(fields)?;
                let is_over = now >= session.absolute_expires_at;
                Ok((!is_over).then_some(Found { session, successors: Vec::new() }))
            }
            // Rare, and some kilobytes that every lookup would carry along.
            _ => Box::pin(by_former(to, &secret, now)).await,
        }
    }
}

async fn by_former(
    to: &mut MultiplexedConnection,
    secret: &SecretDigest,
    now: OffsetDateTime,
) -> Result<Option<Found>, Failure> {
    let mut script = scripts::FIND.key(secret_key(secret));
    script.arg(milliseconds(now)).arg(secret.as_bytes());
    reply::found(script.invoke_async(to).await?)
}

impl Answering {
    /// As long as the process lives.
    pub(super) async fn keep(mut self, link: Link) {
        let mut under_way = FuturesUnordered::new();
        let mut together = Vec::new();
        loop {
            tokio::select! {
                number = self.0.recv_many(&mut together, MOST), if under_way.len() < UNDER_WAY => {
                    if number == 0 {
                        // The store is gone, and with it everybody who could ask.
                        return std::future::pending().await;
                    }
                    under_way.push(answer(link.clone(), std::mem::take(&mut together)));
                }
                Some(()) = under_way.next() => {}
            }
        }
    }
}

/// Whoever does not wait any more is not asked for.
async fn answer(link: Link, mut lookups: Vec<Lookup>) {
    lookups.retain(|lookup| !lookup.answer.is_closed());
    let within = link.timeout();
    let answers = match link.connection() {
        Ok((to, _)) => timeout(within, read(to, &lookups)).await.unwrap_or(Err(Failure::Late(within))),
        Err(down) => Err(down),
    };
    // Whoever left in the meantime does not take it.
    match answers {
        Ok(answers) => {
            for (lookup, said) in lookups.into_iter().zip(answers) {
                let _ = lookup.answer.send(said);
            }
        }
        Err(failure) => {
            for lookup in lookups {
                let _ = lookup.answer.send(Err(failure.clone()));
            }
        }
    }
}

/// For each lookup the current secret and [`FIELDS`] of the session that its pointer leads to, or nil.
async fn read(
    mut to: MultiplexedConnection,
    lookups: &[Lookup],
) -> Result<Vec<Result<Value, Failure>>, Failure> {
    let mut pointers = pipe();
    for lookup in lookups {
        pointers.cmd("GET").arg(secret_key(&lookup.secret));
    }
    let pointers: Vec<Result<Value, RedisError>> = pointers.ignore_errors().query_async(&mut to).await?;
    let mut sessions = pipe();
    let mut answers = Vec::with_capacity(lookups.len());
    let mut asked = Vec::with_capacity(lookups.len());
    for (place, pointer) in pointers.into_iter().enumerate() {
        answers.push(match target(pointer) {
            Ok(Some(key)) => {
                sessions.cmd("HMGET").arg(key).arg("secret").arg(&FIELDS);
                asked.push(place);
                Ok(Value::Nil)
            }
            Ok(None) => Ok(Value::Nil),
            Err(failure) => Err(failure),
        });
    }
    if asked.is_empty() {
        return Ok(answers);
    }
    let sessions: Vec<Result<Value, RedisError>> = sessions.ignore_errors().query_async(&mut to).await?;
    for (place, session) in asked.into_iter().zip(sessions) {
        if let Some(answer) = answers.get_mut(place) {
            *answer = session.map_err(Failure::from);
        }
    }
    Ok(answers)
}

/// The key of the session that a pointer leads to.
fn target(pointer: Result<Value, RedisError>) -> Result<Option<String>, Failure> {
    let Some(text) = reply::bytes_if_any(pointer?)? else { return Ok(None) };
    let (bucket, id) = parse_target(&text)?;
    Ok(Some(bucket.session_key(&id)))
}
