//! `latchkey-bench gateway`: every proxy in front of the same upstream, one thread each on a core of its own, the load and
//! the upstream on another, in interleaved rounds.

mod envoy;
mod haproxy;
mod nginx;
pub mod ours;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use servers::Redis;

use crate::{
    load,
    process::{self, Server, free_address},
    report::{self, Measured, Row, Sample},
};

/// What all others are compared with. It gets no token.
const BASE: &str = "nginx, plain proxy";

/// The least that a hyper proxy can do, and the same with what our requests carry.
const BARE: &str = "bare hyper forwarder";
const BARE_WITH_TOKEN: &str = "bare hyper forwarder, same token";

const PROXY_CORE: usize = 0;
const LOAD_CORE: usize = 1;

/// The gates that a release must pass: the token route against nginx's plain proxy, and against the bare forwarder that carries
/// the same bytes, by CPU time a request.
const GATES: [(&str, f64); 2] = [(BASE, 0.80), (BARE_WITH_TOKEN, 0.90)];

#[derive(Args)]
pub struct Options {
    /// Interleaved rounds; the table shows medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load a round and variant
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Only variants whose name contains this (nginx's plain proxy always runs)
    #[arg(long)]
    only: Option<String>,
    /// Fail below a gate
    #[arg(long)]
    gate: bool,
}

/// A proxy that can be started, and the requests it is measured with.
pub struct Variant {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    listen: SocketAddr,
    path: &'static str,
    /// Headers made anew for each run, since tokens expire.
    headers: Headers,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Headers {
    None,
    /// A signed token for another audience, which a foreign proxy can verify.
    SignedToken,
    /// A token for the gateway.
    GatewayToken,
    SessionCookie,
}

impl Variant {
    fn new(name: &'static str, program: &str, arguments: Vec<String>, listen: SocketAddr) -> Self {
        Self { name, program: program.into(), arguments, listen, path: "/", headers: Headers::None }
    }

    fn with(self, path: &'static str, headers: Headers) -> Self {
        Self { path, headers, ..self }
    }
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let tools = std::env::current_dir()?.join("target/tools");

    let upstream_address = free_address()?;
    let upstream = nginx::upstream(&at("upstream"), upstream_address)?;
    let _upstream = Server::start(
        LOAD_CORE,
        &upstream.program,
        &upstream.arguments,
        upstream.listen,
        &at("upstream.log"),
    )?;
    // Declared first, so that it goes after the stack.
    let redis = Redis::try_start().context("sessions are to be in Redis, which does not start")?;
    let stack = ours::Stack::start_with(&at("stack"), &["--sessions", &redis.url()])?;
    let key_set = stack.key_set()?;
    let key = key_set.pointer("/keys/0").context("the key set is empty")?;

    let (issuer, envoy) = (stack.issuer()?, |tokens, name| {
        envoy::variant(
            tokens,
            &at(name),
            &tools,
            free_address()?,
            upstream_address,
            &stack.issuer()?,
            &key_set,
        )
    });
    let bare = |name| -> anyhow::Result<Variant> {
        let (listen, program) = (free_address()?, std::env::current_exe()?.display().to_string());
        let arguments =
            ["forward", "--listen", &listen.to_string(), "--upstream", &upstream_address.to_string()];
        Ok(Variant::new(name, &program, arguments.map(str::to_owned).to_vec(), listen))
    };
    let signed = |variant: Variant| variant.with("/", Headers::SignedToken);
    let mut variants = vec![
        nginx::plain(BASE, &at("nginx"), free_address()?, upstream_address)?,
        // What a token's bytes alone cost: nginx only carries them on, we take them off.
        nginx::plain(
            "nginx, plain proxy, same token",
            &at("nginx-token"),
            free_address()?,
            upstream_address,
        )?
        .with("/", Headers::GatewayToken),
        nginx::auth_request(&at("nginx-auth"), free_address()?, upstream_address)?,
        haproxy::plain(&at("haproxy"), free_address()?, upstream_address)?,
        signed(haproxy::jwt_verify(&at("haproxy-jwt"), free_address()?, upstream_address, key)?),
        envoy(envoy::Tokens::Ignored, "envoy")?,
        signed(envoy(envoy::Tokens::VerifiedOnceAndCached, "envoy-cache")?),
        signed(envoy(envoy::Tokens::Verified, "envoy-jwt")?),
        bare(BARE)?,
        bare(BARE_WITH_TOKEN)?.with("/", Headers::GatewayToken),
    ];
    variants.extend(stack.gateways(&at("ours"), upstream_address)?);
    if let Some(only) = &options.only {
        variants.retain(|variant| variant.name == BASE || variant.name.contains(only.as_str()));
    }
    eprintln!(
        "issuer {issuer}; {} variants, {} rounds of {} s each",
        variants.len(),
        options.rounds,
        options.seconds
    );

    let mut measured: Vec<_> =
        variants.iter().map(|one| Measured { name: one.name, samples: Vec::new() }).collect();
    for round in 1..=options.rounds {
        for (variant, result) in variants.iter().zip(&mut measured) {
            // Anew each round: where a process finds itself in memory makes some hundredths of a difference.
            let log = at(&format!("{}.log", variant.listen.port()));
            let server =
                Server::start(PROXY_CORE, &variant.program, &variant.arguments, variant.listen, &log)?;
            let headers = stack.headers(variant.headers)?;
            let url = format!("http://{}{}", variant.listen, variant.path);
            load::wrk(LOAD_CORE, 1, &url, &headers).with_context(|| variant.name)?;
            let before = process::times(server.pid())?;
            let run = load::wrk(LOAD_CORE, options.seconds, &url, &headers).with_context(|| variant.name)?;
            let spent = process::times(server.pid())?.since(before);
            result.samples.push(Sample {
                requests_per_second: run.requests_per_second,
                cpu_per_request: spent.cpu.div_f64(run.requests as f64),
                waited: spent.waited.as_secs_f64() / f64::from(options.seconds),
                resident: process::resident(server.pid())?,
                started_in: server.started_in,
            });
        }
        eprintln!("round {round} of {}", options.rounds);
    }

    let rows = report::rows(&measured);
    // What a session costs over a token: it is asked for on every request.
    let session = report::ratio(&rows, ours::SESSION_ROUTE, ours::TOKEN_ROUTE);
    if options.json {
        let (rounds, seconds) = (options.rounds, options.seconds);
        println!(
            "{}",
            json!({ "rounds": rounds, "seconds": seconds, "rows": rows, "session_to_token": session })
        );
    } else {
        print!("{}", report::table(&rows));
        if let Some(session) = session {
            println!("\n{session}");
        }
    }
    if options.gate { gates(&rows) } else { Ok(()) }
}

fn gates(rows: &[Row]) -> anyhow::Result<()> {
    let efficiency = |name| {
        let row = rows.iter().find(|row| row.name == name);
        Ok::<_, anyhow::Error>(row.with_context(|| format!("{name} was not measured"))?.cpu_efficiency)
    };
    let token = efficiency(ours::TOKEN_ROUTE)?;
    for (name, gate) in GATES {
        let ratio = token / efficiency(name)?;
        if ratio < gate {
            bail!("{} ÷ {name}: CPU efficiency {ratio:.2} is below the gate of {gate}", ours::TOKEN_ROUTE)
        }
    }
    Ok(())
}
