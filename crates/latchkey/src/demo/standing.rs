//! A stack with N of everything: started, loaded by turns, measured, and hurt.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::Kind;
use super::cpu::Cpu;
use super::issue::issue;
use super::load::{self, Callers, Credential, Seen};
use super::metrics::Metrics;
use super::quota::{Counted, Held, Quota};
use super::row::{
    ASKED_BY_REFRESHES, FirstUse, Killed, LOOKS, Looks, Row, SERVICES, asked_by_load, first_of_each,
};
use super::servers::Server;
use super::shares::Shares;
use super::stack::Stack;

/// Enough to use all of a machine, and few enough that they seldom wait for one another.
const CALLERS: Callers = Callers::Together(16);
/// A gateway that uses up its part of a core must have requests waiting whenever it gets more: the fewer it finds at a time, the
/// more each costs it.
const CALLERS_A_GATEWAY: usize = 64;
/// In how many pieces a row is loaded until it is looked at, between pieces of the other rows.
const TURNS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const BETWEEN_KILLS: Duration = Duration::from_millis(300);

/// A row that is being measured: its stack runs, warm, and is loaded now and then.
pub struct Standing<'a> {
    kind: Kind,
    replicas: u16,
    client: reqwest::Client,
    stack: Stack,
    /// Stopped after the stack.
    _server: Server,
    credentials: Vec<Credential>,
    first: Seen,
    before_issue: Metrics,
    after_issue: Metrics,
    quota: Option<&'a Quota>,
    callers: Callers,
    before: Metrics,
    seen: RefCell<Seen>,
    took: Duration,
    /// By process, while it was loaded.
    spent: BTreeMap<String, Counted>,
    looks: Looks,
}

impl<'a> Standing<'a> {
    /// Starts a stack on a store of its own, and has every gateway meet every credential.
    pub async fn start(kind: Kind, server: Server, replicas: u16, quota: Option<&'a Quota>) -> Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(Duration::from_secs(30))
            .build()
            .context("no HTTP client can be made")?;
        let stack = Stack::start(replicas, &server.arguments(), quota).await?;
        let gateways = &stack.file.gateways;
        let mut issued = issue(&client, gateways, kind).await?;
        // Refreshed before the load: it shows requests alone. First without being looked at: a login takes a hundred times as
        // long as a refresh, and until that is forgotten whoever answered it is given less.
        issued.refresh(&client, gateways).await?;
        let before_issue = Metrics::read(&client, &stack.file).await?;
        let mut after_issue = Metrics::default();
        let mut looks = Looks { issue: 0, load: 0 };
        for _ in 0..LOOKS {
            looks.issue += 1;
            issued.refresh(&client, gateways).await?;
            after_issue = Metrics::read(&client, &stack.file).await?;
            if are_even(&ASKED_BY_REFRESHES, &before_issue, &after_issue) {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        let credentials = issued.credentials;
        // From here on everything is warm: each gateway has the keys, and has seen each credential.
        let first = load::once_everywhere(&client, gateways, &credentials).await;
        let before = Metrics::read(&client, &stack.file).await?;
        Ok(Self {
            kind,
            replicas,
            callers: if quota.is_some() { Callers::EachGateway(CALLERS_A_GATEWAY) } else { CALLERS },
            client,
            stack,
            _server: server,
            credentials,
            first,
            before_issue,
            after_issue,
            quota,
            before,
            seen: RefCell::default(),
            took: Duration::ZERO,
            spent: BTreeMap::new(),
            looks,
        })
    }

    /// Each time in new groups, so that no row has for all of its load what chance gave it at first: when, in turn, its processes have
    /// used up their parts.
    async fn load(&mut self, turn: Duration) -> Result<()> {
        let limited = self.quota.map(|quota| quota.hold(&self.stack.file)).transpose()?;
        let counted = || anyhow::Ok(limited.as_ref().map(Held::counted).transpose()?.unwrap_or_default());
        let (before, began) = (counted()?, Instant::now());
        let (gateways, end) = (&self.stack.file.gateways, tokio::time::sleep(turn));
        load::until(self.callers, &self.client, gateways, &self.credentials, &self.seen, end).await;
        self.took += began.elapsed();
        for (process, now) in counted()? {
            let then = before.get(&process).copied().unwrap_or_default();
            self.spent.entry(process).or_default().add(then, now);
        }
        Ok(())
    }

    fn requests_per_second(&self) -> f64 {
        self.seen.borrow().answered as f64 / self.took.as_secs_f64()
    }

    /// Whether the calls of the load were shared, as of now.
    async fn is_even(&mut self) -> Result<bool> {
        self.looks.load += 1;
        let now = Metrics::read(&self.client, &self.stack.file).await?;
        Ok(are_even(asked_by_load(self.kind), &self.before, &now))
    }

    /// Kills one of each, and stops the rest.
    pub async fn finish(self) -> Result<Row> {
        let after = Metrics::read(&self.client, &self.stack.file).await?;
        let requests_per_second = self.requests_per_second();
        let killed = kill(&self.client, &self.stack, &self.credentials).await?;
        let gateways = self.stack.file.gateways.len();
        self.stack.stop().await?;

        let (seen, before) = (self.seen.into_inner(), &self.before);
        let per_request = |count: u64| count as f64 / seen.requests().max(1) as f64;
        let of_sessions = |counter| after.grown(before, "session", counter).values().sum::<u64>();
        let backing = SERVICES.into_iter().filter(|service| *service != "gateway");
        let calls: BTreeMap<_, _> =
            backing.map(|service| (service, shares(service, before, &after).total())).collect();
        let shares = SERVICES.into_iter().map(|service| {
            let early = ASKED_BY_REFRESHES.contains(&service);
            let (from, to) = if early { (&self.before_issue, &self.after_issue) } else { (before, &after) };
            (service, shares(service, from, to))
        });
        let cpu = |quota: &Quota| {
            SERVICES.map(|service| {
                (service, Cpu::new(service, &self.spent, quota.cores, (self.took, seen.answered)))
            })
        };
        Ok(Row {
            kind: self.kind,
            replicas: self.replicas,
            callers: self.callers.of(gateways),
            requests: seen.requests(),
            requests_per_second,
            p50_ms: seen.percentile(50),
            p99_ms: seen.percentile(99),
            failed: seen.failed,
            wrong_refusals: seen.refused,
            first_use: FirstUse { failed: self.first.failed, wrong_refusals: self.first.refused },
            credentials: self.credentials.len(),
            pairs_used: seen.pairs.len(),
            calls_per_request: per_request(calls.values().sum()),
            calls,
            store_reads_per_request: per_request(of_sessions("latchkey_session_lookups_total")),
            store_writes_per_request: per_request(of_sessions("latchkey_session_activity_writes_total")),
            shares: shares.collect(),
            cpu: self.quota.map(cpu).into_iter().flatten().collect(),
            looks: self.looks,
            killed,
        })
    }
}

/// Loads all rows of a kind by turns, each for so many seconds: what a machine does besides, and how fast it is just then, is the
/// same for all of them. All go on until the calls of each are shared.
pub async fn load(rows: &mut [Standing<'_>], seconds: u64) -> Result<()> {
    let length = Duration::from_secs(seconds) / TURNS;
    for look in 0..LOOKS {
        for turn in 1..=TURNS {
            for row in &mut *rows {
                row.load(length).await?;
            }
            let rates: Vec<_> = rows.iter().map(|row| format!("{:.0}", row.requests_per_second())).collect();
            let again = if look > 0 { ", again: calls are not shared yet" } else { "" };
            println!("  turn {turn} of {TURNS}{again}: {} requests/s", rates.join(", "));
        }
        let mut are_even = true;
        for row in &mut *rows {
            are_even &= row.is_even().await?;
        }
        if are_even {
            break;
        }
    }
    Ok(())
}

fn shares(service: &str, from: &Metrics, to: &Metrics) -> Shares {
    Shares::new(to.grown(from, service, &rpcs(service)))
}

fn are_even(services: &[&str], from: &Metrics, to: &Metrics) -> bool {
    services.iter().all(|service| shares(service, from, to).are_even())
}

/// The counter of a service's calls. A gateway's are the requests it answered.
fn rpcs(service: &str) -> String {
    match service {
        "gateway" => "latchkey_gateway_answers_total".to_owned(),
        service => format!("latchkey_{service}_rpcs_total"),
    }
}

async fn kill(client: &reqwest::Client, stack: &Stack, credentials: &[Credential]) -> Result<Killed> {
    let gateways = &stack.file.gateways;
    let processes = first_of_each();
    let all = async {
        for process in &processes {
            stack.kill(process)?;
            tokio::time::sleep(BETWEEN_KILLS).await;
        }
        stack.replaced(&processes).await
    };
    let seen = RefCell::default();
    load::until(CALLERS, client, gateways, credentials, &seen, all).await?;
    let seen = seen.into_inner();
    let mut lost = 0;
    for credential in credentials {
        let one = std::slice::from_ref(credential);
        let again: Seen = load::once_everywhere(client, gateways, one).await;
        // What could not be asked says nothing about the session: it is asked once more, a moment later.
        let again = if again.failed == 0 {
            again
        } else {
            tokio::time::sleep(BETWEEN_KILLS).await;
            load::once_everywhere(client, gateways, one).await
        };
        lost += usize::from(again.pairs.len() < gateways.len());
    }
    // The first of everything was killed, of gateways too.
    let elsewhere = || seen.by_gateway.iter().filter(|(gateway, _)| **gateway > 0).map(|(_, at)| at);
    Ok(Killed {
        processes,
        requests: seen.requests(),
        failed: seen.failed,
        requests_elsewhere: elsewhere().map(|at| at.requests).sum(),
        failed_elsewhere: elsewhere().map(|at| at.failed).sum(),
        wrong_refusals: seen.refused,
        lost,
    })
}
