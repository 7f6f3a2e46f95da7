//! A timer that stays set from one request of a connection to the next. To set one with each request and to take it back costs
//! more than to look at one that is there.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

pub(super) struct Alarm {
    timer: Pin<Box<Sleep>>,
}

impl Alarm {
    /// For work that may take so long each time.
    pub(super) fn new(most: Duration) -> Self {
        Self { timer: Box::pin(sleep(most)) }
    }

    /// What the work has come to; None once it is `deadline`: as long from now each time as [`Alarm::new`] was told, so
    /// that what is set is never too late.
    pub(super) fn wait<F: Future>(
        &mut self,
        deadline: Instant,
        mut work: Pin<&mut F>,
    ) -> impl Future<Output = Option<F::Output>> {
        poll_fn(move |cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            while self.timer.as_mut().poll(cx).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                // It was set for a request before this one, and so for an earlier time.
                self.timer.as_mut().reset(deadline);
            }
            Poll::Pending
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;

    use tokio::task::JoinSet;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long it takes, and whether there is an output.
    async fn wait(alarm: &mut Alarm, work: impl Future<Output = ()>) -> (Duration, bool) {
        let began = Instant::now();
        let output = alarm.wait(began + 30 * SECOND, pin!(work)).await;
        (began.elapsed(), output.is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn each_work_has_its_own_time_whatever_the_one_before_left() {
        let mut alarm = Alarm::new(30 * SECOND);
        for idle in [0, 10, 29, 30, 31, 90] {
            tokio::time::sleep(idle * SECOND).await;
            assert_eq!(wait(&mut alarm, ready(())).await, (Duration::ZERO, true));
            assert_eq!(wait(&mut alarm, tokio::time::sleep(29 * SECOND)).await, (29 * SECOND, true));
            assert_eq!(wait(&mut alarm, pending()).await, (30 * SECOND, false), "{idle}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whichever_task_waits_is_the_one_that_is_woken() {
        let mut alarm = Alarm::new(30 * SECOND);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            assert_eq!(wait(&mut alarm, tokio::time::sleep(20 * SECOND)).await, (20 * SECOND, true));
            alarm
        });
        let mut alarm = tasks.join_next().await.unwrap().unwrap();
        tasks.spawn(async move {
            assert_eq!(wait(&mut alarm, pending()).await, (30 * SECOND, false));
            alarm
        });
        tasks.join_next().await.unwrap().unwrap();
    }
}
