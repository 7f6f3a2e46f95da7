//! Octets as they are, on a socket of their own: what no well-behaved client sends. Reads answers with no more understanding
//! than it takes.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stack::Stack;

/// Longer than anything that must happen; whoever waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The only one of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(own, _)| own == name);
        let (_, value) = found.next()?;
        assert!(found.next().is_none(), "{name} is there twice: {self:?}");
        Some(value)
    }

    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {} {text}", self.status))
    }

    /// The `code` of a problem, which is one in every respect.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// A request head. `headers` are whole lines without their ends; the connection is to be closed after the answer.
pub fn head(method: &str, target: &str, headers: &[&str]) -> String {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{lines}\r\n")
}

/// Where the gateway listens, without a scheme.
pub fn address(stack: &Stack) -> &str {
    stack.url().strip_prefix("http://").unwrap()
}

pub async fn connect(stack: &Stack) -> TcpStream {
    TcpStream::connect(address(stack)).await.unwrap()
}

/// Sends all of it and reads every answer until the gateway closes, which it must.
pub async fn exchange(stack: &Stack, octets: impl AsRef<[u8]>) -> Vec<Answer> {
    let mut stream = connect(stack).await;
    // The gateway may answer and close before it has read everything.
    let _ = stream.write_all(octets.as_ref()).await;
    answers(&read_to_end(&mut stream).await)
}

/// As [`exchange`], with exactly one answer.
pub async fn one(stack: &Stack, octets: impl AsRef<[u8]>) -> Answer {
    let mut all = exchange(stack, octets).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// What comes until the other side closes or resets.
pub async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let closed = async { while stream.read_buf(&mut read).await.is_ok_and(|length| length > 0) {} };
    if timeout(PATIENCE, closed).await.is_err() {
        panic!("the gateway does not close after: {}", String::from_utf8_lossy(&read));
    }
    read
}

/// Takes apart what a connection carried, to anything but HEAD.
pub fn answers(mut octets: &[u8]) -> Vec<Answer> {
    let mut all = Vec::new();
    while !octets.is_empty() {
        let end = octets.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("half a head: {}", String::from_utf8_lossy(octets)));
        let head = String::from_utf8_lossy(&octets[..end]).into_owned();
        octets = &octets[end + 4..];
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if let Some(length) = answer.header("content-length").map(|length| length.parse().unwrap()) {
            answer.body = octets[..length].to_vec();
            octets = &octets[length..];
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let end = octets.windows(2).position(|two| two == b"\r\n").unwrap();
                let size = usize::from_str_radix(std::str::from_utf8(&octets[..end]).unwrap(), 16).unwrap();
                answer.body.extend(&octets[end + 2..end + 2 + size]);
                octets = &octets[end + 2 + size + 2..];
                if size == 0 {
                    break;
                }
            }
        }
        all.push(answer);
    }
    all
}
