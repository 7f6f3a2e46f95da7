//! `/v1/admin/tokens` and `/v1/admin/families`: one access token, and one login by token, ended by the id that it carries. There is
//! nothing to list: tokens are kept nowhere.

use axum::extract::State;
use http::StatusCode;

use super::access::{Admin, Area, Tokens};
use crate::own::Own;
use crate::own::endpoint::{Endpoint, Needs};
use crate::own::json::NoBody;
use crate::own::view::Path;
use crate::problem::Problem;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let needs = Needs::Permission(Tokens::PERMISSION);
    vec![
        Endpoint::delete(
            "/v1/admin/tokens/{jti}",
            "End one access token, known or not, by its claim `jti`; its login goes on",
            end_token,
        )
        .needs(needs)
        .acknowledges(),
        Endpoint::delete(
            "/v1/admin/families/{family}",
            "End one login by token, by the claim `fam` of its access tokens: these, and its refresh tokens",
            end_family,
        )
        .needs(needs)
        .acknowledges(),
    ]
}

async fn end_token(
    State(own): State<Own>,
    admin: Admin<Tokens>,
    Path(jti): Path<String>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    own.peers.auth.revoke_token(admin.asker(), &jti).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_family(
    State(own): State<Own>,
    admin: Admin<Tokens>,
    Path(family): Path<String>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    own.peers.auth.revoke_family(admin.asker(), &family).await?;
    Ok(StatusCode::NO_CONTENT)
}
