//! `latchkey key`.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::output::{Column, Output};
use super::user::segment;

const KEYS: &str = "/v1/admin/keys";
const COLUMNS: [Column; 4] =
    [("kid", "kid"), ("algorithm", "algorithm"), ("state", "state"), ("since, or until", "moment")];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Signing keys: announced, active, retiring and gone.
    List,
    /// Announce the next key now; it takes over once every verifier has had the time to see it.
    Rotate,
    /// End a key that somebody else may have. What it signed is refused: its holders log in, or refresh, again.
    Remove {
        /// One in 64 begins with a hyphen: it is base64url.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

pub async fn run(command: Command, api: &mut Api, output: &Output) -> Result<()> {
    match command {
        Command::List => {
            let answer = api.get(KEYS, &[]).await?;
            output.table(answer.get("keys").and_then(Value::as_array).map_or(&[], Vec::as_slice), &COLUMNS)
        }
        Command::Rotate => {
            let key = api.post(KEYS, json!({})).await?;
            let text = |member: &str| key.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
            output.answer(&key, || {
                format!("{} is announced; it signs from {} on.", text("kid"), text("signs_from"))
            })
        }
        Command::Remove { kid } => {
            api.delete(&format!("{KEYS}/{}", segment(&kid))).await?;
            output.answer(&json!({ "kid": kid }), || format!("{kid} is ended."))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    #[test]
    fn a_kid_may_begin_with_a_hyphen() {
        for kid in ["-1gaYv223RPE4viQVgndTkPmWIb6WUrVecaMJupxT04", "-jhQ", "--2x", "1ga"] {
            let parsed = Cli::try_parse_from(["latchkey", "key", "remove", kid, "--json"]).unwrap();
            let parsed = format!("{parsed:?}");
            assert!(parsed.contains(&format!("Remove {{ kid: {kid:?} }}")), "{parsed}");
            assert!(parsed.contains("json: true"), "{parsed}");
        }
    }
}
