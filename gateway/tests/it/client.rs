//! A client that sends bytes as they are, and reads answers with no more understanding than it needs.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything that is expected to happen; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(own, _)| own == name);
        let first = found.next()?;
        assert!(found.next().is_none(), "{name} is there twice");
        Some(&first.1)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of a problem.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["request_id"].as_str().unwrap().len(), 32);
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The gateway may have closed; then there is an answer to read.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// False at the end.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await.expect("no answer came");
        read.is_ok_and(|read| read > 0)
    }

    pub async fn at_least(&mut self, bytes: usize) -> Vec<u8> {
        while self.unread.len() < bytes {
            assert!(
                self.more().await,
                "the connection ended early: {}",
                String::from_utf8_lossy(&self.unread)
            );
        }
        self.unread.drain(..bytes).collect()
    }

    pub async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            assert!(
                self.more().await,
                "the connection ended early: {}",
                String::from_utf8_lossy(&self.unread)
            );
        }
    }

    pub async fn head(&mut self) -> Answer {
        let status = self.line().await;
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return Answer { status, headers, body: Vec::new() };
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    pub async fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.line().await, 16).unwrap();
        let mut chunk = self.at_least(size + 2).await;
        chunk.truncate(size);
        chunk
    }

    /// One answer, to anything but HEAD.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        if let Some(length) = answer.header("content-length").map(|length| length.parse().unwrap()) {
            answer.body = self.at_least(length).await;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    break;
                }
                answer.body.extend(chunk);
            }
        } else if !matches!(answer.status, 100..200 | 204 | 304) {
            answer.body = self.rest().await;
        }
        answer
    }

    /// All until the gateway closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.unread)
    }

    /// Returns once the gateway has closed, and nothing more came.
    pub async fn closed(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}

/// One request on a connection of its own.
pub async fn once(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::connect(address).await;
    client.send(request).await;
    client.answer().await
}

/// A request without a body. `headers` are whole lines without their ends.
pub fn request(method: &str, target: &str, headers: &[&str]) -> String {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\nHost: app.example\r\n{lines}\r\n")
}

pub async fn get(address: SocketAddr, target: &str, headers: &[&str]) -> Answer {
    once(address, request("GET", target, headers)).await
}
