//! `latchkey migrate`: brings a service's schema up to this version, before its replicas start. They themselves only look,
//! and wait: of many that start at once none changes a table under the others.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use chassis::config::ConfigError;

use crate::admin::line;

#[derive(Debug, clap::Args)]
pub struct Args {
    service: Service,
    /// The service's configuration file, of which `[store]` matters. Without it: the defaults and the environment.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The services that keep rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Service {
    Auth,
    Session,
    Policy,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let name = args.service.name();
    match args.service.migrate(args.config.as_deref()).await? {
        None => {
            line(&format!("{name} keeps its rows where each start migrates them: there is nothing to do."))?
        }
        Some(applied) if applied.is_empty() => line(&format!("{name} is up to date."))?,
        Some(applied) => line(&format!("{name} has applied: {}.", applied.join(", ")))?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Service {
    pub const ALL: [Service; 3] = [Service::Auth, Service::Session, Service::Policy];

    pub fn name(self) -> &'static str {
        match self {
            Service::Auth => "auth",
            Service::Session => "session",
            Service::Policy => "policy",
        }
    }

    /// As [`run`] does, in silence. What is wrong with the configuration is for the service itself to say.
    pub async fn migrate_shared(self, config: &Path) -> Result<()> {
        match self.migrate(Some(config)).await {
            Err(error) if error.is::<ConfigError>() => Ok(()),
            migrated => migrated
                .map(drop)
                .with_context(|| format!("{} cannot bring its schema up to date", self.name())),
        }
    }

    /// `None`: its store is none that is migrated from outside.
    async fn migrate(self, config: Option<&Path>) -> Result<Option<Vec<String>>> {
        Ok(match self {
            Service::Auth => auth_service::migrate(&auth_service::config_from(config)?.config).await?,
            Service::Session => {
                session_service::migrate(&session_service::config_from(config)?.config).await?
            }
            Service::Policy => policy_service::migrate(&policy_service::config_from(config)?.config).await?,
        })
    }
}
