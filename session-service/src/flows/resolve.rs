//! Who a cookie stands for: the question of every request.

use time::OffsetDateTime;

use super::Sessions;
use crate::domain::{Session, SessionSecret};
use crate::store::{Activity, StoreError};

pub struct Resolved {
    pub session: Session,
    /// Set when the secret presented was rotated away and its window is open: the cookie to set instead.
    pub current_secret: Option<SessionSecret>,
}

impl Sessions {
    /// Counts as activity. `None`: unknown, expired or ended, not told apart.
    pub async fn resolve(&self, secret: &SessionSecret) -> Result<Option<Resolved>, StoreError> {
        let now = self.now();
        let Some(presented) = self.by_secret(secret, now).await? else {
            self.figures.not_found.add(1);
            return Ok(None);
        };
        let last_active_at = presented.session.last_active_at;
        let session = presented.session.active_at(now);
        self.note_activity(&session, last_active_at, now);
        self.figures.resolved.add(1);
        Ok(Some(Resolved { session, current_secret: presented.former.then_some(presented.current) }))
    }
    /// Whoever comes back after a long time is written at once, and waits for nothing. Of requests that come together, one
    /// writes.
    fn note_activity(&self, session: &Session, last_active_at: OffsetDateTime, now: OffsetDateTime) {
        let noted = self.activity.note(&session.id, &session.origin.subject, now);
        if noted.max(Some(last_active_at)) <= Some(now - self.lifetimes.idle / 2) {
            self.activity.came_back(Activity { id: session.id.clone(), at: now });
        }
    }
}
