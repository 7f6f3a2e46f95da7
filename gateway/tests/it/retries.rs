//! A request is sent to two endpoints at most, and its time is one for both.

use std::fmt::Write as _;

use super::client::{Client, get, request};
use super::gateway::{Gateway, eventually};
use super::upstream::Upstream;

/// Nobody listens there.
const REFUSING: &str = "127.0.0.1:1";

#[tokio::test]
async fn an_endpoint_that_could_not_be_reached_was_the_first_of_two_attempts() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    one.always(Some("gone"));
    other.always(Some("gone"));
    let mut endpoints = [REFUSING.to_owned(), one.address.to_string(), other.address.to_string()];
    let mut routes = String::new();
    // Nothing is known of any endpoint yet, and every application's dice fall alike: in each order another one is first.
    for number in 0..3 {
        endpoints.rotate_left(1);
        let all = endpoints.each_ref().map(|endpoint| format!("\"http://{endpoint}\"")).join(", ");
        write!(
            routes,
            "[upstream.app{number}]\nendpoints = [{all}]\n\
             [[route]]\npath = \"/{number}/*\"\naccept = []\nupstream = \"app{number}\"\n"
        )
        .unwrap();
    }
    let gateway = Gateway::with_routes(&routes).await;
    let mut refused_first = 0;
    for number in 0..3 {
        let before = one.requests().len() + other.requests().len();
        let answer = get(gateway.address, &format!("/{number}/x"), &[]).await;
        let asked = one.requests().len() + other.requests().len() - before;
        let metric =
            format!("latchkey_gateway_upstream_endpoints{{state=\"left_out\",upstream=\"app{number}\"}}");
        let refused = gateway.metric(&metric).unwrap() as usize;
        assert_eq!(refused + asked, 2, "{number}: {answer:?}");
        refused_first += usize::from(refused == 1 && answer.code() == "upstream_failed");
    }
    assert_eq!(refused_first, 1);
}

#[tokio::test]
async fn a_request_and_its_repetition_have_one_time_together() {
    let (one, other, clock) = (Upstream::start().await, Upstream::start().await, Upstream::start().await);
    let mut routes = String::new();
    let endpoints = format!("\"http://{}\", \"http://{}\"", one.address, other.address);
    let clocks = format!("\"http://{}\"", clock.address);
    for (name, endpoints, timeout) in
        [("app", &endpoints, "2s"), ("short", &clocks, "1s"), ("long", &clocks, "1500ms")]
    {
        write!(
            routes,
            "[upstream.{name}]\nendpoints = [{endpoints}]\ntimeout = \"{timeout}\"\n\
             [[route]]\npath = \"/{name}/*\"\naccept = []\nupstream = \"{name}\"\n"
        )
        .unwrap();
    }
    let gateway = Gateway::with_routes(&routes).await;
    let mut repeated = Client::connect(gateway.address).await;
    repeated.send(request("GET", "/app/late", &[])).await;
    let asked = || [&one, &other].map(|endpoint| endpoint.requests().len());
    eventually("it is there", async || (asked() != [0, 0]).then_some(())).await;
    let first = if one.requests().is_empty() { &other } else { &one };
    // Half of its time goes by.
    assert_eq!(get(gateway.address, "/short/never", &[]).await.status, 504);
    let mut longer = Client::connect(gateway.address).await;
    longer.send(request("GET", "/long/never", &[])).await;
    eventually("it is there", async || (clock.requests().len() == 2).then_some(())).await;
    first.go();
    let answer = tokio::select! {
        answer = repeated.answer() => answer,
        _ = longer.answer() => panic!("the repetition had a time of its own"),
    };
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    assert_eq!(asked(), [1, 1]);
}
