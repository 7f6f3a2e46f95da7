//! `latchkey client`.

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::output::{Column, Output, line};
use super::user::segment;

const CLIENTS: &str = "/v1/admin/clients";
const COLUMNS: [Column; 6] = [
    ("name", "name"),
    ("id", "id"),
    ("status", "status"),
    ("audiences", "audiences"),
    ("scopes", "scopes"),
    ("created", "created_at"),
];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a client. Its secret is printed once.
    Add {
        name: String,
        /// An audience it may ask tokens for; may be repeated. The first is the default.
        #[arg(long, value_name = "NAME")]
        audience: Vec<String>,
        /// An OAuth scope it may ask for; may be repeated.
        #[arg(long, value_name = "NAME")]
        scope: Vec<String>,
    },
    List,
    Show {
        /// Name or id.
        client: String,
    },
    /// Disable or enable a client, or give it another secret.
    Set {
        /// Name or id.
        client: String,
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// Let the client get no more tokens.
        #[arg(long)]
        disable: bool,
        /// Replace the secret; the former one is dead at once. The new one is printed once.
        #[arg(long)]
        rotate_secret: bool,
    },
    /// End all tokens issued to a client; it may ask for more with its secret.
    Revoke {
        /// Name or id.
        client: String,
    },
    /// Remove a client, with all grants.
    Remove {
        /// Name or id.
        client: String,
    },
}

pub async fn run(command: Command, api: &mut Api, output: &Output) -> Result<()> {
    match command {
        Command::Add { name, audience, scope } => {
            let made =
                api.post(CLIENTS, json!({ "name": name, "audiences": audience, "scopes": scope })).await?;
            answer(output, &made, "added")
        }
        Command::List => output.table(&api.list(CLIENTS, "clients", &[]).await?, &COLUMNS),
        Command::Show { client } => output.record(&api.get(&path(&client), &[]).await?, &COLUMNS),
        Command::Set { client, enable, disable, rotate_secret } => {
            if !enable && !disable && !rotate_secret {
                bail!("nothing to set: use --enable, --disable or --rotate-secret");
            }
            let path = path(&client);
            let mut changed = Value::Null;
            if enable || disable {
                let status = if enable { "active" } else { "disabled" };
                changed = api.patch(&path, json!({ "status": status })).await?;
            }
            if rotate_secret {
                changed = api.post(&format!("{path}/secret"), json!({})).await?;
            }
            answer(output, &changed, "changed")
        }
        Command::Revoke { client } => {
            let found = api.get(&path(&client), &[]).await?;
            api.delete(&format!("{}/tokens", path(&client))).await?;
            output.answer(&found, || format!("Everything issued to {client} is ended."))
        }
        Command::Remove { client } => {
            let found = api.get(&path(&client), &[]).await?;
            api.delete(&path(&client)).await?;
            output.answer(&found, || format!("{client} is removed."))
        }
    }
}

fn path(client: &str) -> String {
    format!("{CLIENTS}/{}", segment(client))
}

fn answer(output: &Output, client: &Value, done: &str) -> Result<()> {
    if output.is_json() {
        return output.answer(client, String::new);
    }
    let member = |name: &str| client.get(name).and_then(Value::as_str);
    line(&format!("{} is {done}.", member("name").unwrap_or("The client")))?;
    line(&format!("Client id:  {}", member("id").unwrap_or("-")))?;
    match member("client_secret") {
        Some(secret) => line(&format!("Secret, shown this once:  {secret}")),
        None => Ok(()),
    }
}
