//! The load: so many callers, each with one request at a time, spread round robin over gateways and credentials.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderName};
use tokio::time::Instant;

/// How many callers there are, each with one request at a time.
#[derive(Debug, Clone, Copy)]
pub enum Callers {
    /// So many, whose requests go to all gateways in turn: where all processes share one machine.
    Together(usize),
    /// So many to each gateway, which keep to it: where each process has its own part of a core. If they went to all in turn,
    /// all would wait at the one that has used up its part.
    EachGateway(usize),
}

impl Callers {
    /// All of them.
    pub fn of(self, gateways: usize) -> usize {
        match self {
            Callers::Together(callers) => callers,
            Callers::EachGateway(callers) => callers * gateways,
        }
    }
}

/// Who got no answer comes back after this, and not at once: one that refuses quickly must not draw all the load.
const BACK_AFTER: Duration = Duration::from_millis(20);

/// A header that lets one in.
#[derive(Debug, Clone)]
pub enum Credential {
    Token(String),
    Session(String),
}

impl Credential {
    fn header(&self) -> (HeaderName, &str) {
        match self {
            Credential::Token(bearer) => (AUTHORIZATION, bearer),
            Credential::Session(cookie) => (COOKIE, cookie),
        }
    }

    fn path(&self) -> &'static str {
        match self {
            Credential::Token(_) => "/app/token/demo",
            Credential::Session(_) => "/app/session/demo",
        }
    }
}

/// What the callers saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub answered: u64,
    /// 401 or 403, though every credential is valid.
    pub refused: u64,
    /// Anything else: 503, or no answer.
    pub failed: u64,
    /// (credential, gateway) that were answered.
    pub pairs: BTreeSet<(usize, usize)>,
    pub by_gateway: BTreeMap<usize, AtGateway>,
    pub latencies: Vec<Duration>,
}

#[derive(Debug, Default)]
pub struct AtGateway {
    pub requests: u64,
    pub failed: u64,
}

impl Seen {
    pub fn requests(&self) -> u64 {
        self.answered + self.refused + self.failed
    }

    /// In milliseconds; 0 when nothing was answered.
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut all = self.latencies.clone();
        all.sort_unstable();
        let at = (all.len() * percent / 100).min(all.len().saturating_sub(1));
        all.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// Runs until `end` resolves; requests under way are finished. What is seen is added.
pub async fn until<T>(
    callers: Callers,
    client: &reqwest::Client,
    gateways: &[String],
    credentials: &[Credential],
    seen: &RefCell<Seen>,
    end: impl Future<Output = T>,
) -> T {
    let (next, is_over) = (Cell::new(0), Cell::new(false));
    let callers = (0..callers.of(gateways.len())).map(|caller| {
        let (next, is_over) = (&next, &is_over);
        async move {
            // Another gateway with each number, another credential after a turn of all gateways.
            let mut number = caller;
            while !is_over.get() {
                match callers {
                    Callers::Together(_) => number = next.replace(next.get() + 1),
                    Callers::EachGateway(_) => number += gateways.len(),
                }
                if one(client, gateways, credentials, number, seen).await.is_none() {
                    tokio::time::sleep(BACK_AFTER).await;
                }
            }
        }
    });
    let end = async {
        let value = end.await;
        is_over.set(true);
        value
    };
    tokio::join!(end, join_all(callers)).0
}

/// Every credential once at every gateway.
pub async fn once_everywhere(
    client: &reqwest::Client,
    gateways: &[String],
    credentials: &[Credential],
) -> Seen {
    let seen = RefCell::new(Seen::default());
    for number in 0..gateways.len() * credentials.len() {
        one(client, gateways, credentials, number, &seen).await;
    }
    seen.into_inner()
}

/// `None`: there was no answer, or it was 503.
async fn one(
    client: &reqwest::Client,
    gateways: &[String],
    credentials: &[Credential],
    number: usize,
    seen: &RefCell<Seen>,
) -> Option<()> {
    let (gateway, credential) = (number % gateways.len(), number / gateways.len() % credentials.len());
    let (url, presented) = (gateways.get(gateway)?, credentials.get(credential)?);
    let (name, value) = presented.header();
    let began = Instant::now();
    let answer = client.get(format!("{url}{}", presented.path())).header(name, value).send().await;
    // An answer that breaks off is none.
    let status = match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            answer.bytes().await.map(|_| status)
        }
        Err(error) => Err(error),
    };
    let took = began.elapsed();
    let mut seen = seen.borrow_mut();
    let at = seen.by_gateway.entry(gateway).or_default();
    at.requests += 1;
    at.failed += u64::from(!matches!(status, Ok(200 | 401 | 403)));
    match status {
        Ok(200) => {
            seen.answered += 1;
            seen.latencies.push(took);
            seen.pairs.insert((credential, gateway));
        }
        Ok(401 | 403) => seen.refused += 1,
        _ => {
            seen.failed += 1;
            return None;
        }
    }
    Some(())
}
