//! Requests that two readers take for different ones: what one of them overlooks is the next request to the other.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::raw::{PATIENCE, connect, exchange};
use crate::stack::Stack;

/// What an attacker wants to get behind the gateway under somebody else's name.
const SMUGGLED: &str = "GET /app/public/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Name, and octets of a request that is no request. `{}` stands where the smuggled one would be.
const AMBIGUOUS: &[(&str, &str)] = &[
    (
        "CL.TE",
        "POST /app/public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}",
    ),
    (
        "TE.CL",
        "POST /app/public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n{}\r\n0\r\n\r\n",
    ),
    (
        "two lengths",
        "POST /app/public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n{}",
    ),
    (
        "a length twice",
        "POST /app/public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n{}",
    ),
    ("a list of lengths", "POST /app/public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 44\r\n\r\n{}"),
    ("a signed length", "POST /app/public/x HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n{}"),
    ("a hexadecimal length", "POST /app/public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\n{}"),
    ("obs-fold", "GET /app/public/x HTTP/1.1\r\nHost: a\r\nX: 1\r\n Content-Length: 44\r\n\r\n{}"),
    (
        "a folded coding",
        "POST /app/public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{}",
    ),
    ("bare LF everywhere", "GET /app/public/x HTTP/1.1\nHost: a\n\n{}"),
    ("a bare LF", "GET /app/public/x HTTP/1.1\r\nHost: a\r\nX: 1\nContent-Length: 44\r\n\r\n{}"),
    ("a bare CR", "GET /app/public/x HTTP/1.1\r\nHost: a\r\nX: 1\rContent-Length: 44\r\n\r\n{}"),
    ("a NUL", "GET /app/public/x HTTP/1.1\r\nHost: a\r\nX: 1\0\r\n\r\n{}"),
    ("space before the colon", "POST /app/public/x HTTP/1.1\r\nHost: a\r\nContent-Length : 44\r\n\r\n{}"),
    ("space before the name", "POST /app/public/x HTTP/1.1\r\n Content-Length: 44\r\nHost: a\r\n\r\n{}"),
    (
        "another coding",
        "POST /app/public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{}",
    ),
    (
        "two codings",
        "POST /app/public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{}",
    ),
    (
        "a coding twice",
        "POST /app/public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{}",
    ),
    (
        "a coding with a tab",
        "POST /app/public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n{}",
    ),
    (
        "an old coding",
        "POST /app/public/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}",
    ),
    ("two hosts", "GET /app/public/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{}"),
    ("no host", "GET /app/public/x HTTP/1.1\r\nAccept: */*\r\n\r\n{}"),
    ("a version of its own", "GET /app/public/x HTTP/1.9\r\nHost: a\r\n\r\n{}"),
    ("two spaces", "GET  /app/public/x HTTP/1.1\r\nHost: a\r\n\r\n{}"),
    ("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n{}"),
    ("no HTTP", "hello\r\n\r\n{}"),
];

#[tokio::test]
async fn z07_what_can_be_read_twice_is_not_read_at_all() {
    const GOOD: &str = "POST /app/public/good HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let stack = Stack::start().await;
    for (what, octets) in AMBIGUOUS {
        let octets = octets.replace("{}", SMUGGLED);
        let refused = if *what == "CONNECT" { 501 } else { 400 };
        let hits = stack.upstream_hits().await;
        let told = exchange(&stack, &octets).await;
        let statuses: Vec<u16> = told.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [refused], "{what}");
        assert_eq!(stack.upstream_hits().await, hits, "{what}");

        // Behind a good request: that one is answered in its turn, and nothing of the rest becomes a request.
        let told = exchange(&stack, format!("{GOOD}{octets}")).await;
        let statuses: Vec<u16> = told.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, refused], "{what}");
        assert_eq!(told[0].json()["path"], "/app/public/good");
        assert_eq!(stack.upstream_hits().await, hits + 1, "{what}");
    }
}

#[tokio::test]
async fn z07_a_body_that_breaks_its_frame_ends_the_connection() {
    let stack = Stack::start().await;
    for (what, body) in [
        ("a bare LF after a chunk", format!("2\r\nhi\n{SMUGGLED}")),
        ("a bare LF after a size", format!("2\nhi\r\n0\r\n\r\n{SMUGGLED}")),
        ("a size that is none", format!("2 2\r\nhi\r\n0\r\n\r\n{SMUGGLED}")),
        ("a negative size", format!("-2\r\nhi\r\n0\r\n\r\n{SMUGGLED}")),
        ("a size beyond measure", format!("fffffffffffffffff2\r\nhi\r\n0\r\n\r\n{SMUGGLED}")),
        ("a chunk longer than its size", format!("1\r\nhi\r\n0\r\n\r\n{SMUGGLED}")),
    ] {
        let hits = stack.upstream_hits().await;
        let head = "POST /app/public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let told = exchange(&stack, format!("{head}{body}")).await;
        assert!(told.len() <= 1 && told.iter().all(|answer| answer.status == 400), "{what}: {told:?}");
        // The application may have seen the beginning of the one, but no other.
        assert!(stack.upstream_hits().await - hits <= 1, "{what}");
    }
}

/// The frame is clear here, the destination is not.
#[tokio::test]
async fn z07_a_target_and_a_host_that_differ() {
    let stack = Stack::start().await;
    let hits = stack.upstream_hits().await;
    for target in ["http://b/app/public/x", "http://a:81/app/public/x", "http://b@a/app/public/x"] {
        let octets = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let told = exchange(&stack, octets).await;
        assert_eq!(
            (told.len(), told[0].status, told[0].code().as_str()),
            (1, 400, "host_invalid"),
            "{target}"
        );
    }
    assert_eq!(stack.upstream_hits().await, hits);
    let octets = "GET http://A/app/public/x?y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(&stack, octets).await[0].json()["path"], "/app/public/x", "one host, spelled twice");
}

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// RFC 7541 §6.2.2: literal, not indexed, new name, no Huffman coding.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0, u8::try_from(name.len()).unwrap()];
    field.extend(name.bytes());
    field.push(u8::try_from(value.len()).unwrap());
    field.extend(value.bytes());
    field
}

/// What became of one stream.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// RST_STREAM, GOAWAY, the end of the connection, or an answer of 400.
    Refused,
    /// An answer of 200.
    Served,
    Other(Vec<u8>),
}

async fn over_h2(stack: &Stack, headers: &[(&str, &str)], body: &[u8]) -> Verdict {
    let mut stream = connect(stack).await;
    let pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/app/public/x")];
    let block: Vec<u8> = pseudo.iter().chain(headers).flat_map(|(name, value)| field(name, value)).collect();
    let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    octets.extend(frame(4, 0, 0, b""));
    octets.extend(frame(1, if body.is_empty() { 5 } else { 4 }, 1, &block));
    if !body.is_empty() {
        octets.extend(frame(0, 1, 1, body));
    }
    stream.write_all(&octets).await.unwrap();
    let verdict = async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return Verdict::Refused;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            if stream.read_exact(&mut payload).await.is_err() {
                return Verdict::Refused;
            }
            match (head[3], payload.first()) {
                (3 | 7, _) => return Verdict::Refused,
                // `:status` 200 and 400 are entries 8 and 12 of the static table.
                (1, Some(0x88)) => return Verdict::Served,
                (1, Some(0x8c)) => return Verdict::Refused,
                (1, _) => return Verdict::Other(payload),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, verdict).await.expect("a verdict")
}

#[tokio::test]
async fn z07_what_http2_forbids_is_a_stream_error() {
    let stack = Stack::start().await;
    assert_eq!(over_h2(&stack, &[("x", "1")], b"").await, Verdict::Served, "the frames as such are right");
    let hits = stack.upstream_hits().await;
    for (headers, body) in [
        (&[("transfer-encoding", "chunked")][..], &b"0\r\n\r\n"[..]),
        (&[("connection", "close")], b""),
        (&[("connection", "x-latchkey-roles")], b""),
        (&[("keep-alive", "1")], b""),
        (&[("upgrade", "h2c")], b""),
        (&[("te", "gzip")], b""),
        (&[("x", "a\r\nx-latchkey-roles: admin")], b""),
        (&[("x", "a\nb")], b""),
        (&[("x", "a\0b")], b""),
        (&[("x\r\ny", "1")], b""),
        (&[("x: y", "1")], b""),
        (&[("X-Upper", "1")], b""),
        (&[("content-length", "1"), ("content-length", "2")], b"hi"),
        (&[(":path", "/app/public/other")], b""),
        (&[(":authority", "b")], b""),
        (&[(":unheard-of", "1")], b""),
    ] {
        assert_eq!(over_h2(&stack, headers, body).await, Verdict::Refused, "{headers:?}");
    }
    assert_eq!(stack.upstream_hits().await, hits);
    // A length that the body contradicts is found when the body has come: at most the one request has begun.
    assert_eq!(over_h2(&stack, &[("content-length", "5")], b"hi").await, Verdict::Refused);
    assert!(stack.upstream_hits().await - hits <= 1);
}
