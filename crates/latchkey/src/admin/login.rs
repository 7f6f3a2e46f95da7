//! `latchkey login`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

use super::api::{LoginAnswer, http, password_login};
use super::output::Output;
use super::target::Logins;
use super::{Access, input};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who logs in.
    #[arg(long, default_value = "admin", value_name = "NAME")]
    username: String,
    /// A file whose first line is the password; `-` for standard input. Without it, it is typed.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The gateway's public URL, where logins go. Without it, the internal one is asked.
    #[arg(long, value_name = "URL")]
    public: Option<String>,
}

pub async fn run(args: Args, access: &Access) -> Result<ExitCode> {
    let server = access.server.as_ref().context("which system? Name its internal URL with --server")?;
    let logins = Logins::of(server)?;
    let public = args.public.as_deref().unwrap_or(&logins.server).trim_end_matches('/');
    let password = input::from_file_or_typed(args.password_file.as_ref(), false)?;
    let token = match password_login(&http()?, public, &args.username, &password).await? {
        LoginAnswer::Token(token) => token,
        LoginAnswer::Refused { code, error } if code == "not_found" && args.public.is_none() => {
            return Err(
                error.context("this listener takes no logins: name the gateway's public URL with --public")
            );
        }
        LoginAnswer::Refused { error, .. } => return Err(error),
    };
    logins.keep(&token)?;
    let answer = json!({ "server": logins.server, "kept_in": logins.file });
    Output::new(access.json).answer(&answer, || {
        format!(
            "{} is logged in to {}; the token is kept in {}.",
            args.username,
            logins.server,
            logins.file.display()
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
