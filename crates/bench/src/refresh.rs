//! `latchkey-bench refresh`: what a refresh of a token costs on PostgreSQL, by the CPU time of auth-service, as `latchkey up`
//! starts it on one core, with policy-service asked for the roles each time. PostgreSQL syncs each commit to the disk.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chassis::grpc::client::{Call, Channel};
use clap::Args;
use proto::auth::v1::{
    self as wire, login_service_client::LoginServiceClient, token_service_client::TokenServiceClient,
};
use serde_json::json;
use servers::{Postgres, Sync};
use tokio::task::JoinSet;

use crate::{
    floor,
    gateway::ours::Stack,
    neighbour::Neighbours,
    process,
    report::{median, milliseconds},
};

const PASSWORD: &str = "violet anchor gravel tundra";
/// Refreshes for each CPU second of auth-service.
const GATE: f64 = 2_400.0;

#[derive(Args)]
pub struct Options {
    /// Rounds; medians are shown
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Clients, each of which refreshes one token after another
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Refreshes a client and round
    #[arg(long, default_value_t = 300)]
    refreshes: usize,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Fail below the gate
    #[arg(long)]
    gate: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0 && options.refreshes > 0, "--rounds, --refreshes: at least one");
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::start(Sync::On);
    let state = folder.path().join("stack");
    let disk = floor::flush(folder.path())?;
    let stores = ["--database", &postgres.url(), "--sessions", "memory"];
    let stack = Stack::start_apart(&state, &stores, "auth-0", (0, 1))?;
    let service = stack.process("auth-0")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut commits = floor::Commits::at(&postgres).await?;
        let commit = floor::in_a_row(async || commits.once().await).await?;
        let neighbours = Neighbours::of(&state.join("certificates"))?;
        let auth = neighbours.channel(&stack.service("auth")?, "auth")?;
        let mut tokens = Vec::new();
        for number in 0..options.clients {
            tokens.push(login(&auth, &format!("user{number}")).await?);
        }
        let mut tokens = refresh_all(&auth, tokens, options.refreshes / 10 + 1).await?;
        let all = (options.clients * options.refreshes) as f64;
        let (mut rates, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=options.rounds {
            let (before, others, began) = (process::times(service)?, cpu_of(&postgres)?, Instant::now());
            tokens = refresh_all(&auth, tokens, options.refreshes).await?;
            rates.push(all / began.elapsed().as_secs_f64());
            ours.push(all / process::times(service)?.since(before).cpu.as_secs_f64());
            theirs.push(all / cpu_of(&postgres)?.saturating_sub(others).as_secs_f64());
            eprintln!("round {round} of {}", options.rounds);
        }
        let (rate, ours, theirs) = (median(rates), median(ours), median(theirs));
        if options.json {
            println!(
                "{}",
                json!({ "refreshes_per_second": rate, "per_cpu_second": ours, "per_cpu_second_of_postgres": theirs,
                    "flush_ms": milliseconds(disk.p50), "commit_ms": milliseconds(commit.p50) })
            );
        } else {
            println!("refreshes by {} clients, medians of {} rounds", options.clients, options.rounds);
            println!("floor: a flush of the disk {disk}, a commit {commit}");
            println!("{rate:.0} a second");
            println!("{ours:.0} for each CPU second of auth-service");
            println!("{theirs:.0} for each CPU second of PostgreSQL");
        }
        ensure!(!options.gate || ours >= GATE, "{ours:.0} for each CPU second: below {GATE}");
        Ok(())
    })
}

/// Each token `times` times, one after another; all tokens at once.
async fn refresh_all(auth: &Channel, tokens: Vec<String>, times: usize) -> anyhow::Result<Vec<String>> {
    let mut chains = JoinSet::new();
    for mut token in tokens {
        let mut client = TokenServiceClient::new(auth.clone());
        chains.spawn(async move {
            for _ in 0..times {
                let first_party = wire::ClientAuthentication {
                    client_id: "first-party".into(),
                    client_secret: String::new(),
                };
                let message = wire::RefreshRequest {
                    client: Some(first_party),
                    refresh_token: token,
                    scope: String::new(),
                };
                let answer = client.refresh(call(message)).await?.into_inner();
                token = answer.tokens.context("no tokens")?.refresh_token;
            }
            anyhow::Ok(token)
        });
    }
    chains.join_all().await.into_iter().collect()
}

async fn login(auth: &Channel, name: &str) -> anyhow::Result<String> {
    let mut logins = LoginServiceClient::new(auth.clone());
    let address = "192.0.2.1";
    let message = wire::RegisterRequest {
        username: name.into(),
        password: PASSWORD.into(),
        client_address: address.into(),
    };
    logins.register(call(message)).await?;
    let message = wire::LoginRequest {
        identifier: name.into(),
        password: PASSWORD.into(),
        mode: wire::LoginMode::Token.into(),
        client_address: address.into(),
    };
    match logins.login(call(message)).await?.into_inner().result {
        Some(wire::login_response::Result::Tokens(tokens)) => Ok(tokens.refresh_token),
        _ => anyhow::bail!("no tokens"),
    }
}

fn call<T>(message: T) -> tonic::Request<T> {
    Call::new("bench", Duration::from_secs(10)).request(message)
}

/// Of all its processes but the one that starts them and the one that tells.
fn cpu_of(server: &Postgres) -> anyhow::Result<Duration> {
    let pids = server.psql("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
    pids.lines().map(|pid| Ok(process::times(pid.trim().parse()?)?.cpu)).sum()
}
