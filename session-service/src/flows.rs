//! The use cases, one a file, each a method of [`Sessions`].
//!
//! Outcomes are values, failures are errors; what a flow answers positively is in the store by then.

mod activity;
mod attributes;
mod create;
mod end;
mod figures;
mod list;
mod proofs;
mod resolve;
mod rotate;
mod upkeep;

use std::sync::Arc;

use chassis::clock::SharedClock;
use chassis::entropy::{self, SharedEntropy};
use time::OffsetDateTime;

use self::activity::ActivityBook;
pub use self::create::{CreateError, Creation, Login};
pub use self::end::EndedOthers;
pub use self::figures::{Figure, Figures};
pub use self::list::{ListQuery, Page};
pub use self::proofs::Proofs;
pub use self::resolve::Resolved;
pub use self::rotate::RotatedSession;
use crate::domain::{Lifetimes, Limit, Session, SessionId, SessionSecret, Shard, to_millisecond};
use crate::store::{Ended, SessionStore, StoreError};

/// What every flow stands on.
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    proofs: Proofs,
    activity: ActivityBook,
    figures: Arc<Figures>,
    clock: SharedClock,
    entropy: SharedEntropy,
    lifetimes: Lifetimes,
    limit: Limit,
}

/// A secret that opened a session, and the secret that does so from now on.
struct Presented {
    session: Session,
    current: SessionSecret,
    /// The secret presented was rotated away, and its window is still open.
    former: bool,
}

impl Sessions {
    pub fn new(
        store: Arc<dyn SessionStore>,
        proofs: Proofs,
        clock: SharedClock,
        entropy: SharedEntropy,
        lifetimes: Lifetimes,
        limit: Limit,
    ) -> Sessions {
        let (activity, figures) = (ActivityBook::default(), Arc::default());
        Sessions { store, proofs, activity, figures, clock, entropy, lifetimes, limit }
    }

    pub fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    fn now(&self) -> OffsetDateTime {
        to_millisecond(self.clock.now())
    }

    fn new_id(&self, shard: Shard) -> SessionId {
        let mut random = [0; SessionId::RANDOM_BYTES];
        self.entropy.fill(&mut random);
        SessionId::new(shard, random)
    }

    fn new_secret(&self, shard: Shard) -> SessionSecret {
        SessionSecret::draw(shard, || entropy::secret(&*self.entropy))
    }

    /// With the activity that is not written yet; `None` when its time is up.
    fn live(&self, session: Session, now: OffsetDateTime) -> Option<Session> {
        let session = match self.activity.newest(&session.id) {
            Some(at) => session.active_at(at),
            None => session,
        };
        session.is_live(now, &self.lifetimes).then_some(session)
    }

    /// Whether an ending took anything from anybody: a session whose time was up was over already.
    fn was_live(&self, ended: &Ended, now: OffsetDateTime) -> bool {
        let newest =
            self.activity.newest(&ended.id).unwrap_or(ended.last_active_at).max(ended.last_active_at);
        newest > self.lifetimes.idle_since(now)
    }

    async fn by_secret(
        &self,
        secret: &SessionSecret,
        now: OffsetDateTime,
    ) -> Result<Option<Presented>, StoreError> {
        let Some(found) = self.store.find(secret.digest(), now).await? else { return Ok(None) };
        let Some(session) = self.live(found.session, now) else { return Ok(None) };
        let former = !found.successors.is_empty();
        let mut current = secret.clone();
        for sealed in &found.successors {
            current = sealed
                .open(&current, &session.id)
                .ok_or_else(|| StoreError::Corrupt("a sealed successor does not open".into()))?;
        }
        Ok(Some(Presented { session, current, former }))
    }
}

#[cfg(test)]
mod tests;
