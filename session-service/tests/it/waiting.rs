//! The process whose store is not there yet: it says so to whoever asks, and needs nobody to start it again.

use std::process::Stdio;

use servers::{Redis, free_port};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::authority::Authority;
use crate::issuer::ISSUER;

/// Until what `/readyz?verbose` answers has `part` in it.
async fn until_readyz_says(port: u16, part: &str) -> String {
    loop {
        let answer = async {
            let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
            let request = b"GET /readyz?verbose HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        match answer.await {
            Ok(answer) if answer.contains(part) => return answer,
            _ => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test]
async fn a_start_without_redis_waits_and_says_so() {
    let mut server = Redis::start();
    server.kill();
    let authority = Authority::new();
    let (tls, probes) = (authority.tls("session"), free_port());
    let mut child = Command::new(env!("CARGO_BIN_EXE_session-service"))
        .env("LATCHKEY__ISSUER", ISSUER)
        .env("LATCHKEY__SERVER__LISTEN", "127.0.0.1:0")
        .env("LATCHKEY__OPERATIONS__LISTEN", format!("127.0.0.1:{probes}"))
        .env("LATCHKEY__TLS__CERTIFICATE", tls.certificate)
        .env("LATCHKEY__TLS__KEY", tls.key)
        .env("LATCHKEY__TLS__AUTHORITY", tls.authority)
        .env("LATCHKEY__TLS__DOMAIN", tls.domain)
        .env("LATCHKEY__STORE__URL", server.url())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let answer = until_readyz_says(probes, "not ok: store: waiting for the Redis at").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("refused"), "{answer}");
    let said = loop {
        let line: serde_json::Value =
            serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        if line["condition"] == "store" {
            break line;
        }
    };
    assert!(said["reason"].as_str().unwrap().contains("waiting for the Redis at"), "{said}");

    server.restart();
    let answer = until_readyz_says(probes, "\r\n\r\nready\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.kill();
    let answer = until_readyz_says(probes, "not ok: store").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "what is lost later takes it out of no balancer: {answer}");
    server.restart();
    until_readyz_says(probes, "\nok: store\n").await;
}
