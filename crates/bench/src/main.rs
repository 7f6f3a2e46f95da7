//! Side-by-side comparisons: everything in one run, on one machine, interleaved, so that a ratio means something.
//!
//! Figures are medians over rounds. CPU time a request is quoted beside requests a second, because it holds when other
//! work disturbs the machine.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock and spawns its own tasks")]

mod bare;
mod calls;
mod feed;
mod floor;
mod forward;
mod gateway;
mod http;
mod introspection;
mod load;
mod neighbour;
mod process;
mod refresh;
mod report;
mod revoke;
mod sessions;
mod stack;
mod timing;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "latchkey-bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Our gateway, a bare hyper forwarder, nginx, HAProxy and Envoy in front of the same upstream
    Gateway(gateway::Options),
    /// How long `latchkey up` takes, and the memory of each of its processes before anybody logs in
    Stack(stack::Options),
    /// What a login and a call take: unknown user and wrong password, a token and each of its parts altered
    Timing(timing::Options),
    /// Refreshes on PostgreSQL, by the CPU time of auth-service
    Refresh(refresh::Options),
    /// A session read through session-service and Redis beside a bare tonic answer, and with a million sessions in Redis
    Sessions(sessions::Options),
    /// A token looked up at auth-service (RFC 7662) beside a bare tonic answer
    Introspection(introspection::Options),
    /// From taking a token back to the answer that no gateway accepts it: three gateways, two replicas each, PostgreSQL
    Revoke(revoke::Options),
    /// The feed itself: acknowledgements with few and many watchers, looks at a million endings
    Feed(feed::Options),
    /// The bare forwarder that the gateway is compared with: no authentication, no routes
    Forward {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        upstream: SocketAddr,
    },
    /// The bare tonic server that session reads and introspection are compared with
    Bare {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        certificates: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    chassis::process::prepare();
    match Arguments::parse().what {
        What::Gateway(options) => gateway::run(&options),
        What::Stack(options) => stack::run(&options),
        What::Timing(options) => timing::run(&options),
        What::Refresh(options) => refresh::run(&options),
        What::Sessions(options) => sessions::run(&options),
        What::Introspection(options) => introspection::run(&options),
        What::Revoke(options) => revoke::run(&options),
        What::Feed(options) => feed::run(&options),
        What::Bare { listen, certificates } => bare::serve(listen, &certificates),
        What::Forward { listen, upstream } => forward::run(listen, upstream),
    }
}
