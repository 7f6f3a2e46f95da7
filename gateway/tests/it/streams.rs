//! Bytes that are passed on as they come, both ways, for as long as it takes.

use std::net::SocketAddr;
use std::time::Duration;

use gateway::config::Config;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::client::{Client, get, request};
use super::gateway::{Gateway, eventually};

const ROUTES: &str = r#"
[upstream.app]
endpoints = ["http://APP"]
timeout = "500ms"

[[route]]
path = "/open/*"
accept = []
upstream = "app"
"#;

/// Longer than an answer may take to begin.
async fn longer_than_the_timeout(gateway: &Gateway) {
    assert_eq!(get(gateway.address, "/open/never", &[]).await.status, 504);
}

#[tokio::test]
async fn a_request_is_passed_on_before_it_is_complete() {
    let gateway = Gateway::start().await;
    for (head, first, second) in [
        ("Content-Length: 11", "first", "second"),
        ("Transfer-Encoding: chunked", "5\r\nfirst\r\n", "6\r\nsecond\r\n0\r\n\r\n"),
    ] {
        let mut client = Client::connect(gateway.address).await;
        client.send(format!("POST /open/x HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{first}")).await;
        let seen = || gateway.upstream.requests().pop().map(|seen| seen.arrived);
        eventually("the beginning is there", async || (seen()? == b"first").then_some(())).await;
        client.send(second).await;
        assert_eq!(client.answer().await.text(), "/open/x 11");
        assert_eq!(gateway.upstream.last().body, b"firstsecond");
    }
}

/// An application that sends each chunk back at once.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (reading, mut writing) = stream.into_split();
                let mut lines = BufReader::new(reading);
                let mut line = String::new();
                while lines.read_line(&mut line).await? > 2 {
                    line.clear();
                }
                writing.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                loop {
                    line.clear();
                    lines.read_line(&mut line).await?;
                    let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return Ok(()) };
                    let mut chunk = vec![0; size + 2];
                    lines.read_exact(&mut chunk).await?;
                    writing.write_all(&[line.as_bytes(), &chunk].concat()).await?;
                    if size == 0 {
                        return std::io::Result::Ok(());
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_stream_both_ways_lasts_as_long_as_it_likes() {
    let address = echo().await;
    let routes = format!(
        "{ROUTES}[upstream.echo]\nendpoints = [\"http://{address}\"]\ntimeout = \"500ms\"\n\
         [[route]]\npath = \"/echo\"\naccept = []\nupstream = \"echo\"\nbody_bytes = \"unlimited\"\n"
    );
    let short = |config: &mut Config| config.limits.body_timeout = Duration::from_millis(500);
    let gateway = Gateway::with_routes_and(&routes, short).await;
    let mut client = Client::connect(gateway.address).await;
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    for word in ["one", "three", "fifteen"] {
        client.send(format!("{:x}\r\n{word}\r\n", word.len())).await;
        assert_eq!(client.chunk().await, word.as_bytes());
        // Neither side says anything for longer than an answer, or a body that is awaited, may take.
        longer_than_the_timeout(&gateway).await;
        a_body_that_stops_is_cut(&gateway).await;
    }
    // More than limits.body_bytes.
    for _ in 0..12 {
        client.send(format!("2710\r\n{}\r\n", "x".repeat(10_000))).await;
        let mut echoed = 0;
        while echoed < 10_000 {
            echoed += client.chunk().await.len();
        }
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b"");
}

/// Where an answer is still awaited.
async fn a_body_that_stops_is_cut(gateway: &Gateway) {
    let mut client = Client::connect(gateway.address).await;
    client.send("POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe").await;
    // Whichever notices first.
    let answer = client.answer().await;
    assert!(matches!(answer.status, 408 | 504), "{answer:?}");
}

#[tokio::test]
async fn events_come_one_by_one() {
    let gateway = Gateway::with_routes(ROUTES).await;
    let mut client = Client::connect(gateway.address).await;
    client.send(request("GET", "/open/events", &["Accept: text/event-stream"])).await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    for number in 1..=3 {
        longer_than_the_timeout(&gateway).await;
        gateway.upstream.go();
        let event = format!("id: {number}\ndata: event {number}\n\n");
        assert_eq!(String::from_utf8(client.chunk().await).unwrap(), event);
    }
    assert_eq!(client.chunk().await, b"", "its end is passed on too");
}

#[tokio::test]
async fn who_stops_listening_to_events_ends_them() {
    let gateway = Gateway::with_routes(ROUTES).await;
    let mut client = Client::connect(gateway.address).await;
    client.send(request("GET", "/open/events", &[])).await;
    assert_eq!(client.head().await.status, 200);
    gateway.upstream.go();
    assert!(!client.chunk().await.is_empty());
    drop(client);
    let closing = async {
        loop {
            gateway.upstream.go();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = gateway.upstream.until_closed(1) => {}
        () = closing => {}
    }
}
