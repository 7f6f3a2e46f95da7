//! Sessions in one Redis server: what was answered survives the end of any of our processes, and of Redis as far as its
//! append-only file does.
//!
//! **Where things are.** A subject is in one of 16 buckets, by its hash, and so is everything that changes together with
//! its sessions. All keys of bucket `n` begin with `latchkey:{session-n}`, and what is in braces decides a Cluster's slot:
//! each script touches one bucket, and so one node.
//!
//! | key | holds |
//! |---|---|
//! | `…:session:ID` | a session's fields, the digest of its current secret among them; once ended it is its own tombstone |
//! | `…:former:ID` | former secrets' digests → rotation, end of the window, sealed successor |
//! | `…:subject:SUBJECT`, `…:all` | ids of sessions that nobody has ended, by age: for limits and lists |
//! | `…:over`, `…:idle`, `…:windows` | ids by absolute expiry, by last activity, former secrets by window: for sweeps |
//! | `…:proofs` | spent proofs, by when they may be forgotten. A proof names its subject, so its bucket is known |
//! | `latchkey:session:id:ID`, `latchkey:session:secret:DIGEST` | the bucket, and for a secret the id: pointers, each anywhere |
//!
//! Pointers are hints. They are written before what they point to and decide nothing: the bucket knows which secret finds
//! which session. One that leads nowhere is nobody's session; an ending that lacks one looks in every bucket.
//!
//! **Time** is the callers'. Every key has a time to live, which only cleans up: it is counted from `now`, a day longer than
//! anything depends on the key, and for a pointer two days, so that no session outlives the way to end it.
//!
//! **Transitions** are scripts. One is two: a login that replaces a session in another bucket. The new session is stored
//! first, the former one is ended second, and only then is the login answered: if it breaks off in between, its caller
//! knows no secret of the new session, and the former one is as if the login had not been.
//!
//! A Cluster needs nothing else of this layout than that pointers and buckets be asked where they are; the script that looks
//! up a former secret asks both. What a failover loses there it may lose in one bucket or pointer and not in another, which
//! is why endings do not trust pointers.

mod error;
mod fitness;
mod keys;
mod link;
mod lookups;
mod open;
mod record;
mod reply;
mod scripts;
mod settings;
mod transition;

use std::collections::BTreeMap;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{Value, pipe};
use time::OffsetDateTime;

use self::error::Failure;
use self::keys::{Bucket, id_key, parse_target, secret_key};
use self::link::Link;
use self::lookups::Lookups;
use super::row::{attributes_text, milliseconds};
use super::{
    Activity, AttributesSet, Created, Ended, Ending, Found, Listing, NewSession, Rotated, Rotation,
    SessionStore, StoreError, Sweep, Swept,
};
use crate::domain::{Attributes, EndReason, SecretDigest, Session, SessionId};

pub use open::OpenError;
pub use settings::RedisSettings;

/// Activity written under one deadline.
const ACTIVITY_BATCH: usize = 500;

/// Cloned freely.
#[derive(Clone)]
pub struct RedisStore {
    link: Link,
    lookups: Lookups,
}

#[async_trait]
impl SessionStore for RedisStore {
    async fn create(&self, new: NewSession) -> Result<Created, StoreError> {
        let attributes = attributes_text(&new.session.attributes)?;
        self.link
            .run("create", |mut to| async move { transition::create(&mut to, &new, &attributes).await })
            .await
    }

    async fn find(&self, secret: SecretDigest, now: OffsetDateTime) -> Result<Option<Found>, StoreError> {
        self.link.run("find", |mut to| async move { self.lookups.find(&mut to, secret, now).await }).await
    }

    async fn get(&self, id: &SessionId, now: OffsetDateTime) -> Result<Option<Session>, StoreError> {
        self.link
            .run("get", |mut to| async move {
                let Some(bucket) = by_id(&mut to, id).await? else { return Ok(None) };
                let mut script = scripts::GET.key(bucket.key());
                script.arg(milliseconds(now)).arg(id.as_str());
                reply::session_if_any(script.invoke_async(&mut to).await?)
            })
            .await
    }

    async fn list(&self, listing: Listing) -> Result<Vec<Session>, StoreError> {
        self.link
            .run("list", |mut to| async move {
                let buckets: Vec<Bucket> = match &listing.subject {
                    Some(subject) => vec![Bucket::of(subject)],
                    None => Bucket::all().collect(),
                };
                let mut sessions = Vec::new();
                for bucket in buckets {
                    let mut script = scripts::LIST.key(bucket.key());
                    script.arg(milliseconds(listing.now)).arg(milliseconds(listing.idle_since));
                    script.arg(listing.subject.as_ref().map_or("", |subject| subject.as_str()));
                    match &listing.after {
                        Some(after) => script.arg(milliseconds(after.created_at)).arg(after.id.as_str()),
                        None => script.arg("").arg(""),
                    };
                    script.arg(listing.most);
                    sessions.extend(reply::sessions(script.invoke_async(&mut to).await?)?);
                }
                sessions.sort_by(|one, other| (other.created_at, &other.id).cmp(&(one.created_at, &one.id)));
                sessions.truncate(usize::try_from(listing.most).unwrap_or(usize::MAX));
                Ok(sessions)
            })
            .await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.link.run("rotate", |mut to| async move { transition::rotate(&mut to, &rotation).await }).await
    }

    async fn end(
        &self,
        ending: Ending,
        reason: EndReason,
        now: OffsetDateTime,
    ) -> Result<Vec<Ended>, StoreError> {
        self.link
            .run("end", |mut to| async move { transition::end(&mut to, &ending, reason, now).await })
            .await
    }

    async fn record_activity(&self, activity: &[Activity]) -> Result<(), StoreError> {
        for batch in activity.chunks(ACTIVITY_BATCH) {
            self.link.run("record_activity", |mut to| async move { record(&mut to, batch).await }).await?;
        }
        Ok(())
    }

    async fn set_attributes(
        &self,
        id: &SessionId,
        expected_version: u64,
        attributes: &Attributes,
        now: OffsetDateTime,
    ) -> Result<AttributesSet, StoreError> {
        let text = attributes_text(attributes)?;
        self.link
            .run("set_attributes", |mut to| async move {
                let Some(bucket) = by_id(&mut to, id).await? else { return Ok(AttributesSet::NotFound) };
                let mut script = scripts::SET_ATTRIBUTES.key(bucket.key());
                script.arg(milliseconds(now)).arg(id.as_str()).arg(expected_version.to_string()).arg(text);
                reply::attributes_set(script.invoke_async(&mut to).await?)
            })
            .await
    }

    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError> {
        self.link.run("sweep", |mut to| async move { swept(&mut to, sweep).await }).await
    }
}

async fn by_secret(
    to: &mut MultiplexedConnection,
    secret: &SecretDigest,
) -> Result<Option<(Bucket, SessionId)>, Failure> {
    let pointer = redis::cmd("GET").arg(secret_key(secret)).query_async(to).await?;
    reply::bytes_if_any(pointer)?.map(|text| parse_target(&text)).transpose()
}

async fn by_id(to: &mut MultiplexedConnection, id: &SessionId) -> Result<Option<Bucket>, Failure> {
    let pointer = redis::cmd("GET").arg(id_key(id)).query_async(to).await?;
    reply::bytes_if_any(pointer)?.map(|text| Bucket::parse(&text)).transpose()
}

async fn record(to: &mut MultiplexedConnection, activity: &[Activity]) -> Result<(), Failure> {
    let mut lookup = pipe();
    for Activity { id, .. } in activity {
        lookup.cmd("GET").arg(id_key(id));
    }
    let pointers: Vec<Value> = lookup.query_async(to).await?;
    let mut buckets: BTreeMap<Bucket, Vec<&Activity>> = BTreeMap::new();
    for (pointer, one) in pointers.into_iter().zip(activity) {
        if let Some(text) = reply::bytes_if_any(pointer)? {
            buckets.entry(Bucket::parse(&text)?).or_default().push(one);
        }
    }
    for (bucket, activity) in buckets {
        let mut script = scripts::RECORD.key(bucket.key());
        for Activity { id, at } in activity {
            script.arg(id.as_str()).arg(milliseconds(*at));
        }
        let _: Value = script.invoke_async(to).await?;
    }
    Ok(())
}

/// Bucket by bucket, until there is as much as may be of each kind.
async fn swept(to: &mut MultiplexedConnection, sweep: Sweep) -> Result<Swept, Failure> {
    let mut total = Swept::default();
    let most = u64::from(sweep.most);
    for bucket in Bucket::all() {
        let mut script = scripts::SWEEP.key(bucket.key());
        script.arg(milliseconds(sweep.now));
        match sweep.idle_before {
            Some(before) => script.arg(milliseconds(before)),
            None => script.arg(""),
        };
        script
            .arg(most.saturating_sub(total.sessions))
            .arg(most.saturating_sub(total.successors))
            .arg(most.saturating_sub(total.proofs));
        let swept = reply::swept(script.invoke_async(to).await?)?;
        total.sessions += swept.sessions;
        total.successors += swept.successors;
        total.proofs += swept.proofs;
    }
    Ok(total)
}
