//! `/v1/admin/keys`: what access tokens are signed with. Only names and states; the public halves are at
//! `/.well-known/jwks.json`.

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::access::{Admin, Area, Keys};
use crate::own::Own;
use crate::own::endpoint::{Endpoint, Needs};
use crate::own::json::NoBody;
use crate::own::view::Path;
use crate::peers::{KeyState, SigningKey};
use crate::problem::Problem;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let needs = Needs::Permission(Keys::PERMISSION);
    vec![
        Endpoint::get("/v1/admin/keys", "List signing keys", list).needs(needs).answers::<KeyList>(200),
        Endpoint::post("/v1/admin/keys", "Announce the next signing key, which then takes over", rotate)
            .needs(needs)
            .answers::<Rotated>(200),
        Endpoint::delete("/v1/admin/keys/{kid}", "End a signing key that others may have", revoke)
            .needs(needs)
            .acknowledges(),
    ]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StateView {
    Announced,
    Active,
    Retiring,
    Gone,
}

#[derive(Serialize, ToSchema)]
struct KeyRecord {
    kid: String,
    /// ES256, EdDSA, RS256 or PS256.
    algorithm: String,
    #[schema(inline)]
    state: StateView,
    /// Since when; for one that retires, until when what it signed is believed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String)]
    moment: OffsetDateTime,
}

impl From<SigningKey> for KeyRecord {
    fn from(key: SigningKey) -> Self {
        let SigningKey { kid, algorithm, state, moment } = key;
        let state = match state {
            KeyState::Announced => StateView::Announced,
            KeyState::Active => StateView::Active,
            KeyState::Retiring => StateView::Retiring,
            KeyState::Gone => StateView::Gone,
        };
        Self { kid, algorithm, state, moment }
    }
}

#[derive(Serialize, ToSchema)]
struct KeyList {
    #[schema(inline)]
    keys: Vec<KeyRecord>,
}

#[derive(Serialize, ToSchema)]
struct Rotated {
    #[serde(flatten)]
    #[schema(inline)]
    key: KeyRecord,
    /// The earliest moment at which it signs: every verifier has seen it by then.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String)]
    signs_from: OffsetDateTime,
}

async fn list(State(own): State<Own>, admin: Admin<Keys>) -> Result<Answer<KeyList>, Problem> {
    let keys = own.peers.auth.signing_keys(admin.asker()).await?;
    Ok(Answer(KeyList { keys: keys.into_iter().map(KeyRecord::from).collect() }))
}

async fn rotate(State(own): State<Own>, admin: Admin<Keys>, _: NoBody) -> Result<Answer<Rotated>, Problem> {
    let (key, signs_from) = own.peers.auth.rotate_key(admin.asker()).await?;
    Ok(Answer(Rotated { key: key.into(), signs_from }))
}

async fn revoke(
    State(own): State<Own>,
    admin: Admin<Keys>,
    Path(kid): Path<String>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    own.peers.auth.revoke_key(admin.asker(), &kid).await?;
    Ok(StatusCode::NO_CONTENT)
}
