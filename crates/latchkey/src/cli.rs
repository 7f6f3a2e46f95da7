//! The command line as a user sees it, and which room each command leads to.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::admin::{self, Access};
use crate::certificates::{CertificateFolder, LOCAL_DOMAIN, ServiceName};
use crate::{bootstrap, demo, migrate, serve, up};

/// Authentication and authorization for teams that run services.
///
/// `latchkey up` starts everything on this machine. The other commands administer a running system: the one under
/// --state-dir, or the one that `latchkey login` was told.
#[derive(Debug, Parser)]
#[command(name = "latchkey", version, max_term_width = 110)]
pub struct Cli {
    /// The state directory of a local stack.
    #[arg(long, global = true, value_name = "DIR", default_value = ".latchkey", env = "LATCHKEY_STATE_DIR")]
    state_dir: PathBuf,
    /// The gateway's internal URL, instead of the local stack's or the one of `latchkey login`.
    #[arg(long, global = true, value_name = "URL", env = "LATCHKEY_SERVER")]
    server: Option<String>,
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole system on this machine.
    Up(up::Args),
    /// Show both ways of scaling on this machine: tokens, and sessions in each store, with 1, 2 and 4 replicas.
    Demo(demo::Args),
    /// Run one service as this process.
    Serve(serve::Args),
    /// Bring a service's schema up to this version, before its replicas start.
    Migrate(migrate::Args),
    /// Make the first administrator of a new system, over gRPC with the operator's certificate.
    Bootstrap(bootstrap::command::Args),
    /// Administration through the gateway's internal listener.
    #[command(flatten)]
    Administration(admin::Command),
    /// The effective configuration of a service.
    #[command(subcommand)]
    Config(serve::ConfigCommand),
    /// Certificates for the processes of a system.
    #[command(subcommand)]
    Certificates(Certificates),
}

#[derive(Debug, Subcommand)]
enum Certificates {
    /// Make an authority and a certificate for each service and the operator. For development: a production system has its
    /// own authority.
    Dev {
        dir: PathBuf,
        /// The trust domain in spiffe://<domain>/latchkey/<name>.
        #[arg(long, default_value = LOCAL_DOMAIN)]
        domain: String,
        /// Also a certificate for a service that is not ours, under this name; may be repeated. What it may call is said in
        /// `access.services` of auth-service and policy-service.
        #[arg(long, value_name = "NAME")]
        service: Vec<ServiceName>,
        /// A further DNS name or address for every certificate; may be repeated.
        #[arg(long, value_name = "HOST")]
        host: Vec<String>,
    },
}

pub fn run(cli: Cli) -> ExitCode {
    // Services do it as part of starting. The rest speaks TLS and handles passwords too, and the children of `up` inherit
    // that nothing dumps core.
    chassis::process::prepare();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            chassis::process::say(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    let access = Access { state_dir: cli.state_dir.clone(), server: cli.server, json: cli.json };
    match cli.command {
        Command::Up(args) => single_threaded()?.block_on(up::run(args, cli.state_dir)),
        Command::Demo(args) => single_threaded()?.block_on(demo::run(args)),
        Command::Serve(args) => serve::run(args),
        Command::Migrate(args) => single_threaded()?.block_on(migrate::run(args)),
        Command::Bootstrap(args) => single_threaded()?.block_on(bootstrap::command::run(args)),
        Command::Administration(command) => single_threaded()?.block_on(admin::run(command, access)),
        Command::Config(command) => serve::config(command),
        Command::Certificates(Certificates::Dev { dir, domain, service, host }) => {
            CertificateFolder::new(&dir).complete(&domain, &service, &host, now())?;
            println!("{}", dir.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn now() -> time::OffsetDateTime {
    use chassis::clock::{Clock, SystemClock};
    SystemClock.now()
}

fn single_threaded() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime can be made")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }
}
