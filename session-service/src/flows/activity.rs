//! Activity that is known here and not written yet.
//!
//! A request counts as activity, and a write per request is what a store cannot bear. So activity is noted here, seen by
//! every read of this process at once, and written in batches, every 1/20 of the idle timeout. What a crash may lose is
//! at most that much of a session's idle time: it may end that much too early, never too late.
//!
//! Other replicas see only what is written. To them a session must not look idle that was used here a moment ago, so the first
//! request after half the idle timeout is written at once: what the store says is then always young enough to last until the
//! next batch.
//!
//! It is kept in the parts that sessions are in anyway. A batch, and the look of a login for what its subject did, hold up the
//! requests of one part at a time: a million sessions in one would stand still for each login.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::domain::{SessionId, Shard, Subject};
use crate::store::Activity;

#[derive(Default)]
pub(super) struct ActivityBook {
    parts: [Mutex<HashMap<SessionId, Entry>>; Shard::COUNT as usize],
    subjects: RandomState,
    /// What cannot wait for the next batch.
    returned: Mutex<Vec<Activity>>,
    somebody_returned: Notify,
}

/// Small, and without anything elsewhere: there may be a million.
struct Entry {
    /// A hash. What is taken for another subject's is written a little early.
    subject: u64,
    at: OffsetDateTime,
    /// The store has it.
    is_written: bool,
}

impl ActivityBook {
    /// What was known before.
    pub(super) fn note(
        &self,
        id: &SessionId,
        subject: &Subject,
        at: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let mut entries = self.part(id.shard());
        match entries.get_mut(id) {
            Some(entry) => {
                let before = entry.at;
                if at > before {
                    (entry.at, entry.is_written) = (at, false);
                }
                Some(before)
            }
            None => {
                let subject = self.subjects.hash_one(subject);
                entries.insert(id.clone(), Entry { subject, at, is_written: false });
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
        self.part(id.shard()).get(id).map(|entry| entry.at)
    }

    /// What the store does not have yet of one subject.
    pub(super) fn unwritten_of(&self, subject: &Subject) -> Vec<Activity> {
        let hash = self.subjects.hash_one(subject);
        unwritten(&self.part(Shard::of(subject)), |entry| entry.subject == hash)
    }

    /// What the store does not have yet.
    pub(super) fn unwritten(&self) -> Vec<Activity> {
        Shard::all().flat_map(|shard| unwritten(&self.part(shard), |_| true)).collect()
    }

    /// The store has these now. They stay here for readers whose row is older than the write.
    pub(super) fn written(&self, activity: &[Activity]) {
        for Activity { id, at } in activity {
            if let Some(entry) = self.part(id.shard()).get_mut(id) {
                entry.is_written |= entry.at <= *at;
            }
        }
    }

    /// Drops what was written before. Called at the beginning of a round, so that an entry outlives its own write by a
    /// whole round: no read takes that long.
    pub(super) fn forget_written(&self) {
        for shard in Shard::all() {
            self.part(shard).retain(|_, entry| !entry.is_written);
        }
    }

    pub(super) fn forget(&self, id: &SessionId) {
        self.part(id.shard()).remove(id);
    }

    #[expect(clippy::indexing_slicing, reason = "the number of a shard is below their count")]
    fn part(&self, shard: Shard) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.parts[usize::from(shard.number())].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unwritten(entries: &HashMap<SessionId, Entry>, wanted: impl Fn(&Entry) -> bool) -> Vec<Activity> {
    let wanted = entries.iter().filter(|(_, entry)| !entry.is_written && wanted(entry));
    wanted.map(|(id, entry)| Activity { id: id.clone(), at: entry.at }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-11-01 08:00 UTC);

    fn at(seconds: u64) -> OffsetDateTime {
        START + Duration::from_secs(seconds)
    }

    fn subject(name: &str) -> Subject {
        Subject::parse(name).unwrap()
    }

    fn id(subject: &Subject, number: u8) -> SessionId {
        SessionId::new(Shard::of(subject), [number; 16])
    }

    #[test]
    fn the_newest_activity_counts_and_is_written_once() {
        let (book, id) = (ActivityBook::default(), id(&subject("usr_1"), 1));
        book.note(&id, &subject("usr_1"), at(2));
        book.note(&id, &subject("usr_1"), at(1));
        assert_eq!(book.newest(&id), Some(at(2)));
        let batch = book.unwritten();
        assert_eq!(batch, [Activity { id: id.clone(), at: at(2) }]);
        book.written(&batch);
        assert!(book.unwritten().is_empty());
        assert_eq!(book.newest(&id), Some(at(2)), "a reader with an older row still needs it");
        book.forget_written();
        assert_eq!(book.newest(&id), None);
    }

    #[test]
    fn activity_during_a_write_is_not_lost() {
        let (book, id) = (ActivityBook::default(), id(&subject("usr_1"), 1));
        book.note(&id, &subject("usr_1"), at(1));
        let batch = book.unwritten();
        book.note(&id, &subject("usr_1"), at(2));
        book.written(&batch);
        book.forget_written();
        assert_eq!(book.unwritten(), [Activity { id, at: at(2) }]);
    }

    #[test]
    fn one_subject_at_a_time() {
        let book = ActivityBook::default();
        // Two of them are in one part.
        let all = (0..=Shard::COUNT).map(|number| {
            let subject = subject(&format!("usr_{number}"));
            (id(&subject, number), subject)
        });
        let all: Vec<(SessionId, Subject)> = all.collect();
        for (id, subject) in &all {
            book.note(id, subject, at(1));
        }
        for (id, subject) in &all {
            assert_eq!(book.unwritten_of(subject), [Activity { id: id.clone(), at: at(1) }]);
            book.forget(id);
            assert!(book.unwritten_of(subject).is_empty());
        }
        assert!(book.unwritten().is_empty());
    }
}
