//! The changes: a script each, and a login two if the session that it replaces is another subject's and so elsewhere.

use redis::aio::MultiplexedConnection;
use time::OffsetDateTime;

use super::error::Failure;
use super::keys::{shard_key, ttl};
use super::{record, reply, scripts};
use crate::domain::{AtLimit, EndReason, SecretDigest, SessionId, Shard, Subject};
use crate::store::row::milliseconds;
use crate::store::{Created, Ended, Ending, MOST_SUCCESSORS, NewSession, Rotated, Rotation};

pub(super) async fn create(
    to: &mut MultiplexedConnection,
    new: &NewSession,
    attributes: &str,
) -> Result<Created, Failure> {
    let session = &new.session;
    let shard = Shard::of(&session.origin.subject);
    if session.id.shard() != shard || new.secret.shard() != shard {
        return Err(Failure::impossible("a session whose id or secret was made for another subject"));
    }
    let (here, elsewhere) = match new.former {
        Some(former) if former.shard() == shard => (Some(former), None),
        elsewhere => (None, elsewhere),
    };
    let mut script = scripts::CREATE.key(shard_key(shard));
    script
        .arg(milliseconds(new.now))
        .arg(session.id.as_str())
        .arg(session.origin.subject.as_str())
        .arg(&new.proof.jti)
        .arg(milliseconds(new.proof.keep_until))
        .arg(new.limit.most)
        .arg(match new.limit.at_limit {
            AtLimit::EndOldest => "end-oldest",
            AtLimit::Refuse => "refuse",
        })
        .arg(milliseconds(new.idle_since))
        .arg(here.as_ref().map_or_else(Default::default, SecretDigest::as_bytes))
        .arg(new.secret.as_bytes())
        .arg(record::of(session, attributes))
        .arg(milliseconds(session.created_at))
        .arg(milliseconds(session.last_active_at))
        .arg(milliseconds(session.absolute_expires_at))
        .arg(ttl(session.absolute_expires_at, new.now))
        .arg(ttl(new.proof.keep_until, new.now));
    for activity in &new.activity {
        script.arg(activity.id.as_str()).arg(milliseconds(activity.at));
    }
    let mut created = reply::created(script.invoke_async(to).await?)?;
    if let (Created::Stored { ended }, Some(former)) = (&mut created, elsewhere) {
        ended.splice(0..0, replace(to, &former, new.now).await?);
    }
    Ok(created)
}

async fn replace(
    to: &mut MultiplexedConnection,
    secret: &SecretDigest,
    now: OffsetDateTime,
) -> Result<Vec<Ended>, Failure> {
    let mut script = scripts::REPLACE.key(shard_key(secret.shard()));
    script.arg(milliseconds(now)).arg(secret.as_bytes());
    reply::ended(script.invoke_async(to).await?)
}

pub(super) async fn rotate(to: &mut MultiplexedConnection, rotation: &Rotation) -> Result<Rotated, Failure> {
    let shard = rotation.id.shard();
    if rotation.to.shard() != shard {
        return Err(Failure::impossible("a secret that was made for another subject"));
    }
    let mut script = scripts::ROTATE.key(shard_key(shard));
    script
        .arg(milliseconds(rotation.now))
        .arg(rotation.id.as_str())
        .arg(rotation.from.as_bytes())
        .arg(rotation.to.as_bytes())
        .arg(rotation.sealed.as_bytes())
        .arg(milliseconds(rotation.accepted_until))
        .arg(ttl(rotation.accepted_until, rotation.now))
        .arg(MOST_SUCCESSORS);
    reply::rotated(script.invoke_async(to).await?)
}

pub(super) async fn end(
    to: &mut MultiplexedConnection,
    ending: &Ending,
    reason: EndReason,
    now: OffsetDateTime,
) -> Result<Vec<Ended>, Failure> {
    let (shard, which, id, subject) = match ending {
        Ending::One(id) => (id.shard(), "one", Some(id), None),
        Ending::OneOf(id, subject) => (Shard::of(subject), "one-of", Some(id), Some(subject)),
        Ending::AllOf(subject) => (Shard::of(subject), "all", None, Some(subject)),
        Ending::OthersOf(subject, id) => (Shard::of(subject), "others", Some(id), Some(subject)),
    };
    let mut script = scripts::END.key(shard_key(shard));
    script
        .arg(milliseconds(now))
        .arg(reason.as_str())
        .arg(which)
        .arg(id.map_or("", SessionId::as_str))
        .arg(subject.map_or("", Subject::as_str));
    reply::ended(script.invoke_async(to).await?)
}
