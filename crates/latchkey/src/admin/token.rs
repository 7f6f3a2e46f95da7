//! `latchkey token`. To look into one needs no system; to end one does.

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::api::Api;
use super::output::Output;
use super::user::segment;
use crate::inspect;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show a token's header, and its claims where they can be read. Checks no signature.
    Inspect(inspect::Args),
    /// End one access token, or one login with all that was issued in it. `user revoke` and `client revoke` end everything.
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Revoke {
    /// The token's claim `jti`. Its login goes on, with a refresh token where it has one.
    jti: Option<String>,
    /// The claim `fam` of any token of the login (`fam_…`): its refresh tokens and all of its access tokens end.
    #[arg(long)]
    family: Option<String>,
}

pub async fn revoke(Revoke { jti, family }: Revoke, api: &mut Api, output: &Output) -> Result<()> {
    for (member, area, id) in [("jti", "tokens", jti), ("family", "families", family)] {
        let Some(id) = id else { continue };
        api.delete(&format!("/v1/admin/{area}/{}", segment(&id))).await?;
        output.answer(&json!({ member: id }), || format!("{id} is ended."))?;
    }
    Ok(())
}
