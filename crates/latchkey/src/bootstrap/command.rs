//! `latchkey bootstrap` on the command line: a job that runs once in a new system.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::{BootstrapError, Neighbours, PasswordSource, Request, run as bootstrap};
use crate::certificates::{CertificateFolder, LOCAL_DOMAIN};

/// What a job's script can tell from a failure: there is nothing left to do.
const EXISTS: u8 = 3;

/// Exits with 0 when the administrator was made, with 3 when there is one already (with --if-none: 0), with 1 when it could
/// not be done.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// gRPC URL of auth-service; may be repeated, once for each replica.
    #[arg(long, value_name = "URL", required = true)]
    auth: Vec<String>,
    /// gRPC URL of policy-service; may be repeated.
    #[arg(long, value_name = "URL", required = true)]
    policy: Vec<String>,
    /// Folder with operator.crt, operator.key and ca.crt.
    #[arg(long, value_name = "DIR")]
    certificates: PathBuf,
    /// The trust domain in spiffe://<domain>/latchkey/<name>.
    #[arg(long, default_value = LOCAL_DOMAIN)]
    domain: String,
    #[arg(long, default_value = "admin", value_name = "NAME")]
    username: String,
    #[command(flatten)]
    password: Password,
    /// Do not demand that the password is changed at the first login.
    #[arg(long)]
    keep_password: bool,
    /// Change nothing and succeed where an administrator exists: for a job that runs at every start.
    #[arg(long)]
    if_none: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Password {
    /// A file whose first line is the password; not readable by others.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Make a password up and write it to this file, mode 0600.
    #[arg(long, value_name = "FILE")]
    generate: Option<PathBuf>,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let folder = CertificateFolder::new(&args.certificates);
    let neighbours = Neighbours {
        auth: args.auth,
        policy: args.policy,
        certificate: folder.certificate("operator"),
        key: folder.key("operator"),
        authority: folder.authority(),
        domain: args.domain,
    };
    let password = match (args.password.password_file, args.password.generate) {
        (Some(path), _) => PasswordSource::File(path),
        (None, path) => PasswordSource::GeneratedInto(path.unwrap_or_else(|| "admin-password".into())),
    };
    let request =
        Request { username: args.username.clone(), password, must_change_password: !args.keep_password };
    match bootstrap(&neighbours, &request).await {
        Ok(made) => {
            println!("{} ({}) is an administrator.", args.username, made.id);
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ BootstrapError::AdministratorExists) => {
            eprintln!("{error}");
            Ok(if args.if_none { ExitCode::SUCCESS } else { ExitCode::from(EXISTS) })
        }
        Err(error) => Err(error.into()),
    }
}
