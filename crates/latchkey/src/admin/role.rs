//! `latchkey role`.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::output::{Column, Output};
use super::user::segment;

const ROLES: &str = "/v1/admin/roles";
const COLUMNS: [Column; 3] = [("name", "name"), ("permissions", "permissions"), ("built in", "built_in")];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a role; one that exists gets these permissions instead.
    #[command(visible_alias = "set")]
    Add {
        name: String,
        /// `kind:action` or `kind:*`, such as document:read.
        permissions: Vec<String>,
    },
    List,
    Show {
        name: String,
    },
    /// Remove a role, with all its grants.
    Remove {
        name: String,
    },
}

pub async fn run(command: Command, api: &mut Api, output: &Output) -> Result<()> {
    match command {
        Command::Add { name, permissions } => {
            let role = api.put(&path(&name), json!({ "permissions": permissions })).await?;
            output.answer(&role, || match permissions.as_slice() {
                [] => format!("{name} has no permissions of its own."),
                some => format!("{name} may {}.", some.join(" ")),
            })
        }
        Command::List => output.table(&api.list(ROLES, "roles", &[]).await?, &COLUMNS),
        Command::Show { name } => output.record(&api.get(&path(&name), &[]).await?, &COLUMNS),
        Command::Remove { name } => {
            api.delete(&path(&name)).await?;
            let removed: Value = json!({ "name": name });
            output.answer(&removed, || format!("{name} is removed, with its grants."))
        }
    }
}

fn path(name: &str) -> String {
    format!("{ROLES}/{}", segment(name))
}
