//! HTTP/2 without TLS, with prior knowledge: the same rules (Z07).

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client::PATIENCE;
use super::frames::{self, HELLO, frame, head};
use super::gateway::{ALICE, Gateway};
use super::http2_upstream::Application;

async fn exchange(
    gateway: &Gateway,
    request: Request<()>,
    body: Option<Bytes>,
) -> Result<(Response<()>, Bytes), h2::Error> {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await?;
    let driver = tokio::spawn(connection);
    let (answer, mut sending) = sender.send_request(request, body.is_none())?;
    if let Some(body) = body {
        sending.send_data(body, true)?;
    }
    let (parts, mut body) = tokio::time::timeout(PATIENCE, answer).await.expect("no answer")?.into_parts();
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        all.extend_from_slice(&data?);
    }
    driver.abort();
    Ok((Response::from_parts(parts, ()), all.into()))
}

pub fn get(path: &str) -> http::request::Builder {
    Request::get(format!("http://app.example{path}"))
}

#[tokio::test]
async fn requests_are_passed_on() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    let request = get("/any/x?y=1")
        .header("authorization", bearer.trim_start_matches("Authorization: "))
        .header("cookie", "a=1")
        .header("cookie", "latchkey-session=s")
        .header("cookie", "b=2")
        .header("x-latchkey-roles", "admin")
        .body(())
        .unwrap();
    let (answer, body) = exchange(&gateway, request, None).await.unwrap();
    assert_eq!((answer.status().as_u16(), &body[..]), (200, &b"/any/x?y=1 0"[..]));
    let seen = gateway.upstream.last();
    assert_eq!(seen.header("host"), Some("app.example"));
    assert_eq!(seen.header("x-latchkey-subject"), Some(ALICE));
    assert_eq!(seen.header("x-latchkey-roles"), Some("editor"));
    assert_eq!(seen.header("x-forwarded-host"), Some("app.example"));
    assert_eq!(seen.header("cookie"), Some("a=1; b=2"));
    let posted = Request::post("http://app.example/open/x").body(()).unwrap();
    let (answer, body) = exchange(&gateway, posted, Some(Bytes::from_static(b"hello"))).await.unwrap();
    assert_eq!((answer.status().as_u16(), &body[..]), (200, &b"/open/x 5"[..]));
}

#[tokio::test]
async fn refusals_are_the_same() {
    let gateway = Gateway::start().await;
    for (request, status) in [
        (get("/token/x").body(()).unwrap(), 401),
        (get("/open/%2e%2e/x").body(()).unwrap(), 400),
        (get("/open/x?access_token=1").body(()).unwrap(), 400),
        (get("/open/x").header("host", "other.example").body(()).unwrap(), 400),
        (get("/open/x").header("host", "app.example").header("host", "app.example").body(()).unwrap(), 400),
        (get("/elsewhere").body(()).unwrap(), 404),
    ] {
        let text = format!("{request:?}");
        let (answer, _) = exchange(&gateway, request, None).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{text}");
    }
    assert!(gateway.upstream.requests().is_empty());
}

/// Frames as bytes: h2's own client would not send these.
#[tokio::test]
async fn z07_what_http2_forbids_is_a_stream_error() {
    let gateway = Gateway::start().await;
    nothing_forbidden_passes(&gateway).await;
    // At most a request whose body then contradicted its head, and that one unfinished.
    assert!(
        gateway.upstream.requests().iter().all(|seen| seen.body.is_empty() && seen.target() == "/open/x")
    );
    assert!(gateway.upstream.requests().iter().all(|seen| seen.header("x-evil").is_none()));
}

#[tokio::test]
async fn z07_holds_where_the_application_speaks_http2_too() {
    let application = Application::start().await;
    let gateway = Gateway::with_routes(&application.routes("")).await;
    nothing_forbidden_passes(&gateway).await;
    for seen in application.requests() {
        assert_eq!((seen.path.as_str(), seen.ended), ("/open/x", false), "{seen:?}");
        assert!(!seen.headers.contains_key("x-evil"));
    }
}

async fn nothing_forbidden_passes(gateway: &Gateway) {
    for (headers, body) in [
        (&[("transfer-encoding", "chunked")][..], &b""[..]),
        (&[("connection", "close")], b""),
        (&[("x", "a\r\nx-evil: 1")], b""),
        (&[("x", "a\nb")], b""),
        (&[("x\r\ny", "1")], b""),
        (&[("X-Upper", "1")], b""),
        (&[("content-length", "1"), ("content-length", "2")], b"hi"),
        (&[("content-length", "5")], b"hi"),
        (&[("te", "gzip")], b""),
        (&[(":path", "/open/other")], b""),
        (&[(":authority", "b")], b""),
        (&[(":method", "GET")], b""),
        (&[(":status", "200")], b""),
        (&[(":protocol", "websocket")], b""),
        (&[("x", "1"), (":scheme", "http")], b""),
        (&[("keep-alive", "1")], b""),
        (&[("proxy-connection", "keep-alive")], b""),
        (&[("upgrade", "websocket")], b""),
        (&[("host", "other")], b""),
        (&[("content-length", "1")], b"hi"),
        (&[("content-length", "-1")], b"hi"),
        (&[("content-length", "3, 3")], b"abc"),
    ] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let block = head("POST", "/open/x", headers);
        let mut bytes = [HELLO, &frame(4, 0, 0, b"")].concat();
        bytes.extend(frame(1, if body.is_empty() { 5 } else { 4 }, 1, &block));
        if !body.is_empty() {
            bytes.extend(frame(0, 1, 1, body));
        }
        stream.write_all(&bytes).await.unwrap();
        let verdict = tokio::time::timeout(PATIENCE, verdict(&mut stream)).await.expect("no verdict");
        assert!(matches!(verdict, Verdict::Refused), "{headers:?}: {verdict:?}");
    }
}

#[derive(Debug)]
enum Verdict {
    /// RST_STREAM, GOAWAY, the end, or an answer of 400.
    Refused,
    Answered,
}

async fn verdict(stream: &mut TcpStream) -> Verdict {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return Verdict::Refused;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        match head[3] {
            3 | 7 => return Verdict::Refused,
            // `:status 400` is entry 12 of the static table.
            1 if payload.first() == Some(&0x8c) => return Verdict::Refused,
            1 => return Verdict::Answered,
            _ => {}
        }
    }
}

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);

/// A client that answers pings and does nothing else of its own accord. The task ends with the connection.
pub async fn h2_client(gateway: &Gateway) -> (h2::client::SendRequest<Bytes>, JoinHandle<()>) {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    (sender, tokio::spawn(async move { drop(connection.await) }))
}

pub async fn ends(connection: JoinHandle<()>) {
    tokio::time::timeout(PATIENCE, connection).await.expect("the connection is kept").unwrap();
}

#[tokio::test]
async fn a_connection_without_a_request_ends_with_the_time_for_a_head() {
    let gateway = Gateway::patient_for(SHORT, LONG).await;
    let begun = Instant::now();
    let (_sender, connection) = h2_client(&gateway).await;
    ends(connection).await;
    assert!(begun.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_connection_that_answers_pings_is_idle_all_the_same() {
    let gateway = Gateway::patient_for(SHORT, SHORT).await;
    let (mut sender, connection) = h2_client(&gateway).await;
    let (answer, _) = sender.send_request(get("/open/x").body(()).unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    ends(connection).await;
}

#[tokio::test]
async fn a_connection_with_a_stream_open_is_kept() {
    let gateway = Gateway::patient_for(SHORT, SHORT).await;
    let (mut sender, connection) = h2_client(&gateway).await;
    let (answer, _) = sender.send_request(get("/open/slow").body(()).unwrap(), true).unwrap();
    while gateway.upstream.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    // As long as it takes three others to be idle, one after the other.
    for _ in 0..3 {
        let (_sender, connection) = h2_client(&gateway).await;
        ends(connection).await;
    }
    gateway.upstream.go();
    assert_eq!(answer.await.unwrap().status(), 200);
    ends(connection).await;
}

/// Reads to the end, answering pings. The frames' types.
async fn answering_pings(mut stream: TcpStream) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some(frame) = frames::next(&mut stream).await {
        kinds.push(frame.kind);
    }
    kinds
}

#[tokio::test]
async fn a_head_that_does_not_end_does_not_hold_a_connection() {
    let gateway = Gateway::patient_for(SHORT, LONG).await;
    let block = head("GET", "/open/never", &[]);
    let request = frame(1, 5, 1, &block);
    let unfinished = frame(1, 1, 3, &block);
    let continued = [&unfinished[..], &frame(9, 0, 3, b"")].concat();
    let cut = &frame(1, 5, 3, &block)[..20];
    for (what, before, bytes) in [
        ("as the first", &b""[..], &unfinished[..]),
        ("continued", b"", &continued),
        ("cut short", b"", cut),
        ("beside a stream that is open", &request, &unfinished),
        ("continued beside a stream that is open", &request, &continued),
        ("cut short beside a stream that is open", &request, cut),
    ] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let hello = [HELLO, &frame(4, 0, 0, b""), before].concat();
        stream.write_all(&hello).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let kinds = tokio::time::timeout(PATIENCE, answering_pings(stream)).await;
        let kinds = kinds.unwrap_or_else(|_| panic!("{what}: the connection is kept"));
        assert!(!kinds.contains(&1), "{what}: answered");
    }
}
