//! Calls to a neighbour that goes and comes back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use latchkey_chassis::config::TlsMode;
use latchkey_chassis::grpc::client::{Call, channel};
use latchkey_chassis::tls::Identity;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::authority::Authority;
use crate::echo::{SAY, call, life, own_address, say, send, start, start_with};

/// For what must happen; a busy machine is slow.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn it_fails_fast_while_the_neighbour_is_away_and_recovers_by_itself() {
    let authority = Authority::new();
    let (auth, gateway) = (authority.identity("auth"), authority.identity("gateway"));
    let server = start(&auth);
    let address = server.address;
    let ours = life(Duration::ZERO);
    let channel = channel(&[server.endpoint()], &gateway, "auth", &ours).unwrap();
    let neighbour = || ours.conditions().first().unwrap().state.clone();
    assert_eq!(neighbour(), Err("not asked yet".to_owned()));
    say(&channel).await.unwrap();
    assert_eq!(neighbour(), Ok(()));

    server.life.end();
    server.stopped.await.unwrap();
    let mut last = Status::ok("");
    for _ in 0..20 {
        last = say(&channel).await.unwrap_err();
        assert_eq!(last.code(), Code::Unavailable, "not at the deadline: {last:?}");
    }
    assert!(!last.message().contains("127."), "no addresses for callers: {last:?}");
    assert!(neighbour().unwrap_err().contains("no connection"), "{:?}", neighbour());

    let _again = start_with(&auth, address, Duration::ZERO, |_| {});
    let recovered = async {
        while say(&channel).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, recovered).await.expect("it recovers");
    assert_eq!(neighbour(), Ok(()));
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_makes_nobody_wait_for_long() {
    let authority = Authority::new();
    // The kernel accepts, nobody shakes hands.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", silent.local_addr().unwrap());
    let channel =
        channel(&[endpoint], &authority.identity("gateway"), "auth", &life(Duration::ZERO)).unwrap();
    // A timeout for each, one after another, would be 50 s.
    let calls = (0..50).map(|_| {
        let request = Call::new("req_test", LONG).request("hello".to_owned());
        send(channel.clone(), SAY, request)
    });
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap_err().code(), Code::Unavailable, "one timeout for all in line");
    }
}

#[tokio::test]
async fn calls_do_not_hasten_connections_whose_handshakes_fail() {
    let authority = Authority::new();
    let listener = TcpListener::bind(own_address()).await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let channel =
        channel(&[endpoint], &authority.identity("gateway"), "auth", &life(Duration::ZERO)).unwrap();
    drop(listener.accept().await.unwrap());
    let began = Instant::now();
    let calls = async {
        loop {
            assert_eq!(say(&channel).await.unwrap_err().code(), Code::Unavailable);
            tokio::task::yield_now().await;
        }
    };
    let connections = async {
        for _ in 0..3 {
            drop(listener.accept().await.unwrap());
        }
    };
    tokio::select! {
        () = calls => {}
        () = connections => {}
    }
    assert!(began.elapsed() >= Duration::from_millis(100 + 200 + 400), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_deadline_is_around_everything() {
    let authority = Authority::new();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", silent.local_addr().unwrap());
    let gateway = authority.identity("gateway");
    let connecting = channel(&[endpoint], &gateway, "auth", &life(Duration::ZERO)).unwrap();
    let short = || call().at_most(Duration::from_millis(50)).request(String::new());
    let status = send(connecting, "/test.v1.Echo/Say", short()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "not when connecting is given up: {status:?}");

    let server = start(&authority.identity("auth"));
    let status = send(server.channel(&gateway), "/test.v1.Echo/Wait", short()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

/// A neighbour that sends the head of an answer and half a message, and then keeps the stream for `stays`.
async fn stalling(listener: TcpListener, stays: Duration) {
    let (tcp, _) = listener.accept().await.unwrap();
    let service = service_fn(|request: http::Request<_>| async move {
        let response = http::Response::builder().header("content-type", "application/grpc");
        if request.uri().path().starts_with("/grpc.health.") {
            // "Unimplemented": it has no such service.
            let nothing = StreamBody::new(tokio_stream::empty().left_stream());
            return Ok::<_, Infallible>(response.header("grpc-status", "12").body(nothing).unwrap());
        }
        let half =
            tokio_stream::once(Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"\0\0\0\0\x09half"))));
        let body = StreamBody::new(half.chain(tokio_stream::pending()).right_stream());
        Ok(response.body(body).unwrap())
    });
    let executor = hyper_util::rt::TokioExecutor::new();
    let connection =
        hyper::server::conn::http2::Builder::new(executor).serve_connection(TokioIo::new(tcp), service);
    let _ = tokio::time::timeout(stays, connection).await;
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_late_and_one_that_breaks_off_is_unavailable() {
    let mut tls = Authority::new().tls("gateway");
    tls.mode = TlsMode::External;
    let identity = Identity::load(&tls).unwrap();
    let minute = Duration::from_secs(60);
    let cases = [
        (minute, Duration::from_millis(100), Code::DeadlineExceeded),
        (Duration::from_millis(100), minute, Code::Unavailable),
    ];
    for (stays, timeout, expected) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let neighbour = tokio::spawn(stalling(listener, stays));
        let channel = channel(&[endpoint], &identity, "auth", &life(Duration::ZERO)).unwrap();
        let request = Call::new("req_test", timeout).request(String::new());
        let answer = tokio::time::timeout(minute / 6, send(channel, "/test.v1.Echo/Say", request)).await;
        assert_eq!(answer.expect("bounded").unwrap_err().code(), expected);
        neighbour.abort();
    }
}

#[tokio::test]
async fn calls_go_round_and_leave_out_an_endpoint_that_is_away() {
    let authority = Authority::new();
    let (one, two) = (start(&authority.identity("auth")), start(&authority.identity("auth")));
    let gone = TcpListener::bind(own_address()).await.unwrap().local_addr().unwrap();
    let endpoints = [one.endpoint(), format!("https://{gone}"), two.endpoint()];
    let channel = channel(&endpoints, &authority.identity("gateway"), "auth", &life(Duration::ZERO)).unwrap();
    let spread = async {
        while one.answered(SAY) < 60 || two.answered(SAY) < 60 {
            say(&channel).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), spread).await.expect("both are called");
}

#[test]
fn threads_with_a_runtime_of_their_own_have_channels_of_their_own() {
    let authority = Authority::new();
    let (auth, gateway) = (authority.identity("auth"), authority.identity("gateway"));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let serving = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = serving.block_on(async { start(&auth) });
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| runtime().block_on(async { say(&server.channel(&gateway)).await.unwrap() }));
        }
    });
}

#[tokio::test]
async fn what_cannot_be_called_is_said_when_the_channel_is_made() {
    let gateway = Authority::new().identity("gateway");
    let life = life(Duration::ZERO);
    let message = |endpoints: &[&str], name: &str| {
        let endpoints: Vec<String> = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
        channel(&endpoints, &gateway, name, &life).unwrap_err().to_string()
    };
    assert!(message(&[], "auth").contains("at least one"));
    assert!(message(&["127.0.0.1:1"], "auth").contains("127.0.0.1:1"));
    assert!(message(&["https://127.0.0.1:1"], "not a name").contains("not a name"));
    let any: SocketAddr = "127.0.0.1:1".parse().unwrap();
    assert!(
        channel(&[format!("https://{any}")], &gateway, "auth", &life).is_ok(),
        "nothing is connected yet"
    );
}
