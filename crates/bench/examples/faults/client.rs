//! A client as its users would write one: balances over the gateways that say they are ready, gives each request a deadline,
//! and tries once more what was never sent or is safe to repeat. Each of these can be left out, for the controls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder};

/// Whether a second try is safe when the first was sent and not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Safe,
    NotSafe,
}

/// How careful the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Looks at readiness and retries.
    Full,
    /// Neither: round robin, one try.
    None,
}

/// The deadline that a caller may count on, and the second more after which it counts as hung.
pub const DEADLINE: Duration = Duration::from_secs(2);
pub const LOGIN_DEADLINE: Duration = Duration::from_secs(5);
/// An ending waits until the lease of whoever cannot confirm it is over.
pub const ENDING_DEADLINE: Duration = Duration::from_secs(15);
pub const GRACE: Duration = Duration::from_secs(1);
/// In smoke, which no time fails, only what is never answered counts.
pub const SMOKE_GRACE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Of a change: it holds everywhere. 202 says that this is not known.
    pub fn is_acknowledged(&self) -> bool {
        self.is_success() && self.status != 202
    }

    /// A 503 or 429 must say when to come back; nobody loses a cookie over an outage.
    pub fn is_rude(&self) -> bool {
        let is_mute = matches!(self.status, 429 | 503) && !self.headers.contains_key("retry-after");
        is_mute || (self.status >= 500 && self.headers.contains_key("set-cookie"))
    }
}

/// No answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Never sent: nobody accepted the connection.
    Refused,
    /// The connection broke.
    Broken,
    /// Nothing came until a second after the deadline.
    Hung,
}

/// Which gateways a request was for, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Whose turn it was, ready or not: requests of the same turn are those of one client, which turns to that gateway first.
    pub first: usize,
    /// Who was asked last.
    pub last: usize,
}

impl Asked {
    pub fn only(gateway: usize) -> Asked {
        Asked { first: gateway, last: gateway }
    }
}

struct Gateway {
    url: String,
    readyz: String,
    is_ready: AtomicBool,
}

pub struct Clients {
    gateways: Vec<Gateway>,
    next: AtomicUsize,
    care: Care,
    /// After a deadline, until what is not answered counts as hung.
    grace: Duration,
    http: Client,
}

/// A client that follows no redirect and keeps no cookie: each request says all it means.
pub fn http() -> anyhow::Result<Client> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Ok(Client::builder()
        .no_proxy()
        // There is no TLS here, and reading the system's certificates takes longer than a request.
        .tls_certs_only([])
        .redirect(reqwest::redirect::Policy::none())
        // What is idle is closed, so that open files of the servers can be compared.
        .pool_idle_timeout(Duration::from_secs(2))
        .build()?)
}

impl Clients {
    /// `gateways`: each one's public URL and operations URL.
    pub fn new(gateways: &[(String, String)], care: Care, grace: Duration) -> anyhow::Result<Arc<Clients>> {
        let gateways = gateways.iter().map(|(url, operations)| Gateway {
            url: url.clone(),
            readyz: format!("{operations}/readyz"),
            is_ready: AtomicBool::new(true),
        });
        Ok(Arc::new(Clients {
            gateways: gateways.collect(),
            next: AtomicUsize::new(0),
            care,
            grace,
            http: http()?,
        }))
    }

    /// Looks at each gateway's readiness, until dropped.
    pub async fn watch(self: Arc<Self>) {
        if self.care == Care::None {
            return;
        }
        loop {
            for gateway in &self.gateways {
                let asked = self.http.get(&gateway.readyz).timeout(Duration::from_millis(200)).send().await;
                // Slow is not away: a busy machine is slow.
                if !asked.as_ref().is_err_and(reqwest::Error::is_timeout) {
                    let is_ready = asked.is_ok_and(|answer| answer.status() == 200);
                    gateway.is_ready.store(is_ready, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn replicas(&self) -> usize {
        self.gateways.len()
    }

    /// Sends what `request` makes of a gateway's URL. Returns who was asked.
    pub async fn send(
        &self,
        deadline: Duration,
        repeat: Repeat,
        request: impl Fn(&Client, &str) -> RequestBuilder,
    ) -> (Result<Answer, Lost>, Asked) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.gateways.len();
        let picked = self.pick(turn);
        let answer = self.send_to(picked, deadline, &request).await;
        let again = match &answer {
            Err(Lost::Refused) => true,
            Err(Lost::Broken) => repeat == Repeat::Safe,
            _ => false,
        };
        if !again || self.care == Care::None {
            return (answer, Asked { first: turn, last: picked });
        }
        let other = (picked + 1) % self.gateways.len();
        (self.send_to(other, deadline, &request).await, Asked { first: turn, last: other })
    }

    /// To this gateway, once.
    pub async fn send_to(
        &self,
        gateway: usize,
        deadline: Duration,
        request: impl Fn(&Client, &str) -> RequestBuilder,
    ) -> Result<Answer, Lost> {
        let there = &self.gateways[gateway];
        let sent = async {
            let answer = request(&self.http, &there.url).send().await?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            Ok::<_, reqwest::Error>(Answer { status, headers, body: answer.bytes().await?.to_vec() })
        };
        match tokio::time::timeout(deadline + self.grace, sent).await {
            Err(_) => Err(Lost::Hung),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                there.is_ready.store(self.care == Care::None, Ordering::Relaxed);
                Err(if error.is_connect() { Lost::Refused } else { Lost::Broken })
            }
        }
    }

    fn pick(&self, turn: usize) -> usize {
        let of = self.gateways.len();
        let mut in_turn = (0..of).map(|step| (turn + step) % of);
        in_turn.find(|at| self.gateways[*at].is_ready.load(Ordering::Relaxed)).unwrap_or(turn)
    }
}

/// A gateway that answers each request with the next of these statuses; its clients, and a ledger in `folder`.
#[cfg(test)]
pub async fn world_of(
    statuses: &'static [u16],
    folder: &std::path::Path,
) -> anyhow::Result<Arc<crate::world::World>> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        for status in statuses {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            // Its head is one small packet.
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let clients = Clients::new(&[(url.clone(), url)], Care::Full, GRACE)?;
    let ledger = crate::ledger::Ledger::open(&folder.join("ledger.jsonl"))?;
    Ok(crate::world::World::new(ledger, clients, 1))
}
