//! Who does not keep to the protocol is told so, and harms nobody.

use std::time::Duration;

use chassis::{
    grpc::client::{Channel, channel},
    lifecycle::Lifecycle,
};
use futures_util::{FutureExt as _, StreamExt as _, future::join_all, stream};
use latchkey_feed::{
    FromWatcher, Position, Tag, ToWatcher, Verdict, WatcherId, What,
    replica::{Misconduct, Mode, Outcome},
    wire::from_watcher,
};
use proto::feed::v1::{
    ConfirmRequest, WatchRequest, confirm_service_client::ConfirmServiceClient,
    feed_service_client::FeedServiceClient, watch_response::Message,
};
use tokio::sync::mpsc;
use tonic::{Code, Request, Streaming};

use crate::cluster::{self, Cluster, external, until};

pub fn to(cluster: &Cluster, lifecycle: &Lifecycle) -> Channel {
    let endpoint = format!("http://{}", cluster.replica(0).address);
    channel(&[endpoint], &external(), "auth", lifecycle).unwrap()
}

/// A stream on which `says` is said, and then nothing, without its end.
pub async fn open(
    channel: &Channel,
    says: Vec<WatchRequest>,
) -> Result<Streaming<proto::feed::v1::WatchResponse>, tonic::Status> {
    let mut request = Request::new(stream::iter(says).chain(stream::pending()));
    request.set_timeout(Duration::from_secs(60));
    Ok(FeedServiceClient::new(channel.clone()).watch(request).await?.into_inner())
}

pub fn hello(position: Option<Position>) -> WatchRequest {
    from_watcher(&FromWatcher::Hello { watcher: WatcherId(7), position })
}

fn renew(sequence: u64, acked: Position) -> WatchRequest {
    from_watcher(&FromWatcher::Renew { sequence, acked })
}

#[tokio::test]
async fn what_is_no_message_closes_its_stream_and_no_other() {
    let cluster = Cluster::start(1).await;
    let guard = cluster.guard().await;
    let lifecycle = Lifecycle::new(Default::default());
    let channel = to(&cluster, &lifecycle);
    for says in [
        vec![WatchRequest { message: None }],
        vec![hello(None), WatchRequest { message: None }],
        vec![hello(Some(Position { number: 0, tag: Tag(9) }))],
        // No Hello, or not first.
        vec![],
        vec![renew(1, Position::START)],
    ] {
        let answers = open(&channel, says).await.unwrap();
        assert_eq!(last(answers).await, Err(Code::InvalidArgument));
    }
    let noted = || cluster.replica(0).serving.view().misconduct;
    until("they are counted", || noted().count(Misconduct::NotTheProtocol) == 5).await;
    let member = "nobody".to_owned();
    let asked = ConfirmServiceClient::new(channel)
        .confirm(ConfirmRequest { member, position: None, after: None, entries: Vec::new() })
        .await;
    assert_eq!(asked.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(guard.judge(&cluster::token(1)), Some(Verdict::Live));
    lifecycle.end();
}

/// How a stream ends that its watcher keeps open.
async fn last(mut answers: Streaming<proto::feed::v1::WatchResponse>) -> Result<(), Code> {
    loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(status) => return Err(status.code()),
        }
    }
}

#[tokio::test]
async fn a_stream_that_the_replica_closes_is_over_for_the_watcher_too() {
    let cluster = Cluster::start(1).await;
    let lifecycle = Lifecycle::new(Default::default());
    let channel = to(&cluster, &lifecycle);
    let twice = open(&channel, vec![hello(None), hello(None)]).await.unwrap();
    assert_eq!(last(twice).await, Ok(()));
    let noted = || cluster.replica(0).serving.view().misconduct;
    until("it is noted", || noted().count(Misconduct::SecondHello) == 1).await;
    cluster.log.take_away();
    let unreadable = open(&channel, vec![hello(None)]).await.unwrap();
    assert_eq!(last(unreadable).await, Ok(()));
    cluster.log.give_back();

    lifecycle.end();
}

#[tokio::test]
async fn one_that_acknowledges_nothing_is_cut_off_and_does_not_come_back_on_the_same_stream() {
    let cluster = Cluster::start(1).await;
    let serving = &cluster.replica(0).serving;
    let lifecycle = Lifecycle::new(Default::default());
    let (says, mut said) = mpsc::unbounded_channel();
    says.send(hello(None)).unwrap();
    let mut request = Request::new(stream::poll_fn(move |context| said.poll_recv(context)));
    request.set_timeout(Duration::from_secs(60));
    let mut client = FeedServiceClient::new(to(&cluster, &lifecycle));
    let answers = client.watch(request).await.unwrap().into_inner();
    let ended = |number| serving.end(vec![cluster::ending(number)], Mode::Durable);
    ended(0).await;
    until("it watches", || serving.view().watchers == 1).await;
    for number in 1..=4100 {
        ended(number).await;
    }
    // It has not read what it was sent either.
    until("it is cut off", || serving.view().watchers == 0).await;
    // Perhaps it has heard already that it is over.
    let _ = says.send(hello(None));
    assert_eq!(last(answers).await, Ok(()));
    ended(4101).await;
    assert_eq!(serving.view().watchers, 0);
    assert_eq!(serving.view().misconduct.count(Misconduct::TooSlow), 1);
    lifecycle.end();
}

#[tokio::test]
async fn positions_that_lead_nowhere_get_everything_anew() {
    let cluster = Cluster::start(1).await;
    let serving = &cluster.replica(0).serving;
    serving.end(vec![cluster::ending(1), cluster::ending(2)], Mode::Everywhere).await;
    let lifecycle = Lifecycle::new(Default::default());
    let channel = to(&cluster, &lifecycle);
    // From the future; of another incarnation of the log.
    for position in [Position { number: 77, tag: Tag(1) }, Position { number: 1, tag: Tag(1) }] {
        let mut answers = open(&channel, vec![hello(Some(position))]).await.unwrap();
        let mut said = Vec::new();
        for _ in 0..3 {
            said.push(answers.message().await.unwrap().unwrap().message.unwrap());
        }
        assert!(matches!(&said[0], Message::Reset(_)), "{said:?}");
        assert!(matches!(&said[1], Message::Live(live) if live.entries.len() == 2), "{said:?}");
        assert!(matches!(&said[2], Message::CaughtUp(_)), "{said:?}");
    }
    // A newcomer has none.
    let mut newcomer = open(&channel, vec![hello(None)]).await.unwrap();
    assert!(matches!(newcomer.message().await.unwrap().unwrap().message.unwrap(), Message::Reset(_)));
    until("they are noted", || serving.view().misconduct.count(Misconduct::UnknownPosition) == 2).await;
    let metrics = cluster.replica(0).lifecycle.metrics().render();
    let counts = |line: &&str| line.starts_with("latchkey_auth_feed_misconduct_total");
    let noted = metrics.lines().filter(counts).filter(|line| line.contains(r#"what="unknown_position""#));
    assert!(noted.clone().count() == 1 && noted.clone().all(|line| line.ends_with(" 2")), "{metrics}");
    lifecycle.end();
}

#[tokio::test]
async fn one_that_never_acknowledges_or_lies_costs_a_lease_and_then_gets_none() {
    let cluster = Cluster::start(1).await;
    let guard = cluster.guard().await;
    let serving = &cluster.replica(0).serving;
    let lifecycle = Lifecycle::new(Default::default());
    let channel = to(&cluster, &lifecycle);
    // It renews without end, always with what it knew at first, or with what nobody sent it.
    let lies = Position { number: 1_000, tag: Tag(5) };
    let says = stream::iter([hello(None)]).chain(stream::unfold(0, move |number| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let acked = if number % 2 == 0 { Position::START } else { lies };
        Some((renew(number, acked), number + 1))
    }));
    let mut request = Request::new(says);
    request.set_timeout(Duration::from_secs(600));
    let mut answers = FeedServiceClient::new(channel.clone()).watch(request).await.unwrap().into_inner();
    loop {
        if let Message::Grant(_) = answers.message().await.unwrap().unwrap().message.unwrap() {
            break;
        }
    }
    lifecycle.spawn_work("reads", async move { while let Ok(Some(_)) = answers.message().await {} });
    let noted = |of| serving.view().misconduct.count(of);
    until("its lies are counted", || noted(Misconduct::StrayAcknowledgement) > 0).await;
    // Each of the first waits its lease out: then it is not granted any more, and nothing waits for it.
    let mut slow = 0;
    for number in 0..8 {
        let before = serving.view().leases;
        let outcome = serving.end(vec![cluster::ending(number)], Mode::Everywhere).await;
        assert!(matches!(outcome, Outcome::Done { everywhere: true, .. }), "{outcome:?}");
        assert_ne!(guard.judge(&cluster::token(number)), Some(Verdict::Live));
        slow += usize::from(before > 1);
    }
    assert!((1..=6).contains(&slow), "{slow}");
    until("it has no lease", || serving.view().leases == 1).await;
    assert!(noted(Misconduct::HeldBack) > 0);
    lifecycle.end();
}

#[tokio::test]
async fn of_ten_thousand_watchers_of_one_name_so_many_have_a_place_and_the_rest_are_told() {
    const MOST: usize = 2048;
    let cluster = Cluster::start(1).await;
    let guard = cluster.guard().await;
    let serving = &cluster.replica(0).serving;
    let lifecycle = Lifecycle::new(Default::default());
    let (mut taken, mut refused) = (Vec::new(), 0_u64);
    // One connection carries 1,024 streams.
    for _ in 0..10 {
        let channel = to(&cluster, &lifecycle);
        let opened = (0..1000).map(|_| open(&channel, vec![hello(None)]));
        for opened in join_all(opened).await {
            match opened {
                Ok(answers) => taken.push(answers),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted);
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(taken.len() as u64 + refused, 10_000);
    assert!(taken.len() <= MOST, "{}", taken.len());
    // On a machine that is busy with them the guard has lost its stream, and is refused among them until there is room.
    until("they are counted", || serving.view().misconduct.count(Misconduct::TooMany) >= refused).await;
    // Who has a place is served, and an ending does not wait for who asks for no lease.
    let outcome = serving.end(vec![cluster::ending(1)], Mode::Everywhere).await;
    assert!(matches!(outcome, Outcome::Done { everywhere: true, .. }), "{outcome:?}");
    assert_ne!(guard.judge(&cluster::token(1)), Some(Verdict::Live));
    let first = taken.first_mut().unwrap().message().await.unwrap().unwrap();
    assert!(matches!(first.message.unwrap(), Message::Reset(_)));
    lifecycle.end();
    until("their places are free", || serving.view().watchers <= 1).await;
    until("the guard has its lease", || guard.view().lease_left.is_some()).await;
}

/// Whatever they say, and however much.
#[tokio::test]
async fn those_who_renew_without_end_hold_up_no_ending_and_no_lease() {
    let cluster = Cluster::start(1).await;
    let guard = cluster.guard().await;
    let serving = &cluster.replica(0).serving;
    let lifecycle = Lifecycle::new(Default::default());
    for number in 0..64 {
        let (serving, mut stream) = (serving.clone(), serving.open("gateway"));
        lifecycle.spawn_work("watcher", async move {
            let hello = FromWatcher::Hello { watcher: WatcherId(100 + number), position: None };
            serving.received(stream.id, hello).await;
            let mut acked = Position::START;
            for sequence in 0.. {
                while let Some(Some(message)) = stream.messages.recv().now_or_never() {
                    if let ToWatcher::CaughtUp(position) | ToWatcher::Changes { last: position, .. } = message
                    {
                        acked = position;
                    }
                }
                serving.received(stream.id, FromWatcher::Renew { sequence, acked }).await;
            }
        });
    }
    until("they all have a lease", || serving.view().leases > 64).await;
    for number in 0..50 {
        let outcome = serving.end(vec![cluster::ending(number)], Mode::Everywhere).await;
        assert!(matches!(outcome, Outcome::Done { everywhere: true, .. }), "{outcome:?}");
        assert_eq!(guard.judge(&cluster::token(number)), Some(Verdict::Ended(What::Token)));
    }
    lifecycle.end();
}
