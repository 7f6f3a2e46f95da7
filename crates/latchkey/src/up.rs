//! `latchkey up`: the whole system on this machine, every service as a process of its own, with nothing to install.
//!
//! Everything is prepared, then all processes start at once, then the administrator is made, then `stack.json` is written: it
//! exists only while everything runs. Whatever fails before leaves nothing running.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use chassis::clock::{Clock, SystemClock};
use chassis::entropy::SystemEntropy;
use chassis::process::say;

use crate::certificates::LOCAL_DOMAIN;
use crate::signals::Stop;
use crate::{bootstrap, migrate, private_file};

pub mod addresses;
mod administrator;
mod config;
mod files;
pub mod layout;
mod process;
mod replicas;
pub mod stack_file;
mod stores;
mod supervise;
mod welcome;

use addresses::{Addresses, loopback};
use administrator::Standing;
use layout::Layout;
use process::{Probe, Process};
use replicas::Replicas;
use stack_file::{Administrator, StackFile};
use stores::Stores;
use supervise::{Members, Rank, Restarts};

/// The first administrator of a local stack.
const ADMIN: &str = "admin";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Port of the first gateway; its internal listener takes the next one. 0: any free ports.
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    port: u16,
    /// Where the ports of everything else, and the gateway's if --port is 0, are looked for: the first free ones from here
    /// on, which are then remembered. Without it: somewhere from 15000 to 30000.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    ports_from: Option<u16>,
    /// How many of each service and of the gateway: a number, or a list such as auth=2,session=2,policy=2,gateway=3.
    #[arg(long, default_value = "1", value_name = "N")]
    replicas: Replicas,
    /// Where users, tokens, roles, and sessions unless said otherwise, are kept: sqlite (files in the state directory), or
    /// postgres://ROLE@HOST/DATABASE, in which each service has a schema of its own.
    #[arg(
        long,
        default_value = "sqlite",
        value_name = "URL",
        env = "LATCHKEY_DATABASE",
        hide_env_values = true
    )]
    database: String,
    /// Where sessions are kept: sqlite, memory, postgres://ROLE@HOST/DATABASE, or redis://HOST:PORT/DB (rediss:// for TLS).
    /// Without it: where --database says.
    #[arg(long, value_name = "URL", env = "LATCHKEY_SESSIONS", hide_env_values = true)]
    sessions: Option<String>,
}

/// Runs until told to stop.
pub async fn run(args: Args, state_dir: PathBuf) -> Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let layout = Layout::at(&state_dir)?;
    layout.create()?;
    let _lock = layout.lock()?;
    // Left by a stack that was killed.
    StackFile::remove(&layout.stack_file())?;
    let stores = Stores::choose(&layout, &args.database, args.sessions.as_deref(), &args.replicas)?;
    let addresses = prepare(&layout, &args, &stores)?;
    migrate(&layout).await?;

    let program = std::env::current_exe().context("this program's own path is unknown")?;
    let mut members = Members::new(program);
    let started = tokio::select! {
        started = start(&mut members, &layout, &addresses) => started.map(Some),
        () = stop.told() => Ok(None),
    };
    let outcome = match started {
        Ok(Some((stack, standing))) => {
            println!("{}", welcome::text(&stack, &layout, standing));
            let restarts = Notices { stack: RefCell::new(stack), layout: &layout };
            tokio::select! {
                () = members.keep(&restarts) => Ok(()),
                () = stop.told() => {
                    say("Stopping: open requests are finished first. Ctrl-C again to stop at once.");
                    Ok(())
                }
            }
        }
        Ok(None) => Err(anyhow!("stopped before everything was ready")),
        Err(error) => Err(error),
    };
    let removed = StackFile::remove(&layout.stack_file());
    for (name, how) in members.stop(&mut stop).await {
        let log = layout.log_file(&name);
        say(format_args!("{name} did not stop well ({how}): see {}", log.display()));
    }
    outcome.and(removed)?;
    Ok(ExitCode::SUCCESS)
}

/// Everything that is needed before a process can start. Nothing runs yet.
fn prepare(layout: &Layout, args: &Args, stores: &Stores) -> Result<Addresses> {
    let before = addresses::remembered(&layout.addresses_file())?;
    let from = args.ports_from.unwrap_or_else(|| addresses::block_of(std::process::id()));
    let addresses = addresses::choose(args.port, &args.replicas, before.as_ref(), from)?;
    layout.certificates().complete(LOCAL_DOMAIN, &[], &[], SystemClock.now())?;
    files::complete_secrets(layout, &SystemEntropy)?;
    files::write_routes(layout, before.as_ref(), &addresses)?;
    for (service, replica, _) in processes(&addresses) {
        let config = config::of(service, replica, layout, &addresses, stores);
        files::write_config(layout, service, &format!("{service}-{replica}"), config)?;
    }
    if before.as_ref() != Some(&addresses) {
        addresses.remember(&layout.addresses_file())?;
    }
    Ok(addresses)
}

/// Every process of ours: its service, which replica it is, and its operations port.
fn processes(addresses: &Addresses) -> Vec<(&'static str, usize, u16)> {
    let backing = ["auth", "session", "policy"].into_iter().flat_map(|service| {
        let replicas = addresses.of(service).iter().enumerate();
        replicas.map(move |(replica, listens)| (service, replica, listens.operations))
    });
    let gateways = addresses.gateways.iter().enumerate();
    backing.chain(gateways.map(|(replica, listens)| ("gateway", replica, listens.operations))).collect()
}

/// Brings shared schemas up to this version: here nobody else does.
async fn migrate(layout: &Layout) -> Result<()> {
    for service in migrate::Service::ALL {
        let file = layout.config_file(&format!("{}-0", service.name()));
        service.migrate_shared(&file).await?;
    }
    Ok(())
}

async fn start(
    members: &mut Members,
    layout: &Layout,
    addresses: &Addresses,
) -> Result<(StackFile, Standing)> {
    let mut operations = BTreeMap::new();
    for (service, replica, port) in processes(addresses) {
        let name = format!("{service}-{replica}");
        let rank = if service == "gateway" { Rank::Gateway } else { Rank::Service };
        operations.insert(name.clone(), format!("http://{}", loopback(port)));
        let config = layout.config_file(&name).to_string_lossy().into_owned();
        let arguments = ["serve", "--with-parent", service, "--config", &config].map(str::to_owned).to_vec();
        let log = layout.log_file(&name);
        members.start(rank, Process { name, arguments, probe: Probe::Readyz(loopback(port)), log })?;
    }
    for (replica, port) in addresses.echo.into_iter().enumerate() {
        let name = format!("echo-{replica}");
        let listen = loopback(port).to_string();
        let arguments = ["serve", "--with-parent", "echo", "--listen", &listen, "--replica", &name];
        let arguments = arguments.map(str::to_owned).to_vec();
        let log = layout.log_file(&name);
        members.start(
            Rank::Application,
            Process { name, arguments, probe: Probe::Accepts(loopback(port)), log },
        )?;
    }

    let certificates = layout.certificates();
    let password_file = layout.admin_password_file();
    let first_administrator = async {
        let asked = bootstrap::Request {
            username: ADMIN.to_owned(),
            password: bootstrap::PasswordSource::GeneratedInto(password_file.clone()),
            // On one's own machine the file is as good a place as any.
            must_change_password: false,
        };
        let neighbours = bootstrap::Neighbours {
            auth: grpc_urls(&addresses.auth),
            policy: grpc_urls(&addresses.policy),
            certificate: certificates.certificate("operator"),
            key: certificates.key("operator"),
            authority: certificates.authority(),
            domain: LOCAL_DOMAIN.to_owned(),
        };
        match bootstrap::run(&neighbours, &asked).await {
            // A token kept for an earlier one is worth nothing now.
            Ok(_) => {
                private_file::remove(&layout.admin_token_file())?;
                Ok(Some(Standing::PasswordInFile))
            }
            Err(bootstrap::BootstrapError::AdministratorExists) => Ok(None),
            // The stack serves everybody else. Whose account that is, only its operator can tell.
            Err(bootstrap::BootstrapError::UsernameTaken(name)) => {
                let bootstrap = welcome::bootstrap_command(&neighbours, layout);
                say(format_args!(
                    "THIS SYSTEM HAS NO ADMINISTRATOR: nobody holds latchkey-admin, and {name} is somebody's account, \
                     which is left alone. Make an administrator under another name:\n  {bootstrap}"
                ));
                Ok(Some(Standing::Nobody))
            }
            Err(error) => Err(error).context("the first administrator cannot be made"),
        }
    };
    let known = members.ready(&["auth-0", "policy-0"], first_administrator).await?;

    let services = ["auth", "session", "policy"];
    let stack = StackFile {
        gateways: addresses.public_urls(),
        internal: addresses.internal_urls(),
        services: services
            .map(|service| (service.to_owned(), grpc_urls(addresses.of(service))))
            .into_iter()
            .collect(),
        operations,
        pids: members.pids().collect(),
        echo: addresses.echo_urls(),
        admin: Administrator { username: ADMIN.to_owned(), password_file },
    };
    let standing = match known {
        Some(standing) => standing,
        None => administrator::standing(&stack, layout).await,
    };
    stack.write(&layout.stack_file())?;
    Ok((stack, standing))
}

fn grpc_urls(replicas: &[addresses::Service]) -> Vec<String> {
    replicas.iter().map(|replica| format!("https://{}", loopback(replica.grpc))).collect()
}

/// Tells the terminal and `stack.json` what happens to the processes.
struct Notices<'a> {
    stack: RefCell<StackFile>,
    layout: &'a Layout,
}

impl Restarts for Notices<'_> {
    fn died(&self, name: &str, how: &str, again_in: Duration) {
        let log = self.layout.log_file(name);
        say(format_args!(
            "{name} ended ({how}) and starts again in {}: see {}",
            humantime::format_duration(again_in),
            log.display()
        ));
    }

    fn replaced(&self, name: &str, pid: u32) {
        say(format_args!("{name} is ready again"));
        let mut stack = self.stack.borrow_mut();
        stack.pids.insert(name.to_owned(), pid);
        // The stack works; that its new number cannot be written (a full disk) is no reason to stop it.
        if let Err(error) = stack.write(&self.layout.stack_file()) {
            say(format_args!("{error:#}"));
        }
    }
}
