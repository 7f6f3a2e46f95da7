//! What a server does with the calls that it lets in.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use latchkey_chassis::config::TlsMode;
use latchkey_chassis::status;
use latchkey_chassis::tls::Identity;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;

use crate::authority::Authority;
use crate::echo::{call, own_address, say, send, start, start_with};

#[tokio::test]
async fn a_panic_is_internal_says_nothing_and_ends_nothing() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let channel = server.channel(&authority.identity("gateway"));
    for method in ["/test.v1.Echo/Panic", "/test.v1.Echo/PanicAtOnce"] {
        let request = call().request("hunter2".to_owned());
        let status = send(channel.clone(), method, request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
        assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
        assert!(say(&channel).await.is_ok(), "the same connection goes on");
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let channel = server.channel(&authority.identity("gateway"));
    let say = |length| send(channel.clone(), "/test.v1.Echo/Say", call().request("x".repeat(length)));
    assert!(say(1024 * 1024 - 16).await.unwrap().starts_with("1048560 "));
    let status = say(1024 * 1024).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(status::reason(&status).as_deref(), Some("MESSAGE_TOO_LARGE"));
}

#[tokio::test]
async fn the_callers_deadline_holds_and_there_is_one_without() {
    let mut tls = Authority::new().tls("auth");
    tls.mode = TlsMode::External;
    let default = |settings: &mut latchkey_chassis::config::Server| {
        settings.default_deadline = Duration::from_millis(30);
    };
    let identity = Identity::load(&tls).unwrap();
    let server = start_with(&identity, own_address(), Duration::from_secs(10), default);
    // Not our channel: that one always sends a deadline.
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let channel = endpoint.connect_lazy();
    let status = send(channel.clone(), "/test.v1.Echo/Wait", Request::new(String::new())).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");

    let mut longer = Request::new(String::new());
    longer.set_timeout(Duration::from_secs(60));
    let left = send(channel, "/test.v1.Echo/Continue", longer).await.unwrap();
    let left: u64 = left.parse().unwrap();
    assert!((50_000..=60_000).contains(&left), "what is left travels on: {left}");
}

#[tokio::test]
async fn a_request_without_a_usable_id_gets_one() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let channel = server.channel(&authority.identity("gateway"));
    for sent in ["", "with spaces", "\"quoted\""] {
        let mut request = call().request(String::new());
        request.metadata_mut().insert("x-request-id", sent.parse().unwrap());
        let answer = send(channel.clone(), "/test.v1.Echo/Say", request).await.unwrap();
        let id = answer.split(' ').nth(2).unwrap();
        assert!(id.starts_with("req_") && id.len() == 30, "{answer}");
    }
}

#[tokio::test]
async fn health_follows_readiness_and_reflection_is_for_operators() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let operator = server.channel(&authority.identity("operator"));
    let mut health = HealthClient::new(operator.clone());
    let request = HealthCheckRequest { service: "test.v1.Echo".to_owned() };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    let mut status = watch.message().await.unwrap().unwrap().status();
    while status != ServingStatus::Serving {
        status = watch.message().await.unwrap().unwrap().status();
    }

    let list = || {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        tokio_stream::once(request)
    };
    let answer = ServerReflectionClient::new(operator.clone()).server_reflection_info(list()).await.unwrap();
    let answer = answer.into_inner().message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(services) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = services.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"test.v1.Echo".to_owned()), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health".to_owned()), "{names:?}");

    let session = server.channel(&authority.identity("session"));
    let refused =
        ServerReflectionClient::new(session.clone()).server_reflection_info(list()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    // The former version, which grpcio speaks: the same for the same callers.
    let list = || {
        tokio_stream::once(v1alpha::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
                String::new(),
            )),
        })
    };
    let client = v1alpha::server_reflection_client::ServerReflectionClient::new;
    assert!(client(operator).server_reflection_info(list()).await.is_ok());
    let refused = client(session).server_reflection_info(list()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    server.life.trigger();
    while status == ServingStatus::Serving {
        status = watch.message().await.unwrap().unwrap().status();
    }
    assert_eq!(status, ServingStatus::NotServing);
}

/// A bare HTTP/2 connection, so that a test sees its end.
async fn bare(
    address: SocketAddr,
    config: std::sync::Arc<rustls::ClientConfig>,
) -> (hyper::client::conn::http2::SendRequest<tonic::body::Body>, impl Future<Output = hyper::Result<()>>) {
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("auth").unwrap();
    let tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    hyper::client::conn::http2::handshake(executor, hyper_util::rt::TokioIo::new(tls)).await.unwrap()
}

#[tokio::test]
async fn an_old_connection_is_asked_to_go_and_then_cut_off() {
    let authority = Authority::new();
    let aged = |grace| {
        move |settings: &mut latchkey_chassis::config::Server| {
            settings.max_connection_age = Duration::from_millis(40);
            settings.max_connection_grace = grace;
        }
    };
    let client = authority.foreign_client(Some(&authority.tls("gateway")), &[&TLS13]);

    let server = start_with(
        &authority.identity("auth"),
        own_address(),
        Duration::from_secs(10),
        aged(Duration::from_secs(60)),
    );
    let (_send, connection) = bare(server.address, client.clone()).await;
    let ended = tokio::time::timeout(Duration::from_secs(10), connection).await;
    assert!(ended.expect("an idle connection goes when asked").is_ok());

    let server = start_with(
        &authority.identity("auth"),
        own_address(),
        Duration::from_secs(10),
        aged(Duration::from_millis(40)),
    );
    let channel = server.channel(&authority.identity("gateway"));
    let waiting = send(channel.clone(), "/test.v1.Echo/Wait", call().request(String::new()));
    let status = waiting.await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "a call that outlasts the grace is cut off: {status:?}");
    // Where the machine is slow a connection may be over before anything was sent on it.
    let again = async { while say(&channel).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("the next ones connect again");
}

#[tokio::test]
async fn a_connection_without_an_age_stays() {
    let authority = Authority::new();
    let never = |settings: &mut latchkey_chassis::config::Server| settings.max_connection_age = Duration::MAX;
    let server = start_with(&authority.identity("auth"), own_address(), Duration::from_secs(10), never);
    assert!(say(&server.channel(&authority.identity("gateway"))).await.is_ok());
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Type, flags and stream of what comes next.
async fn next_frame(from: &mut (impl AsyncRead + Unpin)) -> (u8, u8, u32) {
    let mut head = [0; 9];
    from.read_exact(&mut head).await.unwrap();
    let [_, a, b, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([a, b]))];
    from.read_exact(&mut payload).await.unwrap();
    (kind, flags, u32::from_be_bytes(stream))
}

/// Frames as bytes, because clients differ: some take a reset behind an answer for the answer.
#[tokio::test]
async fn a_refusal_is_not_reset_from_under_a_caller_that_is_still_sending() {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let client = authority.foreign_client(Some(&authority.tls("session")), &[&TLS13]);
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("auth").unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(client).connect(name, tcp).await.unwrap();
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "auth"),
        (":path", "/test.v1.Echo/Say"),
        ("content-type", "application/grpc"),
    ] {
        // RFC 7541 §6.2.2: literal, not indexed, new name, no Huffman.
        for text in [&[0][..], &[name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()] {
            block.extend(text);
        }
    }
    let hello = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, b"")].concat();
    tls.write_all(&hello).await.unwrap();
    for stream in (1..200).step_by(2) {
        let head = [frame(HEADERS, 4, stream, &block), frame(PING, 0, 0, &[1; 8])].concat();
        tls.write_all(&head).await.unwrap();
        let mut seen = Vec::new();
        // The server has the head by then.
        while seen.last() != Some(&(PING, 1, 0)) {
            seen.push(next_frame(&mut tls).await);
        }
        let body = [frame(DATA, 1, stream, &[0; 5]), frame(PING, 0, 0, &[2; 8])].concat();
        tls.write_all(&body).await.unwrap();
        let (mut answered, mut pinged) = (false, false);
        while !(answered && pinged) {
            seen.push(next_frame(&mut tls).await);
            answered = seen.contains(&(HEADERS, 5, stream));
            pinged = seen.iter().filter(|frame| **frame == (PING, 1, 0)).count() == 2;
        }
        assert!(!seen.contains(&(RESET, 0, stream)), "{seen:?}");
    }
}

#[tokio::test]
async fn a_caller_that_never_ends_its_message_is_refused_all_the_same() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let client = authority.foreign_client(Some(&authority.tls("session")), &[&TLS13]);
    let (mut send, connection) = bare(server.address, client).await;
    let connection = tokio::spawn(connection);
    let endless = || {
        let chunk = bytes::Bytes::from(vec![0; 16 * 1024]);
        futures_util::stream::repeat(chunk).map(|data| Ok::<_, Status>(http_body::Frame::data(data)))
    };
    let silent = || futures_util::stream::pending::<Result<http_body::Frame<bytes::Bytes>, Status>>();
    for body in [
        tonic::body::Body::new(http_body_util::StreamBody::new(endless())),
        tonic::body::Body::new(http_body_util::StreamBody::new(silent())),
    ] {
        let head = http::Request::post("http://auth/test.v1.Echo/Say");
        let request = head.header("content-type", "application/grpc").body(body).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(10), send.send_request(request)).await;
        assert_eq!(answer.expect("an answer").unwrap().headers()["grpc-status"], "7");
    }
    connection.abort();
}
