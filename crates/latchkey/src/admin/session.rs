//! `latchkey session`.

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::json;

use super::api::Api;
use super::output::{Column, Output};
use super::user;
use super::user::segment;

const SESSIONS: &str = "/v1/admin/sessions";
const COLUMNS: [Column; 6] = [
    ("id", "id"),
    ("user", "username"),
    ("created", "created_at"),
    ("last active", "last_active_at"),
    ("address", "client_address"),
    ("browser", "user_agent"),
];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Live sessions, of everybody or of one user.
    List {
        /// Name or id.
        user: Option<String>,
    },
    Show {
        id: String,
    },
    /// End a session, or all of a user.
    Remove {
        id: Option<String>,
        /// Name or id: end all sessions of this user.
        #[arg(long, conflicts_with = "id")]
        user: Option<String>,
    },
}

pub async fn run(command: Command, api: &mut Api, output: &Output) -> Result<()> {
    match command {
        Command::List { user } => {
            let query: Vec<(&str, &str)> = user.iter().map(|user| ("subject", user.as_str())).collect();
            output.table(&api.list(SESSIONS, "sessions", &query).await?, &COLUMNS)
        }
        Command::Show { id } => {
            output.record(&api.get(&format!("{SESSIONS}/{}", segment(&id)), &[]).await?, &COLUMNS)
        }
        Command::Remove { id: Some(id), .. } => {
            api.delete(&format!("{SESSIONS}/{}", segment(&id))).await?;
            output.answer(&json!({ "id": id }), || format!("{id} is ended."))
        }
        Command::Remove { id: None, user: Some(user) } => {
            let ended = api.delete(&format!("{}/sessions", user::path(&user))).await?;
            output.answer(&ended, || format!("Every session of {user} is ended."))
        }
        Command::Remove { id: None, user: None } => bail!("which session? Give its id, or --user"),
    }
}
