//! What many may ask for at once, and a stranger as often as he likes.

use std::time::Duration;

use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// Work that is done once for all who wait for it, and not again before some time has passed.
#[derive(Debug)]
pub(super) struct Paced {
    every: Duration,
    /// When that which succeeded last was begun.
    began: Mutex<Option<Instant>>,
}

impl Paced {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, began: Mutex::default() }
    }

    /// `Ok`: since this was called, the work was begun and done, by whomever.
    pub(super) async fn run<E>(&self, work: impl Future<Output = Result<(), E>>) -> Result<(), E> {
        let asked = Instant::now();
        let mut began = self.began.lock().await;
        if let Some(last) = *began {
            if last > asked {
                return Ok(());
            }
            sleep_until(last + self.every).await;
        }
        let begins = Instant::now();
        work.await?;
        *began = Some(begins);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const EVERY: Duration = Duration::from_millis(250);

    #[tokio::test(start_paused = true)]
    async fn many_share_one_and_whoever_comes_later_waits_for_the_next() {
        let (paced, done) = (Paced::new(EVERY), AtomicU32::new(0));
        let ask = || {
            paced.run(async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                done.fetch_add(1, Ordering::Relaxed);
                Ok::<(), ()>(())
            })
        };
        for round in 1..=3 {
            let start = Instant::now();
            let all = futures_util::future::join_all((0..1000).map(|_| ask())).await;
            assert!(all.iter().all(Result::is_ok));
            // The first begins before the others have asked: theirs is the second.
            assert!(done.load(Ordering::Relaxed) <= 2 * round);
            assert!(start.elapsed() <= 3 * EVERY);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_was_not_done_for_anybody() {
        let paced = Paced::new(EVERY);
        let failing = || paced.run(async { Err::<(), ()>(()) });
        let (one, other) = tokio::join!(failing(), failing());
        assert_eq!((one, other), (Err(()), Err(())));
        assert_eq!(paced.run(async { Ok::<(), ()>(()) }).await, Ok(()));
    }
}
