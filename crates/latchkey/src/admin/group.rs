//! `latchkey group`.

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::grant::Kind;
use super::output::{Column, Output};
use super::user::segment;

const GROUPS: &str = "/v1/admin/groups";
const COLUMNS: [Column; 2] = [("name", "name"), ("members", "members")];

#[derive(Debug, Subcommand)]
pub enum Command {
    Add {
        name: String,
    },
    List,
    Show {
        name: String,
    },
    /// Add and remove members.
    Set {
        name: String,
        /// Name or id of a new member; may be repeated.
        #[arg(long, value_name = "SUBJECT")]
        add: Vec<String>,
        /// Name or id of a member to take out; may be repeated.
        #[arg(long, value_name = "SUBJECT")]
        remove: Vec<String>,
        #[command(flatten)]
        kind: Kind,
    },
    /// Remove a group, with its grants and memberships.
    Remove {
        name: String,
    },
}

pub async fn run(command: Command, api: &mut Api, output: &Output) -> Result<()> {
    match command {
        Command::Add { name } => {
            let group = api.post(GROUPS, json!({ "name": name })).await?;
            output.answer(&group, || format!("{name} is added."))
        }
        Command::List => output.table(&api.list(GROUPS, "groups", &[]).await?, &COLUMNS),
        Command::Show { name } => output.record(&find(api, &name).await?, &COLUMNS),
        Command::Set { name, add, remove, kind } => {
            if add.is_empty() && remove.is_empty() {
                bail!("nothing to set: use --add or --remove");
            }
            for member in &add {
                api.put(&member_path(&name, &kind, member), json!({})).await?;
            }
            for member in &remove {
                api.delete(&member_path(&name, &kind, member)).await?;
            }
            output.record(&find(api, &name).await?, &COLUMNS)
        }
        Command::Remove { name } => {
            api.delete(&format!("{GROUPS}/{}", segment(&name))).await?;
            output.answer(&json!({ "name": name }), || format!("{name} is removed."))
        }
    }
}

async fn find(api: &mut Api, name: &str) -> Result<Value> {
    let groups = api.list(GROUPS, "groups", &[]).await?;
    match groups.into_iter().find(|group| group.get("name").and_then(Value::as_str) == Some(name)) {
        Some(group) => Ok(group),
        None => bail!("there is no group {name}"),
    }
}

fn member_path(group: &str, kind: &Kind, member: &str) -> String {
    format!("{GROUPS}/{}/members/{}/{}", segment(group), kind.name(), segment(member))
}
