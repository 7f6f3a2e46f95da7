//! Who gets as far as a call at all.

use std::sync::Arc;
use std::time::Duration;

use latchkey_chassis::config::TlsMode;
use latchkey_chassis::status;
use latchkey_chassis::tls::Identity;
use rcgen::SanType;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::authority::{Authority, DOMAIN};
use crate::echo::{Running, call, say, send, start};

fn refused(status: &Status) -> bool {
    status.code() == Code::PermissionDenied && status::reason(status).as_deref() == Some("CALLER_NOT_LISTED")
}

#[tokio::test]
async fn a_listed_caller_is_answered_by_name() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let channel = server.channel(&authority.identity("gateway"));
    assert_eq!(say(&channel).await.unwrap(), "5 gateway req_test nobody");
}

#[tokio::test]
async fn an_unlisted_caller_or_method_is_refused_before_any_code_of_the_service() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let session = server.channel(&authority.identity("session"));
    assert!(refused(&say(&session).await.unwrap_err()));

    let gateway = server.channel(&authority.identity("gateway"));
    let status = send(gateway, "/test.v1.Echo/Other", call().request(String::new())).await.unwrap_err();
    assert!(refused(&status), "{status:?}");
}

#[tokio::test]
async fn a_certificate_of_ours_that_names_no_process_of_ours_is_refused() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let other = SanType::URI("spiffe://other.example/latchkey/gateway".try_into().unwrap());
    for names in [vec![], vec![other]] {
        let identity = authority.identity_with("gateway", |params| params.subject_alt_names = names);
        assert!(refused(&say(&server.channel(&identity)).await.unwrap_err()));
    }
}

/// Connects with `config` and waits for what the server makes of it. In TLS 1.3 a client believes that it is through
/// before the server has looked at its certificate, so only reading tells.
async fn foreign(server: &Running, config: Arc<rustls::ClientConfig>) -> std::io::Result<Vec<u8>> {
    let tcp = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from("auth").unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await?;
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    tls.flush().await?;
    let mut head = vec![0; 9];
    tls.read_exact(&mut head).await?;
    Ok(head)
}

#[tokio::test]
async fn without_a_certificate_there_is_no_connection() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let gateway = authority.tls("gateway");
    let head = foreign(&server, authority.foreign_client(Some(&gateway), &[&TLS13])).await.unwrap();
    assert_eq!(head.get(3), Some(&4), "the control: with a certificate the server sends its SETTINGS");

    let error = foreign(&server, authority.foreign_client(None, &[&TLS13])).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
    let error = foreign(&server, authority.foreign_client(Some(&gateway), &[&TLS12])).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_an_expired_one_is_refused() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let past = OffsetDateTime::from_unix_timestamp(1_000_000_000).unwrap();
    let expired = authority.tls_with("gateway", |params| {
        params.not_before = past;
        params.not_after = past + Duration::from_secs(86_400);
    });
    let early = authority.tls_with("operator", |params| {
        params.not_before = OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(4_100_000_000).unwrap();
    });
    let stranger = Authority::new();
    let strange = stranger.tls("gateway");
    for (tls, word) in [(&expired, "expired"), (&early, "certificate"), (&strange, "unknownca")] {
        let config = authority.foreign_client(Some(tls), &[&TLS13]);
        let error = foreign(&server, config).await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains(word), "{word}: {error}");
        let status = say(&server.channel(&Identity::load(tls).unwrap())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
}

#[tokio::test]
async fn plain_text_is_refused_and_a_slow_handshake_holds_up_nobody() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    // Connected and silent, before everybody else.
    let _silent = TcpStream::connect(server.address).await.unwrap();

    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.windows(5).any(|bytes| bytes == b"\0\0\0\x04\0"), "no HTTP/2 came back: {answer:?}");

    assert!(say(&server.channel(&authority.identity("gateway"))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_is_given_up() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let began = tokio::time::Instant::now();
    let mut answer = Vec::new();
    let _ = silent.read_to_end(&mut answer).await;
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_refuses_a_server_that_is_not_who_it_asked_for() {
    let authority = Authority::new();
    let gateway = authority.identity("gateway");
    let imposter = start(&authority.identity("session"));
    assert_eq!(say(&imposter.channel(&gateway)).await.unwrap_err().code(), Code::Unavailable);
    let foreign = start(&Authority::new().identity("auth"));
    assert_eq!(say(&foreign.channel(&gateway)).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn behind_a_mesh_connections_are_plain_and_every_caller_is_the_mesh() {
    let mut tls = Authority::new().tls("auth");
    tls.mode = TlsMode::External;
    let identity = Identity::load(&tls).unwrap();
    let server = start(&identity);
    let endpoint = format!("http://{}", server.address);
    let life = crate::echo::life(Duration::ZERO);
    let channel = latchkey_chassis::grpc::client::channel(&[endpoint], &identity, "auth", &life).unwrap();
    assert_eq!(say(&channel).await.unwrap(), "5 mesh req_test nobody");

    let secure = Authority::new().identity("gateway");
    let plain = format!("http://{}", server.address);
    let error = latchkey_chassis::grpc::client::channel(&[plain], &secure, "auth", &life).unwrap_err();
    assert!(error.to_string().contains("must begin with https://"), "{error}");
    assert_eq!(DOMAIN, "test.example");
}
