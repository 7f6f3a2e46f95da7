//! Whatever a watcher does that it must not is named in the log, with who it was, and counted in the metrics; and the metrics say how
//! a replica stands.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use chassis::lifecycle::Lifecycle;
use futures_util::future::join_all;
use latchkey_feed::{
    FromWatcher, Position, Tag, ToWatcher, WatcherId,
    driver::serving::Serving,
    replica::{Misconduct, Mode, Outcome},
};
use proto::feed::v1::WatchRequest;
use tracing::field::{Field, Visit};
use tracing_subscriber::{
    Layer, filter::LevelFilter, layer::Context, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    cluster::{self, Cluster, LEASE, until},
    strangers::{hello, open, to},
};

static LINES: Mutex<Vec<Fields>> = Mutex::new(Vec::new());

type Fields = BTreeMap<&'static str, String>;

/// Keeps the fields of each line.
struct Catcher;

struct Reader(Fields);

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Catcher {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut reader = Reader(Fields::new());
        event.record(&mut reader);
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(reader.0);
    }
}

/// The lines that name it.
fn lines(misconduct: Misconduct) -> Vec<Fields> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines
        .iter()
        .filter(|line| line.get("what").is_some_and(|what| what == misconduct.name()))
        .cloned()
        .collect()
}

/// Says Hello, and then whatever `says` makes of what it was last sent, until the replica closes its stream. It reads everything.
fn watch(
    serving: &Serving,
    lifecycle: &Lifecycle,
    mut says: impl FnMut(u64, Position) -> Option<FromWatcher> + Send + 'static,
) {
    let (serving, mut stream) = (serving.clone(), serving.open("gateway"));
    lifecycle.spawn_work("watcher", async move {
        serving.received(stream.id, FromWatcher::Hello { watcher: WatcherId(9), position: None }).await;
        let (mut sent, mut sequence) = (Position::START, 0);
        while let Some(message) = stream.messages.recv().await {
            if let ToWatcher::CaughtUp(position) | ToWatcher::Changes { last: position, .. } = message {
                sent = position;
            }
            sequence += 1;
            if let Some(says) = says(sequence, sent) {
                serving.received(stream.id, says).await;
            }
        }
    });
}

#[tokio::test]
async fn every_misconduct_is_named_in_the_log_and_counted_in_the_metrics() {
    tracing_subscriber::registry().with(Catcher.with_filter(LevelFilter::WARN)).init();
    let cluster = Cluster::start(1).await;
    let serving = &cluster.replica(0).serving;
    let lifecycle = Lifecycle::new(Default::default());
    let channel = to(&cluster, &lifecycle);
    let happened = async |what: Misconduct| {
        until(what.name(), || serving.view().misconduct.count(what) > 0).await;
    };
    let nowhere = Position { number: 7_777, tag: Tag(1) };

    let mut streams = Vec::new();
    for (says, what) in [
        (vec![hello(Some(nowhere))], Misconduct::UnknownPosition),
        (vec![hello(None), hello(None)], Misconduct::SecondHello),
        (vec![hello(None), WatchRequest { message: None }], Misconduct::NotTheProtocol),
    ] {
        streams.push(open(&channel, says).await.unwrap());
        happened(what).await;
    }
    // It renews as often as it hears something, with what nobody sent it.
    watch(serving, &lifecycle, move |sequence, _| Some(FromWatcher::Renew { sequence, acked: nowhere }));
    happened(Misconduct::StrayAcknowledgement).await;
    let mut number = 0;
    let mut ending = async |mode| {
        number += 1;
        let outcome = serving.end(vec![cluster::ending(number)], mode).await;
        assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
    };
    // The same: it has leases, and each ending waits one out.
    while serving.view().misconduct.count(Misconduct::HeldBack) == 0 {
        ending(Mode::Everywhere).await;
    }
    // It goes with its lease.
    let mut watcher = serving.open("gateway");
    serving.received(watcher.id, FromWatcher::Hello { watcher: WatcherId(8), position: None }).await;
    let mut sequence = 0;
    while !matches!(watcher.messages.recv().await, Some(ToWatcher::Grant { .. })) {
        sequence += 1;
        serving.received(watcher.id, FromWatcher::Renew { sequence, acked: Position::START }).await;
    }
    drop(watcher);
    ending(Mode::Everywhere).await;
    assert!(serving.view().misconduct.count(Misconduct::LeftLease) > 0);
    watch(serving, &lifecycle, |_, _| None);
    while serving.view().misconduct.count(Misconduct::TooSlow) == 0 {
        ending(Mode::Durable).await;
    }
    // One connection carries 1,024 streams.
    for _ in 0..3 {
        let channel = to(&cluster, &lifecycle);
        streams.extend(
            join_all((0..1_000).map(|_| open(&channel, vec![hello(None)]))).await.into_iter().flatten(),
        );
    }
    happened(Misconduct::TooMany).await;

    let metrics = cluster.replica(0).lifecycle.metrics().render();
    for what in Misconduct::EVERY {
        let lines = lines(what);
        assert!(!lines.is_empty(), "{what:?}");
        for line in &lines {
            assert!(line.get("caller").is_some_and(|caller| !caller.is_empty()), "{what:?}: {line:?}");
        }
        let counted = metrics.lines().filter(|line| {
            line.starts_with("latchkey_auth_feed_misconduct_total{")
                && line.contains(&format!("what=\"{}\"", what.name()))
        });
        let counted: Vec<f64> =
            counted.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(counted.len() == 1 && counted[0] >= 1.0, "{what:?}: {metrics}");
    }
    lifecycle.end();
}

/// Its connection may stand for hours and nobody read from it.
#[tokio::test]
async fn what_is_remembered_is_not_kept_for_a_stream_that_was_closed() {
    let cluster = Cluster::start(1).await;
    let serving = &cluster.replica(0).serving;
    serving.end(vec![cluster::ending(1)], Mode::Durable).await;
    let mut streams = [serving.open("gateway"), serving.open("gateway")];
    let hello = |watcher| FromWatcher::Hello { watcher: WatcherId(watcher), position: None };
    for (watcher, stream) in (1..).zip(&streams) {
        serving.received(stream.id, hello(watcher)).await;
    }
    let [stays, goes] = &mut streams;
    assert_eq!(stays.messages.recv().await, Some(ToWatcher::Reset));
    assert_eq!(goes.messages.recv().await, Some(ToWatcher::Reset));
    serving.received(goes.id, hello(2)).await;
    assert!((&mut goes.closed).await.is_err(), "it said Hello twice");
    assert_eq!(goes.messages.recv().await, None);
    assert!(matches!(stays.messages.recv().await, Some(ToWatcher::Live(_))));
}

#[tokio::test]
async fn how_a_replica_stands_is_in_its_metrics() {
    let cluster = Cluster::start(1).await;
    let _guards = [cluster.guard().await, cluster.guard().await];
    let replica = cluster.replica(0);
    for number in 0..3 {
        replica.serving.end(vec![cluster::ending(number)], Mode::Everywhere).await;
    }
    let gauge = |what: &str| {
        let metrics = replica.lifecycle.metrics().render();
        let name = format!("latchkey_auth_feed_{what}");
        let lines = metrics
            .lines()
            .filter(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let figures: Vec<f64> = lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(figures.len(), 1, "{name}: {metrics}");
        figures[0]
    };
    assert_eq!([gauge("position"), gauge("remembered")], [3.0, 3.0]);
    // One that moves has two streams for a moment.
    until("they watch", || gauge("watchers") == 2.0).await;
    let lease = LEASE.as_secs_f64();
    until("each has a lease", || gauge("leases") == 2.0).await;
    until("it has the right to answer", || {
        (0.0..=lease).contains(&gauge("right_seconds")) && gauge("right_seconds") > 0.0
    })
    .await;
    until("it is not behind", || (0.0..lease).contains(&gauge("staleness_seconds"))).await;

    cluster.log.take_away();
    until("its right is over", || gauge("right_seconds") == 0.0).await;
    until("so are the leases that it granted", || gauge("leases") == 0.0).await;
    until("it is ever further behind", || gauge("staleness_seconds") > lease).await;
    assert_eq!([gauge("position"), gauge("remembered")], [3.0, 3.0], "what it knows it knows");
    cluster.log.give_back();
    until("it is itself again", || gauge("right_seconds") > 0.0 && gauge("staleness_seconds") < lease).await;
}
