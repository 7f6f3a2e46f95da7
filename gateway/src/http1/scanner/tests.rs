use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

use super::*;

/// All that was cleared, and how it ended, when `bytes` come in the given pieces.
fn run(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Then) {
    let mut scanner = Scanner::default();
    let (mut held, mut clear) = (Vec::new(), Vec::new());
    let mut edges: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    edges.extend([0, bytes.len()]);
    edges.sort_unstable();
    for piece in edges.windows(2) {
        held.extend_from_slice(&bytes[piece[0]..piece[1]]);
        let scanned = scanner.scan(&held);
        clear.extend(held.drain(..scanned.clear));
        if scanned.then != Then::More {
            return (clear, scanned.then);
        }
    }
    (clear, Then::More)
}

fn verdict(bytes: &[u8]) -> Then {
    run(bytes, &[]).1
}

fn refused(bytes: &[u8], expected: Refused) {
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(verdict(bytes), Then::Refused(expected), "{text}");
    // Behind a request that is fine, the refusal begins where the bad one does.
    let good = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let both = [&good[..], bytes].concat();
    for cut in 0..both.len() {
        let (clear, then) = run(&both, &[cut]);
        assert_eq!(then, Then::Refused(expected), "cut at {cut}: {text}");
        assert_eq!(clear, good, "cut at {cut}: {text}");
    }
}

#[test]
fn z07_what_two_readers_could_understand_differently() {
    for (head, expected) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Refused::LengthAndCoding,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            Refused::LengthAndCoding,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", Refused::TwoLengths),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\n", Refused::TwoLengths),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", Refused::Length),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", Refused::Length),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", Refused::Length),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", Refused::Length),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n", Refused::Length),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", Refused::Length),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n", Refused::Length),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Refused::Coding),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", Refused::Coding),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            Refused::Coding,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", Refused::Coding),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n", Refused::Coding),
        ("GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Refused::OldCoding),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", Refused::Folded),
        ("GET / HTTP/1.1\r\nHost: a\r\n\tContent-Length: 1\r\n\r\n", Refused::Folded),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refused::Folded),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Refused::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", Refused::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", Refused::BareLineFeed),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n", Refused::BareCarriageReturn),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\r\n\r\n", Refused::BareCarriageReturn),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x001\r\n\r\n", Refused::Control),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", Refused::Control),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refused::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\n", Refused::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nNoColon\r\n\r\n", Refused::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n", Refused::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\x00: 1\r\n\r\n", Refused::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Refused::TwoHosts),
        ("GET / HTTP/1.1\r\nX: 1\r\n\r\n", Refused::NoHost),
        ("GET / HTTP/1.1\r\n\r\n", Refused::NoHost),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Refused::Host),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Refused::Host),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Refused::Host),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Refused::Host),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Refused::Host),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refused::RequestLine),
        ("GET /\tx HTTP/1.1\r\nHost: a\r\n\r\n", Refused::Target),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Refused::RequestLine),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused::RequestLine),
        ("GET /\r\nHost: a\r\n\r\n", Refused::RequestLine),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", Refused::RequestLine),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused::RequestLine),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refused::Version),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refused::Version),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", Refused::RequestLine),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Refused::Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Refused::Target),
        ("GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", Refused::Target),
        ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", Refused::Target),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Refused::NotAscii),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", Refused::Method),
        ("PRI * HTTP/1.1\r\nHost: a\r\n\r\n", Refused::Method),
    ] {
        refused(head.as_bytes(), expected);
    }
}

#[test]
fn sizes() {
    let fields = |count: usize| {
        let lines: String = (1..count).map(|index| format!("x-{index}: 1\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    };
    assert_eq!(verdict(fields(100).as_bytes()), Then::More);
    assert_eq!(verdict(fields(101).as_bytes()), Then::Refused(Refused::TooMany));
    let sized = |bytes: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(bytes - rest))
    };
    assert_eq!(verdict(sized(32 * 1024).as_bytes()), Then::More);
    assert_eq!(verdict(sized(32 * 1024 + 1).as_bytes()), Then::Refused(Refused::TooLarge));
    // It is refused before its end comes, too.
    assert_eq!(verdict(&sized(40 * 1024).as_bytes()[..33 * 1024]), Then::Refused(Refused::TooLarge));
}

#[test]
fn chunked_bodies() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ChunKed\r\n\r\n";
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    for body in [
        "0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "003;a=b;c=\"d\"\r\nabc\r\nA\r\n0123456789\r\n00;x\r\n\r\n",
        "3\r\n\r\n\n\r\n0\r\nTrailer: x\r\nOther:\r\n\r\n",
    ] {
        let all = [head, body, next].concat();
        for cut in 0..all.len() {
            let (clear, then) = run(all.as_bytes(), &[cut]);
            assert_eq!((clear, then), (all.clone().into_bytes(), Then::More), "cut at {cut}: {body}");
        }
    }
    for body in [
        "\r\n",
        "x\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabcd\r\n",
        "-1\r\n",
        "0x3\r\nabc\r\n",
        "3;a\nb\r\n",
        "3;\x00\r\n",
        "3\r\rabc",
        "0\r\n\n",
        "0\r\n folded: 1\r\n\r\n",
        "0\r\na b: 1\r\n\r\n",
        "0\r\nX: 1\n\r\n",
        "0\r\nX: 1\r\n\r\r",
        "1000000000000000\r\n",
        ";\r\n",
    ] {
        let all = [head, body].concat();
        assert_eq!(verdict(all.as_bytes()), Then::Broken, "{body:?}");
    }
}

#[test]
fn an_upgrade_stops_the_reading_of_heads() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let all = [&head[..], b"\x00not a head"].concat();
    let mut scanner = Scanner::default();
    assert_eq!(scanner.scan(&all), Scanned { clear: head.len(), then: Then::Crossing });
    scanner.crossed(true);
    assert_eq!(scanner.scan(&all[head.len()..]), Scanned { clear: 11, then: Then::More });
    let mut scanner = Scanner::default();
    scanner.scan(&all);
    scanner.crossed(false);
    assert!(matches!(scanner.scan(b"not a head\r\n").then, Then::Refused(_)));
    // With a body, nobody switches.
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(Scanner::default().scan(head), Scanned { clear: head.len(), then: Then::More });
}

/// What hyper makes of a connection: method, target and body of each request.
async fn hyper_reads(bytes: Vec<u8>) -> Vec<(String, String, Bytes)> {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(&bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let record = Arc::clone(&record);
        async move {
            let (parts, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                record.lock().unwrap().push((
                    parts.method.to_string(),
                    parts.uri.to_string(),
                    body.to_bytes(),
                ));
            }
            Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .header_read_timeout(None)
        .half_close(true)
        .serve_connection(TokioIo::new(server), service)
        .await;
    Arc::try_unwrap(seen).unwrap().into_inner().unwrap()
}

fn request() -> impl Strategy<Value = (Vec<u8>, (String, String, Bytes))> {
    let method = "(GET|POST|PUT|X-OWN)";
    let target = "/[a-zA-Z0-9/._~!$&'()*+,=:@%{}|^-]{0,12}(\\?[a-z=&/?{}|^]{0,8})?";
    let fields =
        proptest::collection::vec(("x-[a-zA-Z0-9!#$%&'*+.^_`|~-]{0,8}", "[ -~\t\u{80}-\u{ff}]{0,16}"), 0..5);
    let body = proptest::collection::vec(any::<u8>(), 0..40);
    (method, target, fields, body, 0..3_u8, 1..9_usize).prop_map(
        |(method, target, fields, body, framing, chunk)| {
            let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\n").into_bytes();
            for (name, value) in fields {
                bytes.extend(format!("{name}:{value}\r\n").into_bytes());
            }
            let body = if framing == 0 { Vec::new() } else { body };
            match framing {
                0 => bytes.extend(b"\r\n"),
                1 => {
                    bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
                    bytes.extend(&body);
                }
                _ => {
                    bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                    for part in body.chunks(chunk) {
                        bytes.extend(format!("{:x}\r\n", part.len()).into_bytes());
                        bytes.extend(part);
                        bytes.extend(b"\r\n");
                    }
                    bytes.extend(b"0\r\n\r\n");
                }
            }
            (bytes, (method, target, Bytes::from(body)))
        },
    )
}

proptest! {
    /// However a connection is cut, the same bytes go on and it ends the same way.
    #[test]
    fn pieces_make_no_difference(
        requests in proptest::collection::vec(request(), 1..4),
        change in proptest::option::of((any::<usize>(), any::<u8>())),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
    ) {
        let mut bytes: Vec<u8> = requests.into_iter().flat_map(|(bytes, _)| bytes).collect();
        if let Some((at, byte)) = change {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        prop_assert_eq!(run(&bytes, &[]), run(&bytes, &cuts));
    }

    /// What passes, hyper reads as the same requests; so both agree on where each begins and ends.
    #[test]
    fn what_passes_hyper_reads_alike(requests in proptest::collection::vec(request(), 1..4)) {
        let (bytes, expected): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let bytes = bytes.concat();
        let (clear, then) = run(&bytes, &[]);
        prop_assert_eq!(then, Then::More);
        prop_assert_eq!(clear.len(), bytes.len());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert_eq!(runtime.block_on(hyper_reads(bytes)), expected);
    }

    /// Bytes that were tampered with: hyper never finds more requests in what passed than the scanner let through.
    #[test]
    fn hyper_finds_no_request_that_was_not_seen(
        requests in proptest::collection::vec(request(), 1..4),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut bytes: Vec<u8> = requests.into_iter().flat_map(|(bytes, _)| bytes).collect();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let mut scanner = Scanner::default();
        let scanned = scanner.scan(&bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(hyper_reads(bytes[..scanned.clear].to_vec()));
        prop_assert!(read.len() as u64 <= scanner.heads(), "{} of {}", read.len(), scanner.heads());
    }
}
