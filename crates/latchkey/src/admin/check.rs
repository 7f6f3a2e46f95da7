//! `latchkey check`: allowed is 0, denied is [`DENY`].

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::api::Api;
use super::grant::{Holder, Resource};
use super::output::Output;

/// Distinct from a failure (1) and from a mistake in the arguments (2), so that a script cannot take "could not ask"
/// for "no".
const DENY: u8 = 3;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    holder: Holder,
    /// `kind:action`, such as document:read.
    permission: String,
    /// On this resource, such as document/42.
    #[arg(value_name = "KIND/ID")]
    resource: Option<Resource>,
}

pub async fn run(args: Args, api: &mut Api, output: &Output) -> Result<ExitCode> {
    let mut body = json!({ "subject": args.holder.json(), "permission": args.permission });
    if let (Some(resource), Some(members)) = (&args.resource, body.as_object_mut()) {
        members.insert("resource".to_owned(), resource.json());
    }
    let answer = api.post("/v1/admin/check", body).await?;
    let allowed = answer.get("allowed").and_then(Value::as_bool) == Some(true);
    output.answer(&answer, || if allowed { "allow".to_owned() } else { "deny".to_owned() })?;
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::from(DENY) })
}
