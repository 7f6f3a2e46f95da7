//! `latchkey-bench introspection`: an access token looked up at auth-service on PostgreSQL (RFC 7662) beside a bare tonic server
//! that answers the same message out of its memory, over as many connections. Each has a core to itself in turn; PostgreSQL,
//! the load and everything else have the other.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use chassis::grpc::client::{Call, Channel};
use clap::Args;
use proto::auth::v1::{
    self as wire, client_admin_service_client::ClientAdminServiceClient,
    token_read_service_client::TokenReadServiceClient, token_service_client::TokenServiceClient,
};
use serde_json::json;
use servers::{Postgres, Sync};

use crate::{
    bare,
    calls::{Callers, Medians, Rounds, request},
    floor,
    gateway::ours::Stack,
    neighbour::Neighbours,
    report::milliseconds,
};

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// By requests a second.
const GATE: f64 = 0.7;
/// Tokens that are asked about, in turn.
const TOKENS: usize = 1_000;

#[derive(Args)]
pub struct Options {
    /// Interleaved rounds; the table shows medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load a round and variant
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Connections
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Calls in flight, on all connections together
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Fail below the gate
    #[arg(long)]
    gate: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0 && options.connections > 0, "--rounds, --connections: at least one");
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::start(Sync::On);
    let state = folder.path().join("stack");
    let stores = ["--database", &postgres.url(), "--sessions", "memory"];
    let stack = Stack::start_apart(&state, &stores, "auth-0", (SERVER_CORE, LOAD_CORE))?;
    let service = stack.process("auth-0")?;
    let certificates = state.join("certificates");
    let (bare, address) = bare::start(SERVER_CORE, &certificates, &folder.path().join("bare.log"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let disk = floor::flush(folder.path())?;
    let ([ours, theirs], (commit, read)) = runtime.block_on(async {
        let mut commits = floor::Commits::at(&postgres).await?;
        let commit = floor::in_a_row(async || commits.once().await).await?;
        let read = floor::in_a_row(async || commits.read().await).await?;
        let neighbours = Neighbours::of(&certificates)?;
        let load = |url: &str, name| {
            Callers::connect(&neighbours, (url, name), options.connections, options.in_flight)
        };
        let (ours, theirs) = (
            load(&stack.service("auth")?, "auth")?,
            // It has session-service's certificate.
            load(&format!("https://{address}"), "session")?,
        );
        let (client, tokens) = tokens(&neighbours.channel(&stack.service("auth")?, "auth")?).await?;
        let introspect = move |channel, number: usize| {
            let token = tokens.get(number % tokens.len()).cloned().unwrap_or_default();
            let message = wire::IntrospectRequest { client: Some(client.clone()), token };
            let mut client = TokenReadServiceClient::new(channel);
            async move {
                ensure!(client.introspect(request(message)).await?.into_inner().active, "not active");
                Ok(())
            }
        };
        let mut measured = [Rounds::default(), Rounds::default()];
        for round in 0..options.rounds {
            let time = Duration::from_secs(options.seconds);
            for (rounds, (callers, pid)) in measured.iter_mut().zip([(&ours, service), (&theirs, bare.pid())])
            {
                callers.measure(rounds, pid, time, introspect.clone()).await?;
            }
            eprintln!("round {} of {}", round + 1, options.rounds);
        }
        anyhow::Ok((measured.map(Rounds::medians), (commit, read)))
    })?;
    let (rate, cpu) = ours.of(theirs);
    if options.json {
        println!(
            "{}",
            json!({ "introspection_ratio": rate, "introspection_cpu_efficiency": cpu,
                "flush_ms": milliseconds(disk.p50), "commit_ms": milliseconds(commit.p50), "select_ms": milliseconds(read.p50) })
        );
    } else {
        println!("floor: a flush of the disk {disk}, a commit {commit}, a SELECT of nothing {read}\n");
        println!("| | requests/s | CPU µs a request | disturbed % |\n|---|---|---|---|");
        for (name, Medians { requests_per_second, cpu_us_per_request, disturbed }) in
            [("introspection, auth-service on PostgreSQL", ours), ("bare tonic, no store", theirs)]
        {
            println!("| {name} | {requests_per_second:.0} | {cpu_us_per_request:.1} | {disturbed:.0} |");
        }
        println!("\nintrospection ÷ bare: {rate:.2} by rate, {cpu:.2} by CPU time of the server");
    }
    ensure!(!options.gate || rate >= GATE, "introspection is {rate:.2} of a bare answer: below {GATE}");
    Ok(())
}

/// A client, and tokens of its own.
async fn tokens(auth: &Channel) -> anyhow::Result<(wire::ClientAuthentication, Arc<Vec<String>>)> {
    let message = wire::CreateClientRequest {
        name: "bench".into(),
        audiences: vec!["https://bench.example".into()],
        scopes: Vec::new(),
    };
    let call = Call::new("bench", Duration::from_secs(10)).actor("bench").request(message);
    let made = ClientAdminServiceClient::new(auth.clone()).create_client(call).await?.into_inner();
    let client = wire::ClientAuthentication {
        client_id: made.client.context("no client")?.id,
        client_secret: made.client_secret,
    };
    let mut tokens = Vec::with_capacity(TOKENS);
    for _ in 0..TOKENS {
        let message = wire::IssueClientTokenRequest {
            client: Some(client.clone()),
            scope: String::new(),
            audience: String::new(),
        };
        let issued = TokenServiceClient::new(auth.clone()).issue_client_token(request(message)).await?;
        tokens.push(issued.into_inner().tokens.context("no token")?.access_token);
    }
    Ok((client, Arc::new(tokens)))
}
