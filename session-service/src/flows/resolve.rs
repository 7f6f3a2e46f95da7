//! Who a cookie stands for: the question of every request.

use super::Sessions;
use crate::domain::{Session, SessionSecret};
use crate::store::StoreError;

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
        let session = presented.session.active_at(now);
        self.activity.note(&session.id, &session.origin.subject, now);
        self.figures.resolved.add(1);
        Ok(Some(Resolved { session, current_secret: presented.former.then_some(presented.current) }))
    }
}
