//! Who does not keep to the protocol is told so, and harms nobody.

use std::time::Duration;

use chassis::{
    grpc::client::{Channel, channel},
    lifecycle::Lifecycle,
};
use futures_util::{StreamExt as _, stream};
use latchkey_feed::{
    FromWatcher, Position, Tag, Verdict, WatcherId,
    replica::{Mode, Outcome},
    wire::from_watcher,
};
use proto::feed::v1::{
    ConfirmRequest, WatchRequest, confirm_service_client::ConfirmServiceClient,
    feed_service_client::FeedServiceClient, watch_response::Message,
};
use tonic::{Code, Request, Streaming};

use crate::cluster::{self, Cluster, external, until};

fn to(cluster: &Cluster, lifecycle: &Lifecycle) -> Channel {
    let endpoint = format!("http://{}", cluster.replica(0).address);
    channel(&[endpoint], &external(), "auth", lifecycle).unwrap()
}

/// A stream on which `says` is said, and then nothing, without its end.
async fn open(
    channel: &Channel,
    says: Vec<WatchRequest>,
) -> Result<Streaming<proto::feed::v1::WatchResponse>, tonic::Status> {
    let mut request = Request::new(stream::iter(says).chain(stream::pending()));
    request.set_timeout(Duration::from_secs(60));
    Ok(FeedServiceClient::new(channel.clone()).watch(request).await?.into_inner())
}

fn hello(position: Option<Position>) -> WatchRequest {
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
    ] {
        let mut answers = open(&channel, says).await.unwrap();
        let last = loop {
            match answers.message().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert_eq!(last.unwrap_err().code(), Code::InvalidArgument);
    }
    let member = "nobody".to_owned();
    let asked = ConfirmServiceClient::new(channel)
        .confirm(ConfirmRequest { member, position: None, after: None, entries: Vec::new() })
        .await;
    assert_eq!(asked.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(guard.judge(&cluster::token(1)), Some(Verdict::Live));
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
    until("its lies are counted", || serving.view().stray_acknowledgements > 0).await;
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
    lifecycle.end();
}
