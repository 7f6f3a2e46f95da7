//! The changes that take more than one step: pointers first, then what they point to.

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use time::OffsetDateTime;

use super::error::Failure;
use super::keys::{Bucket, id_key, pointer_ttl, secret_key, target_text, ttl};
use super::record::origin_text;
use super::{by_id, by_secret, reply, scripts};
use crate::domain::{AtLimit, EndReason, SecretDigest, SessionId};
use crate::store::row::milliseconds;
use crate::store::{Created, Ended, Ending, MOST_SUCCESSORS, NewSession, Rotated, Rotation};

pub(super) async fn create(
    to: &mut MultiplexedConnection,
    new: &NewSession,
    attributes: &str,
) -> Result<Created, Failure> {
    let session = &new.session;
    let bucket = Bucket::of(&session.origin.subject);
    let former = match &new.former {
        Some(digest) => by_secret(to, digest).await?.map(|(bucket, id)| (bucket, id, *digest)),
        None => None,
    };
    let (here, elsewhere) = match former {
        Some(former) if former.0 == bucket => (Some(former), None),
        elsewhere => (None, elsewhere),
    };

    let live_for = pointer_ttl(session.absolute_expires_at, new.now);
    let secret = target_text(bucket, &session.id);
    let made = [
        point(to, id_key(&session.id), &bucket.text(), live_for).await?,
        point(to, secret_key(&new.secret), &secret, live_for).await?,
    ];

    let mut script = scripts::CREATE.key(bucket.key());
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
        .arg(milliseconds(new.idle_since));
    match &here {
        Some((_, id, digest)) => script.arg(id.as_str()).arg(digest.as_bytes()),
        None => script.arg("").arg(""),
    };
    script
        .arg(milliseconds(session.created_at))
        .arg(milliseconds(session.last_active_at))
        .arg(milliseconds(session.absolute_expires_at))
        .arg(ttl(session.absolute_expires_at, new.now))
        .arg(ttl(new.proof.keep_until, new.now))
        .arg(new.activity.len());
    for activity in &new.activity {
        script.arg(activity.id.as_str()).arg(milliseconds(activity.at));
    }
    script.arg("secret").arg(new.secret.as_bytes()).arg("rotation").arg(0);
    script.arg("subject").arg(session.origin.subject.as_str()).arg("origin").arg(origin_text(session)?);
    script.arg("last_active_at").arg(milliseconds(session.last_active_at));
    script.arg("absolute_expires_at").arg(milliseconds(session.absolute_expires_at));
    script.arg("attributes_version").arg(session.attributes_version).arg("attributes").arg(attributes);

    let created = reply::created(script.invoke_async(to).await?)?;
    let Created::Stored { mut ended } = created else {
        forget(to, made).await;
        return Ok(created);
    };
    if let Some((bucket, id, digest)) = elsewhere {
        ended.splice(0..0, replace(to, bucket, &id, &digest, new.now).await?);
    }
    Ok(Created::Stored { ended })
}

async fn replace(
    to: &mut MultiplexedConnection,
    bucket: Bucket,
    id: &SessionId,
    secret: &SecretDigest,
    now: OffsetDateTime,
) -> Result<Vec<Ended>, Failure> {
    let mut script = scripts::REPLACE.key(bucket.key());
    script.arg(milliseconds(now)).arg(id.as_str()).arg(secret.as_bytes());
    reply::ended(script.invoke_async(to).await?)
}

pub(super) async fn rotate(to: &mut MultiplexedConnection, rotation: &Rotation) -> Result<Rotated, Failure> {
    let Some((bucket, id)) = by_secret(to, &rotation.from).await? else { return Ok(Rotated::NotCurrent) };
    if id != rotation.id {
        return Ok(Rotated::NotCurrent);
    }
    let live_for = reply::integer(cmd("PTTL").arg(secret_key(&rotation.from)).query_async(to).await?)?;
    if live_for <= 0 {
        return Ok(Rotated::NotCurrent);
    }
    let made = point(to, secret_key(&rotation.to), &target_text(bucket, &id), live_for).await?;
    let mut script = scripts::ROTATE.key(bucket.key());
    script
        .arg(milliseconds(rotation.now))
        .arg(id.as_str())
        .arg(rotation.from.as_bytes())
        .arg(rotation.to.as_bytes())
        .arg(rotation.sealed.as_bytes())
        .arg(milliseconds(rotation.accepted_until))
        .arg(ttl(rotation.accepted_until, rotation.now))
        .arg(MOST_SUCCESSORS);
    let rotated = reply::rotated(script.invoke_async(to).await?)?;
    if rotated == Rotated::NotCurrent {
        forget(to, [made]).await;
    }
    Ok(rotated)
}

pub(super) async fn end(
    to: &mut MultiplexedConnection,
    ending: &Ending,
    reason: EndReason,
    now: OffsetDateTime,
) -> Result<Vec<Ended>, Failure> {
    let (which, id, subject) = match ending {
        Ending::One(id) => ("one", id.as_str(), ""),
        Ending::OneOf(id, subject) => ("one-of", id.as_str(), subject.as_str()),
        Ending::AllOf(subject) => ("all", "", subject.as_str()),
        Ending::OthersOf(subject, id) => ("others", id.as_str(), subject.as_str()),
    };
    let buckets: Vec<Bucket> = match ending {
        Ending::One(id) => {
            by_id(to, id).await?.map_or_else(|| Bucket::all().collect(), |bucket| vec![bucket])
        }
        Ending::OneOf(_, subject) | Ending::AllOf(subject) | Ending::OthersOf(subject, _) => {
            vec![Bucket::of(subject)]
        }
    };
    let mut ended = Vec::new();
    for bucket in buckets {
        let mut script = scripts::END.key(bucket.key());
        script.arg(milliseconds(now)).arg(reason.as_str()).arg(which).arg(id).arg(subject);
        ended.extend(reply::ended(script.invoke_async(to).await?)?);
    }
    Ok(ended)
}

/// Sets a pointer that is not there yet, and hands it back if this call made it.
async fn point(
    to: &mut MultiplexedConnection,
    pointer: String,
    target: &str,
    live_for: i64,
) -> Result<Option<String>, Failure> {
    let set: Value =
        cmd("SET").arg(&pointer).arg(target).arg("NX").arg("PX").arg(live_for).query_async(to).await?;
    Ok((set == Value::Okay).then_some(pointer))
}

/// Pointers to what was refused, and that nobody else knows of. What is left lying around has its time to live.
async fn forget(to: &mut MultiplexedConnection, made: impl IntoIterator<Item = Option<String>>) {
    for pointer in made.into_iter().flatten() {
        let deleted: Result<Value, _> = cmd("DEL").arg(pointer).query_async(to).await;
        if let Err(error) = deleted {
            tracing::debug!(%error, "a pointer to nothing stays until its time is up");
        }
    }
}
