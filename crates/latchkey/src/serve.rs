//! `latchkey serve`: one service as this process. Each service crate has its own small binary too; they share `run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::admin::line;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// End when standard input closes: how the processes of `latchkey up` end with it, whatever it dies of.
    #[arg(long, hide = true)]
    with_parent: bool,
    #[command(subcommand)]
    service: Service,
}

#[derive(Debug, clap::Subcommand)]
enum Service {
    /// Users, clients, credentials, tokens.
    Auth(auth_service::Args),
    /// Sessions.
    Session(session_service::Args),
    /// Roles, grants, groups, decisions.
    Policy(policy_service::Args),
    /// Routes, HTTP contracts and the reverse proxy.
    Gateway(gateway::Args),
    /// The application behind the gateway of a local stack: answers what it was sent.
    #[command(hide = true)]
    Echo {
        #[arg(long)]
        listen: SocketAddr,
        /// The name it answers with.
        #[arg(long)]
        replica: String,
    },
}

#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Print what a service would run with: its defaults, the file and the environment joined.
    Print {
        service: Named,
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Say what is wrong with a configuration, all of it at once.
    Check {
        service: Named,
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Named {
    Auth,
    Session,
    Policy,
    Gateway,
}

/// `latchkey config`: opens nothing, like `serve … --check-config`, and needs no certificate or key to be there.
pub fn config(command: ConfigCommand) -> Result<ExitCode> {
    let (service, file, print) = match command {
        ConfigCommand::Print { service, config } => (service, config, true),
        ConfigCommand::Check { service, config } => (service, config, false),
    };
    let file = file.as_deref();
    let effective = match service {
        Named::Auth => auth_service::config_from(file)?.print(),
        Named::Session => session_service::config_from(file)?.print(),
        Named::Policy => policy_service::config_from(file)?.print(),
        Named::Gateway => gateway::config_from(file)?.print(),
    };
    if print {
        line(effective.trim_end())?;
    } else {
        line("Nothing is wrong with it.")?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn run(args: Args) -> Result<ExitCode> {
    if args.with_parent {
        leave_with_parent()?;
    }
    match args.service {
        Service::Auth(args) => Ok(auth_service::run(args)),
        Service::Session(args) => Ok(session_service::run(args)),
        Service::Policy(args) => Ok(policy_service::run(args)),
        Service::Gateway(args) => Ok(gateway::run(args)),
        Service::Echo { listen, replica } => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(crate::echo::run(listen, replica))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Ends this process when standard input closes. The other end is a pipe that the parent holds and never writes to; the
/// kernel closes it when the parent dies, also of SIGKILL.
pub fn leave_with_parent() -> Result<()> {
    let wait = || {
        // Reads to the end; retries when a signal interrupts.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        chassis::process::say("the process that started this one is gone");
        std::process::exit(1);
    };
    std::thread::Builder::new().name("parent".into()).spawn(wait).context("no thread to watch the parent")?;
    Ok(())
}
