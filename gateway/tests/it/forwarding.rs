//! Bytes both ways: bodies, streams, upgrades, and applications that do not behave.

use super::client::{Client, get, once, request};
use super::gateway::Gateway;

#[tokio::test]
async fn bodies_arrive_as_sent() {
    let gateway = Gateway::start().await;
    let body = "x".repeat(70_000);
    let sized = format!("POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(once(gateway.address, sized).await.text(), "/open/x 70000");
    assert_eq!(gateway.upstream.last().body.len(), 70_000);
    let chunked = format!(
        "POST /open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(once(gateway.address, chunked).await.text(), "/open/x 70000");
    let seen = gateway.upstream.last();
    assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
    assert_eq!(seen.header("content-length"), None);
}

#[tokio::test]
async fn a_body_that_is_too_large() {
    let gateway = Gateway::start().await;
    let answer =
        once(gateway.address, "POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n").await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert!(gateway.upstream.requests().is_empty());
    let mut client = Client::connect(gateway.address).await;
    client.send("POST /open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for _ in 0..11 {
        client.send(format!("2710\r\n{}\r\n", "x".repeat(10_000))).await;
    }
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    client.closed().await;
    gateway.upstream.until_closed(1).await;
}

#[tokio::test]
async fn expectations_are_met_when_the_body_is_wanted() {
    let gateway = Gateway::start().await;
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    };
    let mut client = Client::connect(gateway.address).await;
    client.send(head("/open/x")).await;
    assert_eq!(client.head().await.status, 100);
    client.send("hello").await;
    assert_eq!(client.answer().await.text(), "/open/x 5");
    assert_eq!(gateway.upstream.last().header("expect"), None);
    // Nobody asks for the body of a request that is refused.
    let mut client = Client::connect(gateway.address).await;
    client.send(head("/token/x")).await;
    assert_eq!(client.answer().await.status, 401);
}

#[tokio::test]
async fn connections_are_used_again() {
    let gateway = Gateway::start().await;
    let mut client = Client::connect(gateway.address).await;
    for path in ["/open/x", "/open/nothing", "/open/y", "/open/headers", "/open/z"] {
        client.send(request("GET", path, &[])).await;
        assert!(matches!(client.answer().await.status, 200 | 204));
    }
    client.send([request("GET", "/open/1", &[]), request("GET", "/open/2", &[])].concat()).await;
    assert_eq!(client.answer().await.text(), "/open/1 0");
    assert_eq!(client.answer().await.text(), "/open/2 0");
    assert_eq!(gateway.upstream.connections(), 1);
}

#[tokio::test]
async fn answers_stream() {
    let gateway = Gateway::start().await;
    let mut client = Client::connect(gateway.address).await;
    client.send(request("GET", "/open/stream", &[])).await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.chunk().await, b"first");
    gateway.upstream.go();
    assert_eq!(client.chunk().await, b"second");
    assert_eq!(client.chunk().await, b"");
    client.send(request("GET", "/open/x", &[])).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(gateway.upstream.connections(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let gateway = Gateway::start().await;
    for (sent, path) in [(1, "/open/never"), (2, "/open/stream")] {
        let mut client = Client::connect(gateway.address).await;
        client.send(request("GET", path, &[])).await;
        // Who leaves before the application was asked takes nothing along.
        while gateway.upstream.requests().len() < sent {
            tokio::task::yield_now().await;
        }
        drop(client);
    }
    gateway.upstream.go();
    gateway.upstream.until_closed(2).await;
}

#[tokio::test]
async fn applications_that_do_not_behave() {
    let gateway = Gateway::start().await;
    for (path, status, code) in [
        ("/nobody/x", 503, "upstream_unavailable"),
        ("/open/garbage", 502, "upstream_failed"),
        ("/open/gone", 502, "upstream_failed"),
        ("/open/never", 504, "upstream_timeout"),
        ("/open/switch", 502, "upstream_failed"),
    ] {
        let answer = get(gateway.address, path, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
    // What began as an answer can only be broken off.
    let mut client = Client::connect(gateway.address).await;
    client.send(request("GET", "/open/broken", &[])).await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.rest().await, b"part");
}

#[tokio::test]
async fn a_connection_that_the_application_closed_is_not_used_again() {
    let gateway = Gateway::start().await;
    for _ in 0..5 {
        assert_eq!(get(gateway.address, "/open/closing", &[]).await.text(), "ok");
    }
    let posted =
        once(gateway.address, "POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    assert_eq!(posted.text(), "/open/x 2");
}

#[tokio::test]
async fn websockets_are_tunnelled() {
    let gateway = Gateway::start().await;
    let mut client = Client::connect(gateway.address).await;
    let headers = &[
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: x",
        "X-Latchkey-Roles: a",
    ];
    client.send(request("GET", "/open/switch", headers)).await;
    let head = client.head().await;
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(head.header("x-own"), Some("1"));
    let seen = gateway.upstream.last();
    assert_eq!((seen.header("upgrade"), seen.header("connection")), (Some("websocket"), Some("upgrade")));
    assert_eq!((seen.header("sec-websocket-key"), seen.header("x-latchkey-roles")), (Some("x"), None));
    assert_eq!(client.at_least(5).await, b"hello");
    // Bytes that no head could have.
    client.send(b"\x00\x01\n\r\xff").await;
    assert_eq!(client.at_least(5).await, b"\x00\x01\n\r\xff");
    drop(client);
    gateway.upstream.until_closed(1).await;
}

#[tokio::test]
async fn a_declined_upgrade_leaves_an_ordinary_connection() {
    let gateway = Gateway::start().await;
    let mut client = Client::connect(gateway.address).await;
    let headers = &["Connection: Upgrade", "Upgrade: websocket"];
    for _ in 0..2 {
        client.send(request("GET", "/open/x", headers)).await;
        assert_eq!(client.answer().await.text(), "/open/x 0");
    }
    client
        .send(request(
            "GET",
            "/open/y",
            &["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: x"],
        ))
        .await;
    assert_eq!(client.answer().await.text(), "/open/y 0");
    let seen = gateway.upstream.last();
    assert_eq!((seen.header("upgrade"), seen.header("http2-settings")), (None, None));
    client.send("GET / HTTP/1.1\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 400);
}

#[tokio::test]
async fn what_is_sent_in_one_segment_with_a_declined_upgrade_is_answered() {
    let gateway = Gateway::start().await;
    let mut client = Client::connect(gateway.address).await;
    let first = request("GET", "/open/first", &["Connection: upgrade", "Upgrade: websocket"]);
    client.send(first + &request("GET", "/open/second", &[])).await;
    assert_eq!(client.answer().await.text(), "/open/first 0");
    assert_eq!(client.answer().await.text(), "/open/second 0");
}
