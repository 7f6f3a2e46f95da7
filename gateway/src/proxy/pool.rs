//! One thread's endpoints of one application, and which of them is next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::endpoint::{Endpoint, Lease, Leased, Unreachable};
use crate::routing::UpstreamRule;
use crate::upstreams::{Backend, Place};

/// One application.
pub(super) struct Upstream {
    backend: Arc<Backend>,
    endpoints: Vec<Arc<Endpoint>>,
    /// State of a generator that spreads requests; it need not be unpredictable.
    dice: AtomicU64,
}

impl Upstream {
    /// With the endpoints that the application has now. What `before` has open to the same ones goes on.
    pub(super) fn new(
        backend: &Arc<Backend>,
        before: Option<&Upstream>,
        seed: u64,
        drivers: &TaskTracker,
    ) -> Self {
        let endpoints = backend.endpoints();
        let endpoints = endpoints.iter().map(|vitals| {
            let known =
                before.and_then(|before| before.endpoints.iter().find(|endpoint| endpoint.is_of(vitals)));
            known.map_or_else(|| Endpoint::new(backend, vitals, drivers.clone()), Arc::clone)
        });
        Self { backend: Arc::clone(backend), endpoints: endpoints.collect(), dice: AtomicU64::new(seed | 1) }
    }

    pub(super) fn is_of(&self, backend: &Arc<Backend>) -> bool {
        Arc::ptr_eq(&self.backend, backend)
    }

    pub(super) fn rule(&self) -> &UpstreamRule {
        &self.backend.rule
    }

    /// Whether there is a choice.
    pub(super) fn has_several(&self) -> bool {
        self.endpoints.len() > 1
    }

    /// A connection, idle or new, and a place for the request. Tries another endpoint once where one cannot be
    /// reached: nothing was sent yet. That is the request's one repetition.
    pub(super) async fn lease(&self) -> Result<Leased, Unreachable> {
        let mut place = self.backend.limit.enter();
        let waits = place.is_none();
        if waits {
            place = Box::pin(self.backend.limit.wait(self.backend.rule.connect_timeout)).await;
        }
        if place.is_none() {
            return Err(Unreachable::Full);
        }
        let first = self.choose(None).ok_or(Unreachable::None)?;
        match first.lease(&mut place).await {
            Ok(leased) => Ok(Leased { waited: leased.waited || waits, ..leased }),
            Err(unreachable) => match self.choose(Some(first)) {
                // It waited for the first one.
                Some(second) => {
                    let leased = Box::pin(second.lease(&mut place)).await?;
                    Ok(Leased { waited: true, second: true, ..leased })
                }
                None => Err(unreachable),
            },
        }
    }

    /// A new connection for a second attempt, in the first one's place: to another endpoint, if there is one.
    pub(super) async fn lease_again(&self, mut former: Lease) -> Result<Leased, Unreachable> {
        let mut place: Option<Place<'_>> = former.vacate(&self.backend);
        let endpoint = self.choose(Some(former.endpoint())).unwrap_or(former.endpoint());
        endpoint.connect(&mut place).await
    }

    /// Of two well endpoints taken at random, the one where a request costs less. Those that are not well are taken
    /// only where there are no others: asking them is better than asking nobody.
    fn choose<'a>(&'a self, but: Option<&Arc<Endpoint>>) -> Option<&'a Arc<Endpoint>> {
        if let ([only], None) = (self.endpoints.as_slice(), but) {
            return Some(only);
        }
        let other = |endpoint: &&Arc<Endpoint>| but.is_none_or(|but| !Arc::ptr_eq(but, endpoint));
        let fits = |endpoint: &&Arc<Endpoint>| endpoint.is_well() && other(endpoint);
        let cheaper = |one: &&Arc<Endpoint>, two: &&Arc<Endpoint>| one.cost().total_cmp(&two.cost());
        if let Some((one, two)) = self.two().filter(|(one, two)| fits(one) && fits(two)) {
            return Some(if cheaper(&one, &two).is_le() { one } else { two });
        }
        let well = self.endpoints.iter().filter(fits).min_by(cheaper);
        well.or_else(|| self.endpoints.iter().filter(other).min_by(cheaper))
    }

    /// Two different ones.
    fn two(&self) -> Option<(&Arc<Endpoint>, &Arc<Endpoint>)> {
        let count = self.endpoints.len();
        let roll = self.dice.load(Ordering::Relaxed).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.dice.store(roll, Ordering::Relaxed);
        let roll = usize::try_from(roll >> 33).unwrap_or(0);
        let one = roll.checked_rem(count)?;
        let two = (one + 1 + (roll / count).checked_rem(count - 1)?) % count;
        Some((self.endpoints.get(one)?, self.endpoints.get(two)?))
    }

    /// Closes connections that have been idle for too long, and lets endpoints that failed be tried again.
    pub(super) fn sweep(&self, now: Instant) {
        self.backend.recover(now);
        self.endpoints.iter().for_each(|endpoint| endpoint.sweep(now));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    use crate::routing::{OwnPaths, parse};
    use crate::upstreams::Failed;

    fn upstream(count: usize) -> Upstream {
        of((0..count).map(|index| format!("127.0.0.1:{}", 1 + index)))
    }

    fn of(addresses: impl IntoIterator<Item = String>) -> Upstream {
        let endpoints: Vec<String> =
            addresses.into_iter().map(|address| format!("\"http://{address}\"")).collect();
        let text = format!("[upstream.a]\nendpoints = [{}]\n", endpoints.join(", "));
        let routes = parse(&text, OwnPaths::new("")).unwrap();
        let backend = Arc::new(Backend::new(&routes.upstreams()[0]));
        Upstream::new(&backend, None, 4, &TaskTracker::new())
    }

    #[tokio::test]
    async fn whoever_tried_another_endpoint_first_has_waited() {
        let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = of(["127.0.0.1:1".to_owned(), there.local_addr().unwrap().to_string()]);
        let mut place = upstream.backend.limit.enter();
        upstream.endpoints[1].lease(&mut place).await.unwrap().lease.give_back();
        let mut waited = 0;
        for _ in 0..50 {
            let leased = upstream.lease().await.unwrap();
            assert!(leased.idle.is_some(), "it is the connection that was there");
            assert_eq!(leased.second, leased.waited);
            waited += usize::from(leased.waited);
            leased.lease.give_back();
        }
        // Until the other one is left out.
        assert!((1..50).contains(&waited), "{waited}");
    }

    /// How often each is chosen.
    fn chosen(upstream: &Upstream, but: Option<usize>) -> Vec<usize> {
        let mut counts = vec![0; upstream.endpoints.len()];
        for _ in 0..1000 {
            let chosen = upstream.choose(but.map(|index| &upstream.endpoints[index])).unwrap();
            counts[upstream.endpoints.iter().position(|other| Arc::ptr_eq(other, chosen)).unwrap()] += 1;
        }
        counts
    }

    #[tokio::test(start_paused = true)]
    async fn equals_are_chosen_equally() {
        for count in chosen(&upstream(4), None) {
            assert!((200..300).contains(&count), "{count}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_slow_one_is_spared_and_so_is_the_busy_one() {
        let upstream = upstream(3);
        let now = Instant::now();
        for (endpoint, milliseconds) in upstream.endpoints.iter().zip([5, 6, 200]) {
            endpoint.latency_for_test(Duration::from_millis(milliseconds), now);
        }
        let counts = chosen(&upstream, None);
        assert_eq!(counts[2], 0, "{counts:?}");
        assert!(counts[0] > counts[1] && counts[1] > 200, "{counts:?}");
        upstream.endpoints[0].busy_for_test(40);
        upstream.endpoints[1].busy_for_test(40);
        assert!(chosen(&upstream, None)[2] > 600, "enough of a queue makes the slow one the better one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_attempt_goes_elsewhere_and_the_sick_are_a_last_resort() {
        let upstream = upstream(3);
        assert_eq!(chosen(&upstream, Some(1))[1], 0);
        let vitals = upstream.backend.endpoints();
        upstream.backend.failed(&vitals[0], Failed::Unreachable);
        assert_eq!(chosen(&upstream, None)[0], 0);
        assert_eq!(chosen(&upstream, Some(1)), [0, 0, 1000]);
        upstream.backend.failed(&vitals[2], Failed::Unreachable);
        assert_eq!(chosen(&upstream, None), [0, 1000, 0]);
        assert_eq!(chosen(&upstream, Some(1))[1], 0, "only others are left");
    }

    #[tokio::test(start_paused = true)]
    async fn one_alone_is_always_it() {
        let upstream = upstream(1);
        assert_eq!(chosen(&upstream, None), [1000]);
        assert!(upstream.choose(Some(&upstream.endpoints[0])).is_none());
    }
}
