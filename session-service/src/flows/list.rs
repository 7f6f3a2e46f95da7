//! Sessions by their public id, for their subject and for administrators. Looking is no activity.

use super::Sessions;
use crate::domain::{Cursor, PageSize, Session, SessionId, Subject};
use crate::store::{Listing, StoreError};

pub struct ListQuery {
    /// `None`: everybody's.
    pub subject: Option<Subject>,
    pub size: PageSize,
    pub after: Option<Cursor>,
}

/// The youngest sessions first.
pub struct Page {
    pub sessions: Vec<Session>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

impl Sessions {
    pub async fn get(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let now = self.now();
        Ok(self.store.get(id, now).await?.and_then(|session| self.live(session, now)))
    }

    pub async fn list(&self, query: ListQuery) -> Result<Page, StoreError> {
        let now = self.now();
        // The store leaves out what is idle as far as it knows: let it know.
        self.write_activity(query.subject.as_ref()).await?;
        let size = query.size.get();
        let listing = Listing {
            subject: query.subject,
            after: query.after,
            most: size + 1,
            idle_since: self.lifetimes.idle_since(now),
            now,
        };
        let mut sessions = self.store.list(listing).await?;
        let more = sessions.len() > size as usize;
        sessions.truncate(size as usize);
        let next = sessions
            .last()
            .filter(|_| more)
            .map(|last| Cursor { created_at: last.created_at, id: last.id.clone() });
        let sessions = sessions.into_iter().filter_map(|session| self.live(session, now)).collect();
        Ok(Page { sessions, next })
    }
}
