//! Administration from a shell: nouns and verbs, over HTTP to the gateway's internal listener, as any script could do it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

pub mod api;
mod check;
mod client;
mod grant;
mod group;
mod input;
mod key;
mod login;
mod output;
mod role;
mod session;
mod status;
mod target;
mod token;
mod user;

use output::Output;
pub use output::line;
use target::Target;

use crate::inspect;

/// Which system, and how to answer.
#[derive(Debug)]
pub struct Access {
    pub state_dir: PathBuf,
    pub server: Option<String>,
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// People.
    #[command(subcommand)]
    User(user::Command),
    /// Applications that authenticate as themselves.
    #[command(subcommand)]
    Client(client::Command),
    /// Named sets of permissions.
    #[command(subcommand)]
    Role(role::Command),
    /// Roles given to users, clients and groups.
    #[command(subcommand)]
    Grant(grant::Command),
    /// Named sets of users, clients and groups.
    #[command(subcommand)]
    Group(group::Command),
    /// Logged-in browsers.
    #[command(subcommand)]
    Session(session::Command),
    /// Look into an access token, or end one, or the login that it came from.
    #[command(subcommand)]
    Token(token::Command),
    /// What tokens are signed with.
    #[command(subcommand)]
    Key(key::Command),
    /// Ask whether somebody may do something. Exits with 0 for allow, with 3 for deny.
    Check(check::Args),
    /// Log in to a system elsewhere; the token is kept in a file that only you can read.
    Login(login::Args),
    /// Which processes of the local stack run and are ready.
    Status,
}

pub async fn run(command: Command, access: Access) -> Result<ExitCode> {
    let output = Output::new(access.json);
    match command {
        Command::Login(args) => return login::run(args, &access).await,
        Command::Status => return status::run(&access, &output).await,
        Command::Token(token::Command::Inspect(args)) => return inspect::run(args, access.json),
        _ => {}
    }
    let mut api = Target::find(&access)?.connect()?;
    match command {
        Command::User(command) => user::run(command, &mut api, &output).await?,
        Command::Client(command) => client::run(command, &mut api, &output).await?,
        Command::Role(command) => role::run(command, &mut api, &output).await?,
        Command::Grant(command) => grant::run(command, &mut api, &output).await?,
        Command::Group(command) => group::run(command, &mut api, &output).await?,
        Command::Session(command) => session::run(command, &mut api, &output).await?,
        Command::Token(token::Command::Revoke(args)) => token::revoke(args, &mut api, &output).await?,
        Command::Key(command) => key::run(command, &mut api, &output).await?,
        Command::Check(args) => return check::run(args, &mut api, &output).await,
        Command::Login(_) | Command::Status | Command::Token(token::Command::Inspect(_)) => {}
    }
    Ok(ExitCode::SUCCESS)
}
