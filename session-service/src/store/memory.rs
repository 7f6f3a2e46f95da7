//! Sessions in this process and nowhere else: for tests and for trying things out. A restart ends them all, and with
//! them every ending: nothing is let in by that. Never shared between replicas.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{
    Activity, AttributesSet, Created, Ended, Ending, Found, Listing, NewSession, Rotated, Rotation,
    SessionStore, StoreError, Sweep, Swept,
};
use crate::domain::{
    AtLimit, Attributes, EndReason, SealedSuccessor, SecretDigest, Session, SessionId, Subject,
};

/// Rotations whose former secrets are accepted at once: as many as [`super::sqlite`] keeps.
pub(super) const MOST_SUCCESSORS: usize = 16;

/// One lock: every method is a transaction by being alone.
#[derive(Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    sessions: BTreeMap<SessionId, Row>,
    /// Current secrets and those within their window.
    secrets: HashMap<SecretDigest, SessionId>,
    proofs: HashMap<String, OffsetDateTime>,
}

struct Row {
    session: Session,
    secret: SecretDigest,
    /// The oldest first.
    successors: Vec<Successor>,
    ended: bool,
}

struct Successor {
    former: SecretDigest,
    sealed: SealedSuccessor,
    accepted_until: OffsetDateTime,
}

impl MemoryStore {
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// A panic while the lock was held cannot have left half a change that matters more than answering.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn create(&self, new: NewSession) -> Result<Created, StoreError> {
        Ok(self.lock().create(new))
    }

    async fn find(&self, secret: SecretDigest, now: OffsetDateTime) -> Result<Option<Found>, StoreError> {
        Ok(self.lock().find(secret, now))
    }

    async fn get(&self, id: &SessionId, now: OffsetDateTime) -> Result<Option<Session>, StoreError> {
        Ok(self.lock().open(id, now).map(|row| row.session.clone()))
    }

    async fn list(&self, listing: Listing) -> Result<Vec<Session>, StoreError> {
        Ok(self.lock().list(&listing))
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        Ok(self.lock().rotate(rotation))
    }

    async fn end(
        &self,
        ending: Ending,
        reason: EndReason,
        now: OffsetDateTime,
    ) -> Result<Vec<Ended>, StoreError> {
        let mut inner = self.lock();
        let ids = inner.chosen(&ending, now);
        Ok(inner.end_all(&ids, reason))
    }

    async fn record_activity(&self, activity: &[Activity]) -> Result<(), StoreError> {
        self.lock().record(activity);
        Ok(())
    }

    async fn set_attributes(
        &self,
        id: &SessionId,
        expected_version: u64,
        attributes: &Attributes,
        now: OffsetDateTime,
    ) -> Result<AttributesSet, StoreError> {
        let mut inner = self.lock();
        let Some(row) = inner.open_mut(id, now) else { return Ok(AttributesSet::NotFound) };
        let current = row.session.attributes_version;
        if current != expected_version {
            return Ok(AttributesSet::VersionMismatch { current });
        }
        row.session.attributes = attributes.clone();
        row.session.attributes_version = current + 1;
        Ok(AttributesSet::Done { version: current + 1 })
    }

    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError> {
        Ok(self.lock().sweep(&sweep))
    }
}

impl Inner {
    fn open(&self, id: &SessionId, now: OffsetDateTime) -> Option<&Row> {
        self.sessions.get(id).filter(|row| row.is_open(now))
    }

    fn open_mut(&mut self, id: &SessionId, now: OffsetDateTime) -> Option<&mut Row> {
        self.sessions.get_mut(id).filter(|row| row.is_open(now))
    }

    fn find(&self, secret: SecretDigest, now: OffsetDateTime) -> Option<Found> {
        let row = self.open(self.secrets.get(&secret)?, now)?;
        if row.secret == secret {
            return Some(Found { session: row.session.clone(), successors: Vec::new() });
        }
        let position =
            row.successors.iter().position(|one| one.former == secret && now < one.accepted_until)?;
        let successors = row.successors.iter().skip(position).map(|one| one.sealed.clone()).collect();
        Some(Found { session: row.session.clone(), successors })
    }

    fn create(&mut self, new: NewSession) -> Created {
        if self.proofs.contains_key(&new.proof.jti) {
            return Created::ProofSpent;
        }
        self.record(&new.activity);
        let replaced: Vec<SessionId> = new
            .former
            .and_then(|former| self.find(former, new.now))
            .map(|found| found.session.id)
            .into_iter()
            .collect();
        let subject = new.session.origin.subject.clone();
        let (over, mut live): (Vec<_>, Vec<_>) = self
            .sessions
            .values()
            .filter(|row| {
                !row.ended && row.session.origin.subject == subject && !replaced.contains(&row.session.id)
            })
            .map(|row| (row.session.created_at, row.session.id.clone(), row.is_over(new.now, new.idle_since)))
            .partition(|(_, _, over)| *over);
        live.sort();
        let beyond = (live.len() + 1).saturating_sub(new.limit.most as usize);
        if beyond > 0 && new.limit.at_limit == AtLimit::Refuse {
            return Created::LimitReached;
        }
        let ids = |rows: Vec<(OffsetDateTime, SessionId, bool)>| {
            rows.into_iter().map(|(_, id, _)| id).collect::<Vec<_>>()
        };
        self.end_all(&ids(over), EndReason::Expired);
        let mut ended = self.end_all(&replaced, EndReason::Replaced);
        ended.extend(self.end_all(&ids(live.into_iter().take(beyond).collect()), EndReason::Limit));
        self.proofs.insert(new.proof.jti, new.proof.keep_until);
        self.secrets.insert(new.secret, new.session.id.clone());
        let row = Row { session: new.session, secret: new.secret, successors: Vec::new(), ended: false };
        self.sessions.insert(row.session.id.clone(), row);
        Created::Stored { ended }
    }

    fn list(&self, listing: &Listing) -> Vec<Session> {
        let mut sessions: Vec<&Session> = self
            .sessions
            .values()
            .filter(|row| !row.ended && !row.is_over(listing.now, listing.idle_since))
            .map(|row| &row.session)
            .filter(|session| {
                listing.subject.as_ref().is_none_or(|subject| session.origin.subject == *subject)
            })
            .filter(|session| {
                listing
                    .after
                    .as_ref()
                    .is_none_or(|after| (session.created_at, &session.id) < (after.created_at, &after.id))
            })
            .collect();
        sessions.sort_by(|one, other| (other.created_at, &other.id).cmp(&(one.created_at, &one.id)));
        sessions.into_iter().take(listing.most as usize).cloned().collect()
    }

    fn rotate(&mut self, rotation: Rotation) -> Rotated {
        let Some(row) = self.open_mut(&rotation.id, rotation.now).filter(|row| row.secret == rotation.from)
        else {
            return Rotated::NotCurrent;
        };
        row.secret = rotation.to;
        row.session.last_active_at = row.session.last_active_at.max(rotation.now);
        row.successors.push(Successor {
            former: rotation.from,
            sealed: rotation.sealed,
            accepted_until: rotation.accepted_until,
        });
        let forgotten = (row.successors.len() > MOST_SUCCESSORS).then(|| row.successors.remove(0).former);
        self.secrets.insert(rotation.to, rotation.id);
        if let Some(former) = forgotten {
            self.secrets.remove(&former);
        }
        Rotated::Done
    }

    fn chosen(&self, ending: &Ending, now: OffsetDateTime) -> Vec<SessionId> {
        let of = |subject: &Subject, except: Option<&SessionId>| {
            self.sessions
                .values()
                .filter(|row| row.is_open(now) && row.session.origin.subject == *subject)
                .map(|row| row.session.id.clone())
                .filter(|id| Some(id) != except)
                .collect()
        };
        match ending {
            Ending::One(id) => self.open(id, now).map(|row| row.session.id.clone()).into_iter().collect(),
            Ending::OneOf(id, subject) => self
                .open(id, now)
                .filter(|row| row.session.origin.subject == *subject)
                .map(|row| row.session.id.clone())
                .into_iter()
                .collect(),
            Ending::AllOf(subject) => of(subject, None),
            Ending::OthersOf(subject, id) => of(subject, Some(id)),
        }
    }

    fn end_all(&mut self, ids: &[SessionId], reason: EndReason) -> Vec<Ended> {
        let mut ended = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(row) = self.sessions.get_mut(id).filter(|row| !row.ended) else { continue };
            row.ended = true;
            row.session.attributes = Attributes::default();
            self.secrets.remove(&row.secret);
            for successor in row.successors.drain(..) {
                self.secrets.remove(&successor.former);
            }
            ended.push(Ended {
                id: id.clone(),
                subject: row.session.origin.subject.clone(),
                reason,
                last_active_at: row.session.last_active_at,
            });
        }
        ended
    }

    fn record(&mut self, activity: &[Activity]) {
        for Activity { id, at } in activity {
            if let Some(row) = self.sessions.get_mut(id).filter(|row| !row.ended) {
                row.session.last_active_at = row.session.last_active_at.max(*at);
            }
        }
    }

    fn sweep(&mut self, sweep: &Sweep) -> Swept {
        let most = sweep.most as usize;
        let gone: Vec<SessionId> = self
            .sessions
            .values()
            .filter(|row| {
                sweep.now >= row.session.absolute_expires_at
                    || (!row.ended
                        && sweep.idle_before.is_some_and(|before| row.session.last_active_at <= before))
            })
            .map(|row| row.session.id.clone())
            .take(most)
            .collect();
        for row in gone.iter().filter_map(|id| self.sessions.remove(id)) {
            self.secrets.remove(&row.secret);
            for successor in &row.successors {
                self.secrets.remove(&successor.former);
            }
        }
        let mut successors = 0;
        for row in self.sessions.values_mut() {
            for closed in row.successors.extract_if(.., |one| sweep.now >= one.accepted_until) {
                self.secrets.remove(&closed.former);
                successors += 1;
            }
        }
        let proofs = self.proofs.len();
        self.proofs.retain(|_, keep_until| sweep.now < *keep_until);
        Swept { sessions: gone.len() as u64, successors, proofs: (proofs - self.proofs.len()) as u64 }
    }
}

impl Row {
    /// Nobody ended it, and its absolute time is not up.
    fn is_open(&self, now: OffsetDateTime) -> bool {
        !self.ended && now < self.session.absolute_expires_at
    }

    fn is_over(&self, now: OffsetDateTime, idle_since: OffsetDateTime) -> bool {
        now >= self.session.absolute_expires_at || self.session.last_active_at <= idle_since
    }
}
