//! How many requests may be with one application at once, over all threads, and how many may wait for that.
//!
//! An application that has become slow would otherwise collect every request that its clients send, and with them the
//! memory and the connections that others need (F24). Entering and leaving is one atomic operation each; only who
//! waits takes a lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

#[derive(Debug)]
pub struct Limit {
    places: usize,
    queue: usize,
    taken: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
    turned_away: AtomicU64,
}

/// The right to be with the application. Dropped, it is given back.
#[derive(Debug)]
pub struct Place<'a>(&'a Limit);

impl Limit {
    pub fn new(places: usize, queue: usize) -> Limit {
        Limit {
            places,
            queue,
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            turned_away: AtomicU64::new(0),
        }
    }

    /// A place, if there is one and nobody waits for it.
    pub fn enter(&self) -> Option<Place<'_>> {
        if self.waiting.load(Ordering::SeqCst) > 0 { None } else { self.take() }
    }

    /// A place as soon as there is one. None: there was no room in the queue either, or the time is up.
    pub async fn wait(&self, patience: Duration) -> Option<Place<'_>> {
        let turn_away = || {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            None
        };
        let Some(_queued) = self.join() else { return turn_away() };
        let freed = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // Before looking: what is freed from here on is not missed.
                freed.as_mut().enable();
                if let Some(place) = self.take() {
                    return place;
                }
                freed.await;
            }
        };
        match timeout(patience, freed).await {
            Ok(place) => Some(place),
            Err(_) => turn_away(),
        }
    }

    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Of a place whose [`Place`] was forgotten.
    pub fn leave(&self) {
        // INVARIANT: first the place, then the look at the queue; who waits does it the other way round.
        self.taken.fetch_sub(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    fn take(&self) -> Option<Place<'_>> {
        let one_more = |taken: usize| (taken < self.places).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Place(self))
    }

    fn join(&self) -> Option<Queued<'_>> {
        let one_more = |waiting: usize| (waiting < self.queue).then_some(waiting + 1);
        let waiting = self.waiting.fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_more);
        waiting.is_ok().then(|| Queued(self))
    }
}

impl Place<'_> {
    /// For whoever calls [`Limit::leave`] instead.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// The place that was kept, to be given back by being dropped.
    pub fn kept(limit: &Limit) -> Place<'_> {
        Place(limit)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

struct Queued<'a>(&'a Limit);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let before = self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        // A place that became free in this moment was announced to this one, which may not take it.
        if before > 1 && self.0.taken.load(Ordering::SeqCst) < self.0.places {
            self.0.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_many_as_there_are_places_and_then_the_queue() {
        let limit = Limit::new(2, 1);
        let (one, two) = (limit.enter().unwrap(), limit.enter().unwrap());
        assert!(limit.enter().is_none());
        let patience = Duration::from_secs(3);
        let mut first = std::pin::pin!(limit.wait(patience));
        assert!(timeout(Duration::ZERO, &mut first).await.is_err());
        assert!(limit.wait(patience).await.is_none(), "the queue is full");
        assert_eq!((limit.taken(), limit.waiting(), limit.turned_away()), (2, 1, 1));
        drop(one);
        assert!(limit.enter().is_none(), "nobody overtakes who waits");
        let three = first.await.unwrap();
        assert_eq!((limit.taken(), limit.waiting()), (2, 0));
        assert!(limit.wait(patience).await.is_none(), "time is up");
        assert_eq!((limit.waiting(), limit.turned_away()), (0, 2));
        drop((two, three));
        limit.enter().unwrap().keep();
        assert_eq!(limit.taken(), 1);
        limit.leave();
        assert_eq!(limit.taken(), 0);
    }

    #[tokio::test]
    async fn whoever_gives_up_passes_its_turn_on() {
        let limit = Limit::new(1, 2);
        let only = limit.enter().unwrap();
        let mut second = std::pin::pin!(limit.wait(Duration::from_secs(60)));
        {
            let mut first = std::pin::pin!(limit.wait(Duration::from_secs(60)));
            assert!(timeout(Duration::ZERO, &mut first).await.is_err());
            assert!(timeout(Duration::ZERO, &mut second).await.is_err());
            drop(only);
        }
        assert!(second.await.is_some());
    }

    #[test]
    fn threads_never_exceed_it_and_nobody_is_forgotten() {
        let limit = std::sync::Arc::new(Limit::new(3, 100));
        let most = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    runtime.block_on(async {
                        for _ in 0..500 {
                            let place = match limit.enter() {
                                Some(place) => place,
                                None => limit.wait(Duration::from_secs(60)).await.unwrap(),
                            };
                            most.fetch_max(limit.taken(), Ordering::SeqCst);
                            tokio::task::yield_now().await;
                            drop(place);
                        }
                    });
                });
            }
        });
        assert!(most.into_inner() <= 3);
        assert_eq!((limit.taken(), limit.waiting(), limit.turned_away()), (0, 0, 0));
    }
}
