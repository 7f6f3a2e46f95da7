//! Z07: what two readers could understand differently never gets behind the gateway.

use super::client::{Client, once, request};
use super::gateway::Gateway;

const GOOD: &str = "POST /open/good HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn z07_malformed_requests() {
    let gateway = Gateway::start().await;
    for (bytes, status, code) in [
        (
            "POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "request_malformed",
        ),
        (
            "POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            400,
            "request_malformed",
        ),
        (
            "POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            400,
            "request_malformed",
        ),
        ("GET /open/x HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", 400, "request_malformed"),
        ("GET /open/x HTTP/1.1\nHost: a\n\n", 400, "request_malformed"),
        ("GET /open/x HTTP/1.1\r\nHost: a\r\nX: 1\n\r\n", 400, "request_malformed"),
        ("GET /open/x HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n", 400, "request_malformed"),
        ("GET /open/x HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", 400, "request_malformed"),
        ("GET /open/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host_invalid"),
        ("GET /open/x HTTP/1.1\r\nAccept: */*\r\n\r\n", 400, "host_invalid"),
        (
            "POST /open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            400,
            "request_malformed",
        ),
        (
            "POST /open/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "request_malformed",
        ),
        ("GET /open/x HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n", 400, "request_malformed"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501, "method_unsupported"),
        ("nonsense\r\n\r\n", 400, "request_malformed"),
    ] {
        let before = gateway.upstream.requests().len();
        let mut client = Client::connect(gateway.address).await;
        client.send(bytes).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{bytes}");
        client.closed().await;
        assert_eq!(gateway.upstream.requests().len(), before, "{bytes}");

        // Behind a good request on the same connection: that one is answered, in its turn, and nothing else.
        let mut client = Client::connect(gateway.address).await;
        client.send(format!("{GOOD}{bytes}GET /open/smuggled HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, 200, "{bytes}");
        assert_eq!(client.answer().await.status, status, "{bytes}");
        client.closed().await;
        let after = gateway.upstream.requests();
        assert_eq!(after.len(), before + 1, "{bytes}");
        assert_eq!(after.last().unwrap().target(), "/open/good", "{bytes}");
    }
}

#[tokio::test]
async fn z07_a_target_and_a_host_that_differ() {
    let gateway = Gateway::start().await;
    let answer = once(gateway.address, "GET http://b/open/x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "host_invalid"));
    assert!(gateway.upstream.requests().is_empty());
}

/// TRACE answers what was sent: credentials too.
#[tokio::test]
async fn trace_goes_nowhere_and_echoes_nothing() {
    let gateway = Gateway::start().await;
    let good = gateway.bearer();
    for path in ["/token/x", "/open/x", "/v1/me", "/nowhere"] {
        let answer = once(gateway.address, request("TRACE", path, &[&good, "X-Mine: something"])).await;
        assert_eq!((answer.status, answer.code().as_str()), (501, "method_unsupported"), "{path}");
        let secret = good.rsplit(' ').next().unwrap();
        assert!(!answer.text().contains(secret) && !answer.text().contains("something"), "{path}");
        assert!(!format!("{:?}", answer.headers).contains(secret), "{path}");
    }
    assert!(gateway.upstream.requests().is_empty());
}

#[tokio::test]
async fn options_of_the_server_as_a_whole_are_answered_here() {
    let gateway = Gateway::start().await;
    let mut client = Client::connect(gateway.address).await;
    for _ in 0..2 {
        client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        assert!(answer.header("x-request-id").is_some());
    }
    assert!(gateway.upstream.requests().is_empty());
    // Any other method has no such target.
    let answer = once(gateway.address, "GET * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "request_malformed"));
}

#[tokio::test]
async fn z07_the_answer_waits_for_those_before_it() {
    let gateway = Gateway::start().await;
    let mut client = Client::connect(gateway.address).await;
    client.send(request("GET", "/open/slow", &[])).await;
    client.send("GET / HTTP/1.1\nHost: a\r\n\r\n").await;
    while gateway.upstream.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    gateway.upstream.go();
    assert_eq!(client.answer().await.text(), "slow");
    assert_eq!(client.answer().await.status, 400);
    client.closed().await;
}

#[tokio::test]
async fn z07_a_body_that_breaks_its_own_frame_goes_nowhere_in_full() {
    let gateway = Gateway::start().await;
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST /open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\nGET /open/smuggled HTTP/1.1\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "request_malformed"));
    client.closed().await;
    assert!(
        gateway
            .upstream
            .requests()
            .iter()
            .all(|seen| seen.target() != "/open/smuggled" && seen.body.is_empty())
    );
}

#[tokio::test]
async fn heads_that_are_too_large() {
    let gateway = Gateway::start().await;
    let large = format!("X-Large: {}", "a".repeat(40 * 1024));
    let answer = once(gateway.address, request("GET", "/open/x", &[&large])).await;
    assert_eq!((answer.status, answer.code().as_str()), (431, "headers_too_large"));
    let many: Vec<String> = (0..101).map(|index| format!("X-{index}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let answer = once(gateway.address, request("GET", "/open/x", &many)).await;
    assert_eq!((answer.status, answer.code().as_str()), (431, "headers_too_large"));
    // A little less is fine.
    let answer = once(gateway.address, request("GET", "/open/x", &[&large[..30 * 1024]])).await;
    assert_eq!(answer.status, 200);
    assert_eq!(gateway.upstream.requests().len(), 1);
}

#[tokio::test]
async fn one_byte_at_a_time_is_the_same_request() {
    let gateway = Gateway::start().await;
    let mut client = Client::connect(gateway.address).await;
    for byte in
        "POST /open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".bytes()
    {
        client.send([byte]).await;
    }
    assert_eq!(client.answer().await.text(), "/open/x 3");
    client.send(GOOD).await;
    assert_eq!(client.answer().await.text(), "/open/good 2");
}

#[tokio::test]
async fn the_internal_listener_is_as_strict() {
    let gateway = Gateway::start().await;
    let answer = once(gateway.internal, "GET /v1/admin/users HTTP/1.1\nHost: a\r\n\r\n").await;
    assert_eq!(answer.code(), "request_malformed");
    let answer = once(gateway.internal, request("GET", "/open/x", &[])).await;
    assert_eq!(answer.status, 404);
    let answer = once(gateway.address, request("GET", "/v1/admin/users", &[])).await;
    assert_eq!(answer.status, 404);
    assert!(gateway.upstream.requests().is_empty());
}
