//! The machines at work, over real sockets: replicas on one log, guards that watch them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "only tests use this")]

mod cluster;
mod controls;
mod misconduct;
mod strangers;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chassis::clock::SystemClock;
use cluster::{Cluster, LEASE, eventually, until};
use futures_util::{FutureExt as _, stream::BoxStream};
use latchkey_feed::{
    Change, FromWatcher, Life, Log as _, Member, Now, Position, Tag, Tail, ToWatcher, Variant, Verdict, Wall,
    WatcherId, What,
    driver::{
        serving::{NotConfirmed, Noted, Parts, Peers, serve},
        watching::{Dial, OutOfReach, Watching},
    },
    grpc::clock,
    log::{Appended, MemoryLog},
    replica::{Answer, Mode, Outcome, Settings},
    watcher::{self, Remember},
};
use tokio::sync::mpsc::UnboundedReceiver;

#[tokio::test]
async fn what_is_acknowledged_everywhere_is_refused_everywhere() {
    let cluster = Cluster::start(2).await;
    let guards = [cluster.guard().await, cluster.guard().await, cluster.guard().await];
    for number in 0..20 {
        let token = cluster::token(number);
        assert!(guards.iter().all(|guard| guard.judge(&token) == Some(Verdict::Live)));
        let outcome =
            cluster.replica(number % 2).serving.end(vec![cluster::ending(number)], Mode::Everywhere).await;
        assert!(matches!(outcome, Outcome::Done { everywhere: true, .. }), "{outcome:?}");
        for guard in &guards {
            // Under its lease or, should that have run out just now, not at all.
            assert_ne!(guard.judge(&token), Some(Verdict::Live));
        }
        for replica in &cluster.replicas {
            let answer = replica.serving.judge(&token).await;
            assert_eq!(answer, Answer::Verdict(Verdict::Ended(What::Token)));
        }
    }
    assert_eq!(guards[0].view().remembered, 20);
    assert_eq!(cluster.replica(0).serving.view().misconduct, Noted::default());
}

#[tokio::test]
async fn a_guard_permits_nothing_before_its_first_lease_and_after_its_last() {
    let mut cluster = Cluster::start(1).await;
    let stranger = cluster.guard_that_watches_nobody();
    let guard = cluster.guard().await;
    let token = cluster::token(1);
    assert_eq!(stranger.judge(&token), None);
    assert!(!stranger.may_serve_stale(Duration::from_secs(60)), "it never had a lease");
    assert_eq!(guard.judge(&token), Some(Verdict::Live));
    cluster.kill(0);
    until("the lease is over", || guard.judge(&token).is_none()).await;
    assert!(guard.may_serve_stale(Duration::from_secs(60)));
    assert!(!guard.may_serve_stale(Duration::ZERO));
}

/// It has registered and read the log. But only a beat says that its row was still there: whoever ends something might not know
/// of it, and not wait for what it grants.
#[tokio::test]
async fn a_replica_whose_first_beat_is_not_answered_grants_nothing() {
    let mut cluster = Cluster::start(0).await;
    cluster.log.answer_beats(false);
    cluster.begin().await;
    until("it beats", || cluster.log.beats() > 0).await;
    // A guard would not turn to one that is not ready.
    let serving = &cluster.replica(0).serving;
    let mut stream = serving.open("gateway");
    serving.received(stream.id, FromWatcher::Hello { watcher: WatcherId(7), position: None }).await;
    assert_eq!(stream.messages.recv().await, Some(ToWatcher::Reset));
    let Some(ToWatcher::CaughtUp(acked)) = stream.messages.recv().await else {
        panic!("it has not caught up")
    };
    // For two leases.
    for sequence in 0..100 {
        serving.received(stream.id, FromWatcher::Renew { sequence, acked }).await;
        tokio::time::sleep(LEASE / 50).await;
        assert_eq!(stream.messages.recv().now_or_never(), None, "{sequence}");
        assert_eq!(serving.view().leases, 0);
    }
    assert!(!serving.view().is_ready && !serving.has_right() && !cluster.replica(0).lifecycle.is_ready());
    assert_eq!(serving.judge_from_memory(&cluster::token(1)), None);

    cluster.log.answer_beats(true);
    let granted = stream.messages.recv().await;
    assert!(matches!(granted, Some(ToWatcher::Grant { .. })), "{granted:?}");
    until("it is ready", || cluster.replica(0).lifecycle.is_ready()).await;
}

#[tokio::test]
async fn a_guard_that_stops_is_gone_and_so_is_its_lease() {
    let cluster = Cluster::start(1).await;
    let guards = [cluster.guard().await, cluster.guard().await];
    let view = || cluster.replica(0).serving.view();
    until("both watch", || view().leases == 2).await;
    cluster.stop_guards();
    until("they have given it back", || guards.iter().all(|guard| guard.view().lease_left.is_none())).await;
    until("it was heard", || (view().watchers, view().leases) == (0, 0)).await;
}

#[tokio::test]
async fn an_ending_waits_a_killed_replica_out_and_its_guards_go_on_at_another() {
    let mut cluster = Cluster::start(2).await;
    let guards = [cluster.guard().await, cluster.guard().await];
    cluster.kill(0);
    let outcome = cluster.replica(1).serving.end(vec![cluster::ending(1)], Mode::Everywhere).await;
    assert!(matches!(outcome, Outcome::Done { everywhere: true, .. }), "{outcome:?}");
    for guard in &guards {
        assert_ne!(guard.judge(&cluster::token(1)), Some(Verdict::Live));
        until("it has a lease from the other", || guard.judge(&cluster::token(2)) == Some(Verdict::Live))
            .await;
        assert_eq!(guard.judge(&cluster::token(1)), Some(Verdict::Ended(What::Token)));
    }
    // Fenced, and once its leases are certainly over removed: the next ending does not wait for it.
    eventually("its row is gone", async || {
        cluster.replica(1).serving.end(vec![cluster::ending(3)], Mode::Everywhere).await;
        cluster.log.members().await.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_stops_hands_its_guards_over_and_takes_its_row_along() {
    let mut cluster = Cluster::start(2).await;
    let guards = [cluster.guard().await, cluster.guard().await, cluster.guard().await];
    let token = cluster::token(1);
    let stopped = cluster.stop(0);
    let mut without = 0;
    let watched = async {
        loop {
            without += guards.iter().filter(|guard| guard.judge(&token).is_none()).count();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = stopped => {}
        () = watched => {}
    }
    assert_eq!(without, 0, "no guard was without a lease for a moment");
    assert_eq!(cluster.log.members().await.len(), 1);
    let outcome = cluster.replica(1).serving.end(vec![cluster::ending(1)], Mode::Everywhere).await;
    assert!(matches!(outcome, Outcome::Done { everywhere: true, .. }), "{outcome:?}");
    assert!(guards.iter().all(|guard| guard.judge(&token) != Some(Verdict::Live)));
}

#[tokio::test]
async fn without_the_log_nobody_answers_and_nothing_is_said_to_have_ended() {
    let cluster = Cluster::start(2).await;
    let guard = cluster.guard().await;
    let token = cluster::token(1);
    cluster.log.take_away();
    eventually("the replicas' right is over", async || {
        cluster.replica(0).serving.judge(&token).await == Answer::Unavailable
    })
    .await;
    until("the guard's lease is over", || guard.judge(&token).is_none()).await;
    let outcome = cluster.replica(0).serving.end(vec![cluster::ending(1)], Mode::Everywhere).await;
    assert_eq!(outcome, Outcome::NotConfirmed);

    cluster.log.give_back();
    until("the guard has a lease again", || guard.judge(&token).is_some()).await;
    // Repeating is right: it may or may not have been appended.
    let outcome = cluster.replica(0).serving.end(vec![cluster::ending(1)], Mode::Everywhere).await;
    assert!(matches!(outcome, Outcome::Done { everywhere: true, .. }), "{outcome:?}");
    assert_eq!(guard.judge(&token), Some(Verdict::Ended(What::Token)));
}

#[tokio::test]
async fn a_guard_that_comes_late_learns_what_had_ended_before() {
    let cluster = Cluster::start(1).await;
    let serving = &cluster.replica(0).serving;
    // More than one message may carry.
    for round in 0..12 {
        let changes = (round * 250..(round + 1) * 250).map(cluster::ending).collect();
        let outcome = serving.end(changes, Mode::Durable).await;
        assert!(matches!(outcome, Outcome::Done { everywhere: false, .. }), "{outcome:?}");
    }
    let guard = cluster.guard().await;
    assert_eq!(guard.view().remembered, 3000);
    assert!(
        (0..3000).all(|number| guard.judge(&cluster::token(number)) == Some(Verdict::Ended(What::Token)))
    );
    let too_many = (0..257).map(cluster::ending).collect();
    assert_eq!(serving.end(too_many, Mode::Durable).await, Outcome::Refused);
    assert!(guard.view().lease_left.is_some_and(|left| left <= LEASE));
}

/// Nobody is out there.
struct OutThere;

#[async_trait]
impl Dial for OutThere {
    async fn open(
        &self,
        _: UnboundedReceiver<FromWatcher>,
    ) -> Result<BoxStream<'static, ToWatcher>, OutOfReach> {
        Err(OutOfReach("nobody".to_owned()))
    }
}

/// Also between two messages, before it is noticed.
#[tokio::test]
async fn a_clock_that_is_turned_back_is_not_followed() {
    const HOUR: u64 = 3_600_000;
    let (real, begun) = (clock(SystemClock::shared()), 1_800_000_000_000);
    let millis = Arc::new(AtomicU64::new(begun));
    let shown = Arc::clone(&millis);
    let settings =
        watcher::Settings { lease: LEASE, remember: Remember::Everything, variant: Variant::default() };
    let wall = Wall::from_unix_millis;
    let read = move || Now { wall: wall(shown.load(Ordering::SeqCst)), ..real.now() };
    let watching = Watching::<()>::new(settings, WatcherId(1), Arc::new(read));
    assert_eq!(watching.ahead(wall(begun)), Duration::ZERO);
    assert_eq!(watching.ahead(wall(begun - HOUR)), Duration::from_millis(HOUR));
    millis.store(begun + HOUR, Ordering::SeqCst);
    tokio::select! {
        () = Arc::clone(&watching).run(Arc::new(OutThere), std::future::pending()) => panic!("it has stopped"),
        () = until("it has seen the later time", || {
            watching.ahead(wall(begun)) == Duration::from_millis(HOUR)
        }) => {}
    }
}

/// There are none.
struct Alone;

#[async_trait]
impl Peers for Alone {
    async fn confirm(&self, _: &Member, _: Position, _: &Tail) -> Result<(), NotConfirmed> {
        Err(NotConfirmed)
    }
}

/// The log is trimmed every minute, below where the replica stood a minute before: not in the first.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_removes_nothing_from_the_log() {
    let (none, hour) = (Duration::ZERO, Duration::from_secs(3600));
    for (log_is_ahead, replica_is_ahead) in [(none, hour), (hour, none)] {
        let real = clock(SystemClock::shared());
        let now = real.now().wall;
        let reads = Arc::clone(&real);
        let log = Arc::new(MemoryLog::new(move || reads.now().wall + log_is_ahead));
        let untils =
            [Wall::from_unix_millis(1), now + Duration::from_secs(660), now + Duration::from_secs(660)];
        for (number, until) in (1..).zip(untils) {
            let change = Change { until, ..cluster::ending(number) };
            log.append(&[Appended { tag: Tag(7), change }]).await.unwrap();
        }
        let (_serving, work) = serve(Parts {
            settings: Settings { lease: LEASE, address: "here".to_owned(), variant: Variant::default() },
            life: Life(1),
            log: log.clone(),
            peers: Arc::new(Alone),
            clock: Arc::new(move || Now { wall: real.now().wall + replica_is_ahead, ..real.now() }),
        });
        let numbers = async || -> Vec<u64> {
            let entries = log.snapshot().await.unwrap().entries;
            entries.iter().map(|entry| entry.position.number).collect()
        };
        let later = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(numbers().await, [1, 2, 3]);
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(numbers().await, [2, 3]);
        };
        tokio::select! {
            () = work => panic!("it has stopped"),
            () = later => {}
        }
    }
}
