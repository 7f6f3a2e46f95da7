//! A timer that stays set from one request of a connection to the next. To set one with each request and to take it back costs
//! more than to look at one that is there.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// For work that may take so long, mostly.
    pub(super) fn new(most: Duration) -> Self {
        Self(Box::pin(sleep(most)))
    }

    /// What the work has come to; None once it has taken `most`.
    pub(super) fn within<F: Future>(
        &mut self,
        most: Duration,
        mut work: Pin<&mut F>,
    ) -> impl Future<Output = Option<F::Output>> {
        let deadline = Instant::now() + most;
        if self.0.deadline() > deadline {
            self.0.as_mut().reset(deadline);
        }
        poll_fn(move |cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            while self.0.as_mut().poll(cx).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                // It was set for a request before this one.
                self.0.as_mut().reset(deadline);
            }
            Poll::Pending
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long it takes, and whether there is an output.
    async fn wait(alarm: &mut Alarm, most: Duration, work: impl Future<Output = ()>) -> (Duration, bool) {
        let began = Instant::now();
        let output = alarm.within(most, pin!(work)).await;
        (began.elapsed(), output.is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn each_work_has_its_own_time_whatever_the_one_before_left() {
        let mut alarm = Alarm::new(30 * SECOND);
        for idle in [0, 10, 29, 30, 31, 90] {
            tokio::time::sleep(idle * SECOND).await;
            assert_eq!(wait(&mut alarm, 30 * SECOND, ready(())).await, (Duration::ZERO, true));
            assert_eq!(
                wait(&mut alarm, 30 * SECOND, tokio::time::sleep(29 * SECOND)).await,
                (29 * SECOND, true)
            );
            assert_eq!(wait(&mut alarm, 30 * SECOND, pending()).await, (30 * SECOND, false), "{idle}");
        }
        assert_eq!(wait(&mut alarm, 90 * SECOND, pending()).await, (90 * SECOND, false));
        assert_eq!(wait(&mut alarm, 2 * SECOND, pending()).await, (2 * SECOND, false), "a shorter one");
    }
}
