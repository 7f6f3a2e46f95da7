//! One row of the report: what was seen of a stack with N of everything. How it is measured is in `standing`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Kind;
use super::cpu::Cpu;
use super::shares::Shares;

pub const SERVICES: [&str; 4] = ["auth", "policy", "session", "gateway"];
/// Whose replicas are judged by the refreshes before the load.
pub const ASKED_BY_REFRESHES: [&str; 2] = ["auth", "policy"];
/// Whoever is slow for a moment is given less in that moment. How often the load goes on for as long again, until such moments
/// make no difference; calls that are not shared stay so, however long one looks.
pub const LOOKS: usize = 5;

#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub kind: Kind,
    pub replicas: u16,
    /// How many of them loaded the gateways, each with one request at a time.
    pub callers: usize,
    pub requests: u64,
    pub requests_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// 503 or no answer, with everything running.
    pub failed: u64,
    /// 401 or 403 for a valid credential, with everything running.
    pub wrong_refusals: u64,
    pub credentials: usize,
    /// The same of the first use of each credential at each gateway, before the load.
    pub first_use: FirstUse,
    /// How many of credentials × gateways were answered; all must be.
    pub pairs_used: usize,
    /// By service: calls that it answered while the load went on. Without one it reads no store for a request.
    pub calls: BTreeMap<&'static str, u64>,
    /// Of all services.
    pub calls_per_request: f64,
    /// Sessions read from, and activity written to, the store, per request.
    pub store_reads_per_request: f64,
    pub store_writes_per_request: f64,
    /// By service, by replica.
    pub shares: BTreeMap<&'static str, Shares>,
    /// By service: what it used of its part of a core while the load went on. Empty without a limit.
    pub cpu: BTreeMap<&'static str, Cpu>,
    /// How often it was looked whether the calls were shared: of issuing, and of the load.
    pub looks: Looks,
    pub killed: Killed,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Looks {
    pub issue: usize,
    pub load: usize,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct FirstUse {
    pub failed: u64,
    pub wrong_refusals: u64,
}

/// One replica of each service killed under load.
#[derive(Debug, Clone, Serialize)]
pub struct Killed {
    pub processes: Vec<String>,
    pub requests: u64,
    pub failed: u64,
    /// Of those, at gateways that were not killed: what is in front of gateways leaves out one that is away, this load does not.
    pub requests_elsewhere: u64,
    pub failed_elsewhere: u64,
    pub wrong_refusals: u64,
    /// Credentials that some gateway did not accept any more once everything ran again.
    pub lost: usize,
}

impl Row {
    /// Who used most of what it had; `None`: nobody was limited.
    pub fn busiest(&self) -> Option<(&'static str, f64)> {
        let shares = self.cpu.iter().map(|(service, cpu)| (*service, cpu.share()));
        shares.max_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    pub fn line(&self) -> String {
        let busiest = self.busiest().map_or_else(String::new, |(service, share)| {
            format!("; {service} used {share:.2} of its part of a core")
        });
        format!(
            "{:.0} requests/s, p50 {:.1} ms, p99 {:.1} ms, {:.2} calls and {:.2} store reads a request; killed: {} of {} \
             failed, {} of {} at other gateways, {} wrong refusals, {} lost{busiest}",
            self.requests_per_second,
            self.p50_ms,
            self.p99_ms,
            self.calls_per_request,
            self.store_reads_per_request,
            self.killed.failed,
            self.killed.requests,
            self.killed.failed_elsewhere,
            self.killed.requests_elsewhere,
            self.wrong_refusals + self.killed.wrong_refusals,
            self.killed.lost,
        )
    }
}

/// Who has calls in a row of this kind, and so enough of them to be judged.
pub fn is_asked(kind: Kind, service: &str) -> bool {
    ASKED_BY_REFRESHES.contains(&service) || asked_by_load(kind).contains(&service)
}

/// A session is looked up by session-service; a token is checked by the gateway, and so are the roles of both.
pub fn asked_by_load(kind: Kind) -> &'static [&'static str] {
    if kind == Kind::Tokens { &["gateway"] } else { &["session", "gateway"] }
}

/// Who is killed.
pub fn first_of_each() -> Vec<String> {
    SERVICES.iter().map(|service| format!("{service}-0")).collect()
}
