//! Endings: by the session's own subject, and by an administrator. Each is in the store before it is answered, and
//! repeating one changes nothing.

use time::OffsetDateTime;

use super::Sessions;
use crate::domain::{EndReason, SessionId, SessionSecret, Subject};
use crate::store::{Ended, Ending, StoreError};

pub enum EndedOthers {
    Done(Vec<Ended>),
    /// Who asks has no session.
    NotFound,
}

impl Sessions {
    /// Ends `id`, or the caller's own session, if it is one of the caller's subject. `None`: nothing was left to end.
    pub async fn end(
        &self,
        secret: &SessionSecret,
        id: Option<SessionId>,
    ) -> Result<Option<Ended>, StoreError> {
        let now = self.now();
        let Some(caller) = self.by_secret(secret, now).await? else { return Ok(None) };
        let ending = Ending::OneOf(id.unwrap_or(caller.session.id), caller.session.origin.subject);
        Ok(self.end_in_store(ending, EndReason::Logout, now).await?.pop())
    }

    /// Ends every session of the caller's subject but the caller's.
    pub async fn end_others(&self, secret: &SessionSecret) -> Result<EndedOthers, StoreError> {
        let now = self.now();
        let Some(caller) = self.by_secret(secret, now).await? else { return Ok(EndedOthers::NotFound) };
        let ending = Ending::OthersOf(caller.session.origin.subject, caller.session.id);
        Ok(EndedOthers::Done(self.end_in_store(ending, EndReason::Logout, now).await?))
    }

    pub async fn end_by_id(&self, id: SessionId) -> Result<Option<Ended>, StoreError> {
        Ok(self.end_in_store(Ending::One(id), EndReason::Administration, self.now()).await?.pop())
    }

    pub async fn end_subject(&self, subject: Subject) -> Result<Vec<Ended>, StoreError> {
        self.end_in_store(Ending::AllOf(subject), EndReason::Administration, self.now()).await
    }

    async fn end_in_store(
        &self,
        ending: Ending,
        reason: EndReason,
        now: OffsetDateTime,
    ) -> Result<Vec<Ended>, StoreError> {
        let ended = self.store.end(ending, reason, now).await?;
        Ok(self.really_ended(ended, now))
    }

    /// Counts them, forgets their activity, and leaves out those whose time was up anyway.
    pub(super) fn really_ended(&self, ended: Vec<Ended>, now: OffsetDateTime) -> Vec<Ended> {
        let live: Vec<Ended> = ended
            .into_iter()
            .filter(|one| {
                let live = self.was_live(one, now);
                self.activity.forget(&one.id);
                live
            })
            .collect();
        for one in &live {
            self.figures.ended(one.reason).add(1);
        }
        live
    }
}
