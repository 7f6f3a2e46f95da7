//! Applications of several endpoints, behind names, slow, full and sick.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gateway::upstreams::Resolve;

use super::client::{Answer, Client, get, once, request};
use super::gateway::{Gateway, eventually};
use super::upstream::Upstream;

const ROUTE: &str = "[[route]]\npath = \"/open/*\"\naccept = []\nupstream = \"app\"\n";

/// A route file of one application with these endpoints.
fn of(applications: &[&Upstream], more: &str) -> String {
    let endpoints: Vec<String> =
        applications.iter().map(|application| format!("\"http://{}\"", application.address)).collect();
    format!("[upstream.app]\nendpoints = [{}]\n{more}\n{ROUTE}", endpoints.join(", "))
}

async fn post(gateway: &Gateway, path: &str) -> Answer {
    once(gateway.address, format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")).await
}

fn left_out(gateway: &Gateway) -> f64 {
    let metric = "latchkey_gateway_upstream_endpoints{state=\"left_out\",upstream=\"app\"}";
    gateway.metric(metric).expect("the metric is there")
}

/// Asks until `application` is asked too.
async fn until_asked(gateway: &Gateway, application: &Upstream) {
    let before = application.requests().len();
    eventually("it is asked again", async || {
        assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
        (application.requests().len() > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_are_spread() {
    let (a, b, c) = (Upstream::start().await, Upstream::start().await, Upstream::start().await);
    let gateway = Gateway::with_routes(&of(&[&a, &b, &c], "timeout = \"20s\"")).await;
    let mut clients = Vec::new();
    // At once: the busy are spared.
    for sent in 1..=30 {
        let mut client = Client::connect(gateway.address).await;
        client.send(request("GET", "/open/slow", &[])).await;
        let all = || [&a, &b, &c].iter().map(|application| application.requests().len()).sum::<usize>();
        eventually("it is on its way", async || (all() == sent).then_some(())).await;
        clients.push(client);
    }
    for application in [&a, &b, &c] {
        let count = application.requests().len();
        assert!((7..=14).contains(&count), "{count} of 30");
    }
}

struct Book(Mutex<Vec<SocketAddr>>);

#[async_trait]
impl Resolve for Book {
    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(name, "app.example:8080");
        let known = self.0.lock().unwrap().clone();
        if known.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(known) }
    }
}

#[tokio::test]
async fn a_name_is_followed() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let book = Arc::new(Book(Mutex::default()));
    let routes = format!("[upstream.app]\ndns = \"app.example:8080\"\n{ROUTE}");
    let gateway = Gateway::with_names(&routes, book.clone()).await;
    let answer = get(gateway.address, "/open/x", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_unavailable"), "nobody knows it yet");
    *book.0.lock().unwrap() = vec![a.address];
    eventually("it is found", async || {
        (get(gateway.address, "/open/x", &[]).await.status == 200).then_some(())
    })
    .await;
    *book.0.lock().unwrap() = vec![a.address, b.address];
    until_asked(&gateway, &b).await;
    assert_eq!(a.connections(), 1, "a change elsewhere closes nothing here");
    *book.0.lock().unwrap() = vec![b.address];
    a.until_closed(1).await;
    let before = a.requests().len();
    book.0.lock().unwrap().clear();
    for _ in 0..20 {
        assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
    }
    assert_eq!(a.requests().len(), before);

    gateway.rewrite(&routes.replace("[[route]]", "timeout = \"20s\"\n[[route]]"));
    let loaded = "latchkey_gateway_routes_reloads_total{outcome=\"loaded\"}";
    eventually("it is loaded", async || (gateway.metric(loaded) == Some(1.0)).then_some(())).await;
    for _ in 0..20 {
        assert_eq!(
            get(gateway.address, "/open/x", &[]).await.status,
            200,
            "its addresses stay, whatever else is new"
        );
    }
}

/// Knows one name, and has no answer for any other.
struct Stuck(SocketAddr);

#[async_trait]
impl Resolve for Stuck {
    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        if name != "app.example:8080" {
            std::future::pending::<()>().await;
        }
        Ok(vec![self.0])
    }
}

#[tokio::test]
async fn a_name_that_is_not_answered_holds_up_no_other() {
    let app = Upstream::start().await;
    let stuck = "[upstream.aaa]\ndns = \"stuck.example:8080\"\n";
    let routes = format!("{stuck}[upstream.app]\ndns = \"app.example:8080\"\n{ROUTE}");
    let gateway = Gateway::with_names(&routes, Arc::new(Stuck(app.address))).await;
    assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
}

#[tokio::test]
async fn one_that_is_killed_costs_nobody_an_answer_and_comes_back() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let gateway = Gateway::with_routes(&of(&[&a, &b], "")).await;
    until_asked(&gateway, &a).await;
    until_asked(&gateway, &b).await;
    b.kill();
    for _ in 0..40 {
        assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
    }
    assert_eq!(left_out(&gateway), 1.0);
    // What was never sent may be sent elsewhere, whatever it is.
    assert_eq!(post(&gateway, "/open/x").await.status, 200);
    let b = Upstream::start_on(b.address).await;
    until_asked(&gateway, &b).await;
    assert_eq!(left_out(&gateway), 0.0);
}

#[tokio::test]
async fn a_safe_request_is_tried_once_more_and_an_unsafe_one_is_not() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let gateway = Gateway::with_routes(&of(&[&a, &b], "")).await;
    let seen = |line: &str| {
        let all = [a.requests(), b.requests()].concat();
        all.iter().filter(|request| request.line.starts_with(line)).count()
    };
    b.always(Some("gone"));
    let (mut answered, mut failed) = (0, 0);
    // Not enough failures in a row to be left out.
    while failed < 2 {
        match post(&gateway, "/open/x").await.status {
            200 => answered += 1,
            502 => failed += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(seen("POST "), answered + failed, "each was sent once");
    let before = b.requests().len();
    let mut sent = 0;
    while b.requests().len() < before + 2 {
        assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
        sent += 1;
    }
    assert_eq!(seen("GET "), sent + 2, "each failure was followed by one more attempt");
    // And no more than one.
    a.always(Some("gone"));
    let before = seen("GET ");
    let answer = get(gateway.address, "/open/x", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_failed"));
    assert_eq!(seen("GET "), before + 2);
}

#[tokio::test]
async fn one_that_gives_no_answers_is_left_out_but_never_all() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let gateway = Gateway::with_routes(&of(&[&a, &b], "")).await;
    b.always(Some("gone"));
    eventually("it is left out", async || {
        assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
        (left_out(&gateway) == 1.0).then_some(())
    })
    .await;
    assert!((5..=6).contains(&b.requests().len()), "{}", b.requests().len());
    a.always(Some("gone"));
    let (from_a, from_b) = (a.requests().len(), b.requests().len());
    for _ in 0..10 {
        post(&gateway, "/open/x").await;
    }
    assert!(left_out(&gateway) <= 1.0);
    assert_eq!(
        a.requests().len() + b.requests().len(),
        from_a + from_b + 10,
        "somebody is asked all the same"
    );
    a.always(None);
    b.always(None);
    until_asked(&gateway, &a).await;
    until_asked(&gateway, &b).await;
    assert_eq!(left_out(&gateway), 0.0);
}

#[tokio::test]
async fn probes_take_one_out_and_bring_it_back() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let health = "health = { path = \"/healthz\", interval = \"20ms\", timeout = \"5s\" }";
    let gateway = Gateway::with_routes(&of(&[&a, &b], health)).await;
    let asked = |application: &Upstream| {
        application.requests().iter().filter(|request| request.target() == "/open/x").count()
    };
    b.always(Some("failing"));
    eventually("it is left out", async || (left_out(&gateway) == 1.0).then_some(())).await;
    let before = asked(&b);
    for _ in 0..20 {
        assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
    }
    assert_eq!((asked(&a) >= 20, asked(&b)), (true, before));
    let probe = b.requests().into_iter().find(|request| request.target() == "/healthz").unwrap();
    assert_eq!(probe.header("host"), Some(b.address.to_string().as_str()));
    // Where all are sick, all are asked.
    a.always(Some("failing"));
    eventually("both are left out", async || (left_out(&gateway) == 2.0).then_some(())).await;
    assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 500);
    a.always(None);
    b.always(None);
    eventually("both are back", async || (left_out(&gateway) == 0.0).then_some(())).await;
    until_asked(&gateway, &b).await;
    // A table without the application ends its probes.
    gateway.rewrite("");
    eventually("it is gone", async || {
        (get(gateway.address, "/open/x", &[]).await.status == 404).then_some(())
    })
    .await;
    let idle = async || {
        let before = a.requests().len();
        for _ in 0..20 {
            get(gateway.address, "/open/x", &[]).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        (a.requests().len() == before).then_some(())
    };
    eventually("nobody asks any more", idle).await;
}

/// F24: one application's trouble stays its own.
#[tokio::test]
async fn f24_no_more_at_once_than_it_may_have() {
    let (slow, other) = (Upstream::start().await, Upstream::start().await);
    let limits = "concurrency = 2\nqueue = 1\ntimeout = \"20s\"\nconnect_timeout = \"20s\"";
    let routes = format!(
        "{}[upstream.other]\nendpoints = [\"http://{}\"]\n[[route]]\npath = \"/other/*\"\naccept = []\nupstream = \"other\"\n",
        of(&[&slow], limits),
        other.address
    );
    let gateway = Gateway::with_routes(&routes).await;
    let metric = |name: &str| {
        gateway.metric(&format!("latchkey_gateway_upstream_{name}{{upstream=\"app\"}}")).unwrap()
    };
    let mut waiting = Vec::new();
    for (in_flight, queued) in [(1.0, 0.0), (2.0, 0.0), (2.0, 1.0)] {
        let mut client = Client::connect(gateway.address).await;
        client.send(request("GET", "/open/slow", &[])).await;
        let now = || (metric("in_flight"), metric("queued"));
        eventually("it is counted", async || (now() == (in_flight, queued)).then_some(())).await;
        waiting.push(client);
    }
    eventually("two are there", async || (slow.requests().len() == 2).then_some(())).await;
    let answer = get(gateway.address, "/open/x", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(metric("turned_away_total"), 1.0);
    assert_eq!(get(gateway.address, "/other/x", &[]).await.status, 200);
    assert_eq!(slow.requests().len(), 2, "the third waits here");
    // Who leaves makes room: in the queue, and with the application.
    waiting.pop();
    eventually("the queue is empty", async || (metric("queued") == 0.0).then_some(())).await;
    let mut third = Client::connect(gateway.address).await;
    third.send(request("GET", "/open/slow", &[])).await;
    eventually("it waits", async || (metric("queued") == 1.0).then_some(())).await;
    waiting.pop();
    eventually("it is its turn", async || (slow.requests().len() == 3).then_some(())).await;
    let first = waiting.pop().unwrap();
    for mut client in [first, third] {
        let pushing = async {
            loop {
                slow.go();
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = client.answer() => assert_eq!(answer.text(), "slow"),
            () = pushing => {}
        }
    }
    eventually("all are done", async || (metric("in_flight") == 0.0).then_some(())).await;
}

#[tokio::test]
async fn f24_the_queue_has_an_end_in_time() {
    let slow = Upstream::start().await;
    let limits = "concurrency = 1\nqueue = 5\ntimeout = \"20s\"\nconnect_timeout = \"500ms\"";
    let gateway = Gateway::with_routes(&of(&[&slow], limits)).await;
    let mut first = Client::connect(gateway.address).await;
    first.send(request("GET", "/open/slow", &[])).await;
    eventually("it is there", async || (slow.requests().len() == 1).then_some(())).await;
    let answer = get(gateway.address, "/open/x", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    slow.go();
    assert_eq!(first.answer().await.text(), "slow");
    assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
}

#[tokio::test]
async fn f24_connections_that_nobody_takes() {
    // A listener whose queue is full drops what comes.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _filling = std::net::TcpStream::connect(address).unwrap();
    let routes =
        format!("[upstream.app]\nendpoints = [\"http://{address}\"]\nconnect_timeout = \"100ms\"\n{ROUTE}");
    let gateway = Gateway::with_routes(&routes).await;
    let answer = get(gateway.address, "/open/x", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{}", answer.text());
}

#[tokio::test]
async fn f24_an_answer_that_drips_is_not_cut() {
    let application = Upstream::start().await;
    let gateway = Gateway::with_routes(&of(&[&application], "timeout = \"500ms\"")).await;
    let mut client = Client::connect(gateway.address).await;
    client.send(request("GET", "/open/drip", &[])).await;
    assert_eq!(client.head().await.status, 200);
    for byte in b"drip" {
        // Each takes longer than the time for an answer to begin.
        assert_eq!(get(gateway.address, "/open/never", &[]).await.status, 504);
        application.go();
        assert_eq!(client.at_least(1).await, [*byte]);
    }
}
