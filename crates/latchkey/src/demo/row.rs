//! One row of the report: a stack with N of everything, loaded, measured, and hurt.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::Kind;
use super::load::{self, Credential, Seen};
use super::metrics::Metrics;
use super::quota::Quota;
use super::servers;
use super::stack::Stack;

const SERVICES: [&str; 4] = ["auth", "session", "policy", "gateway"];
const CREDENTIALS: usize = 16;
/// Refreshes for each replica of auth-service: each calls auth and policy, and enough of them show how calls are shared.
const REFRESHES: usize = 300;
/// Below so many calls a replica, its share is chance.
const ENOUGH_CALLS: u64 = 50;
/// Of a fair share, what each replica must at least have answered.
const LEAST_SHARE: f64 = 0.7;
/// Whoever is slow for a moment is given less in that moment. How often the load goes on for as long again, until such moments
/// make no difference; calls that are not shared stay so, however long one looks.
pub const LOOKS: usize = 5;
const PASSWORD: &str = "purple lantern under glacier";
const BETWEEN_KILLS: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub kind: Kind,
    pub replicas: u16,
    pub requests: u64,
    pub requests_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// 503 or no answer, with everything running.
    pub failed: u64,
    /// 401 or 403 for a valid credential, with everything running.
    pub wrong_refusals: u64,
    pub credentials: usize,
    /// How many of credentials × gateways were answered; all must be.
    pub pairs_used: usize,
    /// Calls that the gateways made to the services, per request.
    pub calls_per_request: f64,
    /// Sessions read from, and activity written to, the store, per request.
    pub store_reads_per_request: f64,
    pub store_writes_per_request: f64,
    /// By service, by replica.
    pub shares: BTreeMap<&'static str, Shares>,
    /// How often it was looked whether the calls were shared: of issuing, and of the load.
    pub looks: Looks,
    pub killed: Killed,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Looks {
    pub issue: usize,
    pub load: usize,
}

#[derive(Debug, Clone, Serialize)]
pub struct Shares {
    pub calls: BTreeMap<String, u64>,
    /// Whether there were enough calls for shares to mean anything.
    pub judged: bool,
}

impl Shares {
    fn new(calls: BTreeMap<String, u64>) -> Self {
        let judged = calls.values().sum::<u64>() >= ENOUGH_CALLS * calls.len() as u64;
        Self { calls, judged }
    }

    /// Who had less than it should: replica, its share, the least share. Nobody, when there were too few calls.
    pub fn behind(&self) -> impl Iterator<Item = (&str, f64, f64)> {
        let total = self.calls.values().sum::<u64>() as f64;
        let least = LEAST_SHARE / self.calls.len() as f64;
        let shares = self.calls.iter().filter(|_| self.judged);
        let shares = shares.map(move |(replica, calls)| (replica.as_str(), *calls as f64 / total, least));
        shares.filter(|(_, share, least)| share < least)
    }

    /// Each replica's part, in their order.
    pub fn said(&self) -> String {
        let total = self.calls.values().sum::<u64>();
        if total == 0 {
            return "no calls".to_owned();
        }
        let parts = self.calls.values().map(|calls| format!("{:.2}", *calls as f64 / total as f64));
        let parts = parts.collect::<Vec<_>>().join(" ");
        if self.judged { parts } else { format!("{parts} (of {total} calls, too few to judge)") }
    }

    fn are_even(&self) -> bool {
        self.judged && self.behind().next().is_none()
    }
}

/// One replica of each service killed under load.
#[derive(Debug, Clone, Serialize)]
pub struct Killed {
    pub processes: Vec<String>,
    pub requests: u64,
    pub failed: u64,
    pub wrong_refusals: u64,
    /// Credentials that some gateway did not accept any more once everything ran again.
    pub lost: usize,
}

impl Row {
    pub fn line(&self) -> String {
        format!(
            "{:.0} requests/s, p50 {:.1} ms, p99 {:.1} ms, {:.2} calls and {:.2} store reads a request; killed: {} of {} \
             failed, {} wrong refusals, {} lost",
            self.requests_per_second,
            self.p50_ms,
            self.p99_ms,
            self.calls_per_request,
            self.store_reads_per_request,
            self.killed.failed,
            self.killed.requests,
            self.wrong_refusals + self.killed.wrong_refusals,
            self.killed.lost,
        )
    }
}

pub async fn measure(kind: Kind, replicas: u16, seconds: u64, quota: Option<&Quota>) -> Result<Row> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .timeout(Duration::from_secs(30))
        .build()
        .context("no HTTP client can be made")?;
    // Declared first, so that it goes after the stack.
    let server = servers::start(kind);
    let stack = Stack::start(replicas, &server.arguments()).await?;
    let gateways = stack.file.gateways.clone();

    let (credentials, mut refresh_tokens) = issue(&client, &gateways, kind).await?;
    // Tokens are refreshed before the load, by auth and policy; the gateways, and whoever is asked for a session, by it.
    let (asked_early, asked_late): (&[_], &[_]) = match kind {
        Kind::Tokens => (&["auth", "policy"], &["gateway"]),
        _ => (&[], &["session", "gateway"]),
    };
    let before_issue = Metrics::read(&client, &stack.file).await?;
    let (mut issued, mut looks) = (Metrics::default(), Looks { issue: 0, load: 0 });
    for _ in 0..LOOKS {
        looks.issue += 1;
        refresh_tokens = refresh_all(&client, &gateways, refresh_tokens, usize::from(replicas)).await?;
        issued = Metrics::read(&client, &stack.file).await?;
        if are_even(asked_early, &before_issue, &issued) {
            break;
        }
    }
    // From here on everything is warm: each gateway has the keys, and has seen each credential.
    load::once_everywhere(&client, &gateways, &credentials).await;
    let limited = quota.map(|quota| quota.hold(&stack.file)).transpose()?;

    let before = Metrics::read(&client, &stack.file).await?;
    let end = async {
        for _ in 0..LOOKS {
            looks.load += 1;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let now = Metrics::read(&client, &stack.file).await?;
            if are_even(asked_late, &before, &now) {
                break;
            }
        }
        anyhow::Ok(())
    };
    let began = tokio::time::Instant::now();
    let (seen, ended) = load::until(&client, &gateways, &credentials, end).await;
    let took = began.elapsed();
    ended?;
    let after = Metrics::read(&client, &stack.file).await?;
    drop(limited);

    let killed = kill(&client, &stack, &credentials).await?;
    stack.stop().await?;

    let per_request = |count: u64| count as f64 / seen.requests().max(1) as f64;
    let backing = SERVICES.iter().filter(|service| **service != "gateway");
    let calls: u64 =
        backing.map(|service| after.grown(&before, service, &rpcs(service)).values().sum::<u64>()).sum();
    let of_sessions = |counter| after.grown(&before, "session", counter).values().sum::<u64>();
    let shares = SERVICES.iter().map(|service| {
        let early = kind == Kind::Tokens && *service != "gateway";
        let (from, to) = if early { (&before_issue, &issued) } else { (&before, &after) };
        (*service, shares(service, from, to))
    });
    Ok(Row {
        kind,
        replicas,
        requests: seen.requests(),
        requests_per_second: seen.answered as f64 / took.as_secs_f64(),
        p50_ms: seen.percentile(50),
        p99_ms: seen.percentile(99),
        failed: seen.failed,
        wrong_refusals: seen.refused,
        credentials: credentials.len(),
        pairs_used: seen.pairs.len(),
        calls_per_request: per_request(calls),
        store_reads_per_request: per_request(of_sessions("latchkey_session_lookups_total")),
        store_writes_per_request: per_request(of_sessions("latchkey_session_activity_writes_total")),
        shares: shares.collect(),
        looks,
        killed,
    })
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

async fn issue(
    client: &reqwest::Client,
    gateways: &[String],
    kind: Kind,
) -> Result<(Vec<Credential>, Vec<String>)> {
    let mode = if kind == Kind::Tokens { "token" } else { "session" };
    let mut credentials = Vec::with_capacity(CREDENTIALS);
    let mut refresh_tokens = Vec::new();
    for (number, url) in gateways.iter().cycle().take(CREDENTIALS).enumerate() {
        let name = format!("demo-{number}");
        let user = json!({ "username": name, "password": PASSWORD });
        post(client, &format!("{url}/v1/users"), &user).await?;
        let login = json!({ "identifier": name, "password": PASSWORD, "mode": mode });
        let (cookie, answer) = post(client, &format!("{url}/v1/login"), &login).await?;
        credentials.push(match kind {
            Kind::Tokens => {
                refresh_tokens.push(text(&answer, "refresh_token")?);
                Credential::Token(format!("Bearer {}", text(&answer, "access_token")?))
            }
            _ => Credential::Session(cookie.context("a login set no cookie")?),
        });
    }
    Ok((credentials, refresh_tokens))
}

/// All at once, each its own again and again: as the calls of many are shared. What each may be refreshed with next.
async fn refresh_all(
    client: &reqwest::Client,
    gateways: &[String],
    refresh_tokens: Vec<String>,
    replicas: usize,
) -> Result<Vec<String>> {
    let each = REFRESHES * replicas / CREDENTIALS;
    let all = refresh_tokens.into_iter().map(|token| refresh(client, gateways, token, each));
    futures_util::future::try_join_all(all).await
}

async fn refresh(
    client: &reqwest::Client,
    gateways: &[String],
    token: String,
    times: usize,
) -> Result<String> {
    let mut token = token;
    for url in gateways.iter().cycle().take(times) {
        let form = [("grant_type", "refresh_token"), ("client_id", "first-party"), ("refresh_token", &token)];
        let answer = client.post(format!("{url}/oauth2/token")).form(&form).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status).context("a refresh")?;
        token = text(&answer.json().await.context("a refresh answered no JSON")?, "refresh_token")?;
    }
    Ok(token)
}

/// The cookie that was set, and the answer.
async fn post(client: &reqwest::Client, url: &str, body: &Value) -> Result<(Option<String>, Value)> {
    let answer = client.post(url).json(body).send().await.with_context(|| url.to_owned())?;
    let status = answer.status();
    let cookie = answer.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok());
    let cookie = cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
    let text = answer.text().await.with_context(|| url.to_owned())?;
    anyhow::ensure!(status.is_success(), "{url}: {status} {text}");
    let answer = serde_json::from_str(&text).with_context(|| format!("{url} answered no JSON"))?;
    Ok((cookie, answer))
}

fn text(answer: &Value, member: &str) -> Result<String> {
    let text = answer.get(member).and_then(Value::as_str);
    Ok(text.with_context(|| format!("an answer without {member}"))?.to_owned())
}

async fn kill(client: &reqwest::Client, stack: &Stack, credentials: &[Credential]) -> Result<Killed> {
    let gateways = &stack.file.gateways;
    let processes: Vec<String> = SERVICES.iter().map(|service| format!("{service}-0")).collect();
    let all = async {
        for process in &processes {
            stack.kill(process)?;
            tokio::time::sleep(BETWEEN_KILLS).await;
        }
        stack.replaced(&processes).await
    };
    let (seen, outcome) = load::until(client, gateways, credentials, all).await;
    outcome?;
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
    Ok(Killed {
        processes,
        requests: seen.requests(),
        failed: seen.failed,
        wrong_refusals: seen.refused,
        lost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(calls: &[u64]) -> String {
        let named = calls.iter().enumerate().map(|(at, calls)| (format!("auth-{at}"), *calls));
        Shares::new(named.collect()).said()
    }

    #[test]
    fn every_share_is_said_and_which_are_of_too_few_calls() {
        assert_eq!(shares(&[60, 40]), "0.60 0.40");
        assert_eq!(shares(&[3, 1]), "0.75 0.25 (of 4 calls, too few to judge)");
        assert_eq!(shares(&[0, 0]), "no calls");
    }
}
