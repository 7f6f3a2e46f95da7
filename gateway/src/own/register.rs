//! `POST /v1/users`: an account of one's own, where registration is open.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Own;
use super::credential::same_site_or_no_browser;
use super::endpoint::Endpoint;
use super::json::Json;
use super::view::UserView;
use crate::layers::caller::Caller;
use crate::peers::{Asker, Concealed, NewUser};
use crate::problem::Problem;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/users", "Register", register).takes::<RegisterRequest>().answers::<UserView>(201),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RegisterRequest {
    username: String,
    password: String,
}

async fn register(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    method: Method,
    headers: HeaderMap,
    Json(request): Json<RegisterRequest>,
) -> Result<Response, Problem> {
    same_site_or_no_browser(&own, &method, &headers, &caller)?;
    let user = NewUser { username: request.username, password: Concealed::new(request.password) };
    let user = own.peers.auth.register(Asker::new(caller.request_id.as_str()), user, caller.address).await?;
    Ok((StatusCode::CREATED, Answer(UserView::from(&user))).into_response())
}
