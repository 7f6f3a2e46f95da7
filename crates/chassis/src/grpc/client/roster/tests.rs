use std::pin::pin;

use futures_util::FutureExt as _;

use super::super::tests::{Peer, life, place};
use super::*;

/// Replicas that come, as the roster of one who calls them has them.
struct Auth {
    roster: Roster,
    replicas: Vec<(Key, CancellationToken)>,
}

impl Auth {
    fn of(count: u16) -> Auth {
        let life = life();
        let roster = Roster::new(life.dependency("auth"), Apart::new("auth", &life), 0, life.ended());
        let keys = (0..count).map(|number| (usize::from(number), place(number)));
        let replicas = keys.map(|key| (key.clone(), roster.add(key).unwrap())).collect();
        Auth { roster, replicas }
    }

    fn stands(&self, number: usize, standing: Standing) {
        let (key, removed) = &self.replicas[number];
        self.roster.set(key, removed, standing);
    }

    fn is_out(&self, number: usize, asked: Asked) {
        self.stands(number, Standing::Out { reason: "no connection".to_owned(), asked });
    }
}

fn is(found: Option<Arc<Link>>, peer: &Peer) -> bool {
    found.is_some_and(|link| Arc::ptr_eq(&link, &peer.link))
}

const SOON: Duration = Duration::from_millis(20);

#[tokio::test(start_paused = true)]
async fn who_is_asked_is_waited_for_though_another_has_refused_again() {
    let auth = Auth::of(2);
    (0..2).for_each(|number| auth.is_out(number, Asked::From(Instant::now())));
    let wanted = auth.roster.wanted();
    let mut call = pin!(auth.roster.choose(None));
    assert!(call.as_mut().now_or_never().is_none());
    assert!(wanted.has_changed().unwrap(), "both are asked");
    (0..2).for_each(|number| auth.is_out(number, Asked::Now));
    auth.is_out(1, Asked::From(Instant::now() + SOON));
    assert!(call.as_mut().now_or_never().is_none(), "the first has not said no");
    let peer = Peer::connect(place(0)).await;
    auth.stands(0, Standing::Serving(peer.link.clone()));
    assert!(is(call.await, &peer));
}

#[tokio::test(start_paused = true)]
async fn who_calls_while_one_is_asked_for_another_waits_for_it_too() {
    let auth = Auth::of(2);
    auth.is_out(0, Asked::Now);
    auth.is_out(1, Asked::Never);
    let mut call = pin!(auth.roster.choose(None));
    assert!(call.as_mut().now_or_never().is_none());
    let peer = Peer::connect(place(0)).await;
    auth.stands(0, Standing::Serving(peer.link.clone()));
    assert!(is(call.await, &peer));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_once_all_who_were_asked_have_refused_and_not_for_long_if_they_say_nothing() {
    let auth = Auth::of(2);
    let refuse = || (0..2).for_each(|number| auth.is_out(number, Asked::From(Instant::now() + SOON)));
    refuse();
    let began = Instant::now();
    assert!(auth.roster.choose(None).await.is_none());
    tokio::time::advance(SOON).await;
    let mut call = pin!(auth.roster.choose(None));
    assert!(call.as_mut().now_or_never().is_none());
    refuse();
    assert!(call.await.is_none());
    assert_eq!(began.elapsed(), SOON, "without another wait");

    auth.is_out(0, Asked::Now);
    auth.is_out(1, Asked::Never);
    let began = Instant::now();
    assert!(auth.roster.choose(None).await.is_none());
    assert!((ASKED..ASKED + SOON).contains(&began.elapsed()));
    auth.is_out(0, Asked::Never);
    assert!(auth.roster.choose(None).now_or_never().unwrap().is_none());
}

/// One that was asked, answered and is not ready yet: it is waited for without looking again and again.
#[tokio::test(start_paused = true)]
async fn waiting_for_one_that_starts_costs_nothing() {
    let auth = Auth::of(1);
    auth.is_out(0, Asked::From(Instant::now()));
    let (mut call, mut looks) = (pin!(auth.roster.choose(None)), 0);
    assert!(call.as_mut().now_or_never().is_none());
    auth.stands(0, Standing::Coming);
    let counted = std::future::poll_fn(|context| {
        looks += 1;
        if looks > 10 { std::task::Poll::Ready(None) } else { call.as_mut().poll(context) }
    });
    let waited = tokio::time::timeout(5 * ASKED, counted).await;
    assert!(waited.is_err() && looks < 10, "{looks} looks");
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_is_not_preferred_to_who_takes_calls_or_soon_will() {
    let auth = Auth::of(2);
    let (mut good, frozen) = (Peer::connect(place(0)).await, Peer::connect(place(1)).await);
    auth.stands(1, Standing::Silent(frozen.link.clone()));
    for standing in [Standing::Serving, Standing::Leaving] {
        auth.stands(0, standing(good.link.clone()));
        assert!(auth.roster.take_elsewhere(&place(0)).is_none(), "there is no other");
        let again = auth.roster.choose(Some(&good.link)).now_or_never();
        assert!(again.unwrap().is_none(), "at once");
        assert!(is(auth.roster.choose(None).await, &good));

        good.link.retire();
        for except in [None, Some(&good.link)] {
            let mut call = pin!(auth.roster.choose(except));
            assert!(call.as_mut().now_or_never().is_none());
            let next = Peer::connect(place(0)).await;
            auth.stands(0, Standing::Serving(next.link.clone()));
            assert!(is(call.await, &next), "it waits for the next connection");
            auth.stands(0, standing(good.link.clone()));
        }
        good = Peer::connect(place(0)).await;
    }
    auth.is_out(0, Asked::From(Instant::now()));
    assert!(is(auth.roster.choose(None).await, &frozen), "there is nobody else");
}

#[tokio::test(start_paused = true)]
async fn elsewhere_is_another_place_and_not_another_connection() {
    let auth = Auth::of(2);
    let (renewed, other) = (Peer::connect(place(0)).await, Peer::connect(place(1)).await);
    auth.stands(0, Standing::Serving(renewed.link.clone()));
    assert!(auth.roster.take_elsewhere(&place(0)).is_none());
    auth.stands(1, Standing::Serving(other.link.clone()));
    for _ in 0..20 {
        assert!(is(auth.roster.take_elsewhere(&place(0)), &other));
    }
}

fn shares(costs: &[f64], usable: impl Fn(usize) -> bool) -> Vec<f64> {
    let places: Vec<usize> = (0..costs.len()).collect();
    let (turn, mut chosen) = (AtomicU64::new(0), vec![0.0; costs.len()]);
    for _ in 0..10_000 {
        if let Some(place) = power_of_two(&places, &turn, |place| usable(**place), |place| costs[*place]) {
            chosen[*place] += 1.0 / 10_000.0;
        }
    }
    chosen
}

#[test]
fn equals_get_equal_shares() {
    for count in [2_u8, 3, 4, 7] {
        let shares = shares(&vec![1.0; count.into()], |_| true);
        let fair = 1.0 / f64::from(count);
        assert!(shares.iter().all(|share| (0.9..1.1).contains(&(share / fair))), "{shares:?}");
    }
}

#[test]
fn the_costliest_gets_nothing_and_the_rest_is_spread() {
    let shares = shares(&[1.0, 9.0, 1.0, 1.0], |_| true);
    assert!(shares[1] == 0.0 && shares.iter().filter(|share| **share > 0.3).count() == 3, "{shares:?}");
}

#[test]
fn one_that_is_not_usable_is_not_chosen() {
    let shares = shares(&[1.0, 1.0, 1.0], |place| place != 2);
    assert!(shares[2] == 0.0 && shares[0] > 0.4 && shares[1] > 0.4, "{shares:?}");
}
