//! Activity that is known here and not written yet.
//!
//! A request counts as activity, and a write per request is what a store cannot bear. So activity is noted here, seen by
//! every read of this process at once, and written in batches, every 1/20 of the idle timeout. What a crash may lose is
//! at most that much of a session's idle time: it may end that much too early, never too late.
//!
//! Other replicas see only what is written. To them a session must not look idle that was used here a moment ago, so the first
//! request after half the idle timeout is written at once: what the store says is then always young enough to last until the
//! next batch.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::domain::{SessionId, Subject};
use crate::store::Activity;

#[derive(Default)]
pub(super) struct ActivityBook {
    entries: Mutex<HashMap<SessionId, Entry>>,
    /// What cannot wait for the next batch.
    returned: Mutex<Vec<Activity>>,
    somebody_returned: Notify,
}

struct Entry {
    subject: Subject,
    at: OffsetDateTime,
    /// What of it the store has.
    written: Option<OffsetDateTime>,
}

impl Entry {
    fn is_written(&self) -> bool {
        self.written.is_some_and(|written| written >= self.at)
    }
}

impl ActivityBook {
    /// What was known before.
    pub(super) fn note(
        &self,
        id: &SessionId,
        subject: &Subject,
        at: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let mut entries = self.lock();
        match entries.get_mut(id) {
            Some(entry) => {
                let before = entry.at;
                entry.at = before.max(at);
                Some(before)
            }
            None => {
                entries.insert(id.clone(), Entry { subject: subject.clone(), at, written: None });
                None
            }
        }
    }

    pub(super) fn came_back(&self, activity: Activity) {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).push(activity);
        self.somebody_returned.notify_one();
    }

    /// Resolves when [`Self::returned`] has something.
    pub(super) async fn somebody_returned(&self) {
        self.somebody_returned.notified().await;
    }

    pub(super) fn returned(&self) -> Vec<Activity> {
        std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn newest(&self, id: &SessionId) -> Option<OffsetDateTime> {
        self.lock().get(id).map(|entry| entry.at)
    }

    /// What the store does not have yet: of one subject, or of everybody.
    pub(super) fn unwritten(&self, subject: Option<&Subject>) -> Vec<Activity> {
        self.lock()
            .iter()
            .filter(|(_, entry)| {
                !entry.is_written() && subject.is_none_or(|subject| entry.subject == *subject)
            })
            .map(|(id, entry)| Activity { id: id.clone(), at: entry.at })
            .collect()
    }

    /// The store has these now. They stay here for readers whose row is older than the write.
    pub(super) fn written(&self, activity: &[Activity]) {
        let mut entries = self.lock();
        for Activity { id, at } in activity {
            if let Some(entry) = entries.get_mut(id) {
                entry.written = entry.written.max(Some(*at));
            }
        }
    }

    /// Drops what was written before. Called at the beginning of a round, so that an entry outlives its own write by a
    /// whole round: no read takes that long.
    pub(super) fn forget_written(&self) {
        self.lock().retain(|_, entry| !entry.is_written());
    }

    pub(super) fn forget(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;
    use crate::domain::Shard;

    const START: OffsetDateTime = datetime!(2026-11-01 08:00 UTC);

    fn at(seconds: u64) -> OffsetDateTime {
        START + Duration::from_secs(seconds)
    }

    fn subject(name: &str) -> Subject {
        Subject::parse(name).unwrap()
    }

    fn id(number: u8) -> SessionId {
        SessionId::new(Shard::of(&subject("usr_1")), [number; 16])
    }

    #[test]
    fn the_newest_activity_counts_and_is_written_once() {
        let (book, id) = (ActivityBook::default(), id(1));
        book.note(&id, &subject("usr_1"), at(2));
        book.note(&id, &subject("usr_1"), at(1));
        assert_eq!(book.newest(&id), Some(at(2)));
        let batch = book.unwritten(None);
        assert_eq!(batch, [Activity { id: id.clone(), at: at(2) }]);
        book.written(&batch);
        assert!(book.unwritten(None).is_empty());
        assert_eq!(book.newest(&id), Some(at(2)), "a reader with an older row still needs it");
        book.forget_written();
        assert_eq!(book.newest(&id), None);
    }

    #[test]
    fn activity_during_a_write_is_not_lost() {
        let (book, id) = (ActivityBook::default(), id(1));
        book.note(&id, &subject("usr_1"), at(1));
        let batch = book.unwritten(None);
        book.note(&id, &subject("usr_1"), at(2));
        book.written(&batch);
        book.forget_written();
        assert_eq!(book.unwritten(None), [Activity { id, at: at(2) }]);
    }

    #[test]
    fn one_subject_at_a_time() {
        let book = ActivityBook::default();
        book.note(&id(1), &subject("usr_1"), at(1));
        book.note(&id(2), &subject("usr_2"), at(1));
        let batch = book.unwritten(Some(&subject("usr_2")));
        assert_eq!(batch, [Activity { id: id(2), at: at(1) }]);
        book.forget(&id(2));
        assert!(book.unwritten(Some(&subject("usr_2"))).is_empty());
    }
}
