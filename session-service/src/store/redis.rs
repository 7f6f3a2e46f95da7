//! Sessions in one Redis server: what was answered survives the end of any of our processes, and of Redis as far as its
//! append-only file does.
//!
//! **Where things are.** A subject is in one of 16 shards, by its hash, and so is everything of its sessions: an id and the
//! digest of a secret tell their shard ([`Shard`]). All keys of shard `n` begin with `latchkey:2:{sessions-n}`, where 2 is
//! the layout, and what is in braces decides a Cluster's slot: each script touches one shard, and so one node.
//!
//! | key | holds |
//! |---|---|
//! | `…:secret:DIGEST` | of the current secret: the session as it is answered; of a former one: its id ([`record`]) |
//! | `…:session:ID` | what transitions decide by, the digest of the current secret among it; once ended, the tombstone |
//! | `…:former:ID` | former secrets' digests → rotation, end of the window, sealed successor |
//! | `…:subject:SUBJECT`, `…:all` | ids of sessions that nobody has ended, by age: for limits and lists |
//! | `…:over`, `…:idle`, `…:windows` | ids by absolute expiry, by last activity, former secrets by window: for sweeps |
//! | `…:proofs` | spent proofs, by when they may be forgotten. A proof names its subject, so its shard is known |
//!
//! So the question of every request is one key, read by itself; [`lookups`] asks for many at once.
//!
//! **Time** is the callers'. Every key has a time to live, which only cleans up: it is counted from `now`, a day longer than
//! anything depends on the key.
//!
//! **Transitions** are scripts. One is two: a login that replaces a session in another shard. The new session is stored
//! first, the former one is ended second, and only then is the login answered: if it breaks off in between, its caller
//! knows no secret of the new session, and the former one is as if the login had not been.
//!
//! A Cluster needs nothing else of this layout than that lookups ask each shard where it is. What a failover loses there is
//! of one shard, all of a subject's together.

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
use redis::Value;
use redis::aio::MultiplexedConnection;
use time::OffsetDateTime;

use self::error::Failure;
use self::keys::shard_key;
use self::link::Link;
use self::lookups::Lookups;
use super::row::{attributes_text, milliseconds};
use super::{
    Activity, AttributesSet, Created, Ended, Ending, Found, Listing, NewSession, Rotated, Rotation,
    SessionStore, StoreError, Sweep, Swept,
};
use crate::domain::{Attributes, EndReason, SecretDigest, Session, SessionId, Shard};

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
                let mut script = scripts::GET.key(shard_key(id.shard()));
                script.arg(milliseconds(now)).arg(id.as_str());
                reply::session_if_any(script.invoke_async(&mut to).await?)
            })
            .await
    }

    async fn list(&self, listing: Listing) -> Result<Vec<Session>, StoreError> {
        self.link
            .run("list", |mut to| async move {
                let shards: Vec<Shard> = match &listing.subject {
                    Some(subject) => vec![Shard::of(subject)],
                    None => Shard::all().collect(),
                };
                let mut sessions = Vec::new();
                for shard in shards {
                    let mut script = scripts::LIST.key(shard_key(shard));
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
            self.link
                .run("record_activity", |mut to| async move { record_all(&mut to, batch).await })
                .await?;
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
                let mut script = scripts::SET_ATTRIBUTES.key(shard_key(id.shard()));
                script.arg(milliseconds(now)).arg(id.as_str()).arg(expected_version.to_string()).arg(text);
                reply::attributes_set(script.invoke_async(&mut to).await?)
            })
            .await
    }

    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError> {
        self.link.run("sweep", |mut to| async move { swept(&mut to, sweep).await }).await
    }
}

async fn record_all(to: &mut MultiplexedConnection, activity: &[Activity]) -> Result<(), Failure> {
    let mut shards: BTreeMap<Shard, Vec<&Activity>> = BTreeMap::new();
    for one in activity {
        shards.entry(one.id.shard()).or_default().push(one);
    }
    for (shard, activity) in shards {
        let mut script = scripts::RECORD.key(shard_key(shard));
        for Activity { id, at } in activity {
            script.arg(id.as_str()).arg(milliseconds(*at));
        }
        let _: Value = script.invoke_async(to).await?;
    }
    Ok(())
}

/// Shard by shard, until there is as much as may be of each kind.
async fn swept(to: &mut MultiplexedConnection, sweep: Sweep) -> Result<Swept, Failure> {
    let mut total = Swept::default();
    let most = u64::from(sweep.most);
    for shard in Shard::all() {
        let mut script = scripts::SWEEP.key(shard_key(shard));
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
