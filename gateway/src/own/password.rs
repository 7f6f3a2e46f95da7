//! `POST /v1/password`: a new password for whoever knows the present one (P07), and the end of everything that the
//! old one had opened.
//!
//! Two services are involved: auth-service changes the password and ends the refresh families, session-service
//! ends the sessions. It is acknowledged when both have. When the second cannot be asked the answer is 503 and says
//! what is true: the password has changed, so the caller repeats the request with the new one as the present one.

use axum::Extension;
use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::HeaderMap;
use http::request::Parts;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Own;
use super::credential::{By, Who, same_site_or_no_browser};
use super::endpoint::{Endpoint, Needs};
use super::json::Json;
use super::login::{Deliver, Form, LoginAnswer, Mode, finish};
use crate::layers::caller::Caller;
use crate::peers::{Asker, Concealed, Failure, Key, LoggedIn, PasswordChange};
use crate::problem::{Problem, catalogue};

const CHANGED: &str = "The password has been changed, but what the old one had opened may not all have ended. \
    Repeat this with the new password as `current_password` as well, \
    and with `identifier` where the credential holds no longer.";

const UNKNOWN: &str = "It is not known whether the password has been changed. \
    Repeat this; where the present password is refused, it has been: \
    repeat it with the new one as `current_password` as well.";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(
            "/v1/password",
            "Change one's password; logs in anew and ends all other sessions",
            change,
        )
        .needs(Needs::Nothing)
        .takes::<PasswordRequest>()
        .answers::<LoginAnswer>(200),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordRequest {
    current_password: String,
    new_password: String,
    /// Instead of a credential: for an account whose password must be changed before the first login.
    #[serde(default)]
    identifier: Option<String>,
    /// With `identifier` only; as for a login.
    #[serde(default)]
    #[schema(inline)]
    mode: Option<Mode>,
    /// With `identifier` and `mode` `token` only.
    #[serde(default)]
    #[schema(inline)]
    deliver: Option<Deliver>,
}

async fn change(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    mut parts: Parts,
    Json(request): Json<PasswordRequest>,
) -> Result<Response, Problem> {
    same_site_or_no_browser(&own, &parts.method, &parts.headers, &caller)?;
    let (identifier, form) = match request.identifier {
        Some(identifier) => (identifier, Form::parse(request.mode, request.deliver)?),
        None => {
            if request.mode.is_some() || request.deliver.is_some() {
                return Err(Problem::new(catalogue::REQUEST_INVALID)
                    .detail("`mode` and `deliver` go with `identifier`: otherwise they stay as they are"));
            }
            let who = Who::from_request_parts(&mut parts, &own).await?;
            who.user()?;
            let form = match &who.by {
                By::Session { .. } => Form::Session,
                By::Token { cookie: true, .. } => Form::Tokens(Deliver::Cookie),
                By::Token { cookie: false, .. } => Form::Tokens(Deliver::Body),
            };
            (who.name, form)
        }
    };
    let change = PasswordChange {
        identifier: identifier.clone(),
        current: Concealed::new(request.current_password),
        new: Concealed::new(request.new_password),
        mode: form.mode(),
        client_address: caller.address,
    };
    let asker = Asker::new(caller.request_id.as_str());
    let logged_in = match own.peers.auth.change_password(asker, change).await {
        Ok(logged_in) => logged_in,
        Err(failure @ Failure::Refused(_)) => return Err(failure.into()),
        // The answer may have been lost on its way.
        Err(failure @ Failure::Unavailable(_)) => return Err(Problem::from(failure).detail(UNKNOWN)),
        Err(failure @ Failure::NotEverywhere { .. }) => {
            end_sessions(&own, &caller, identifier).await.map_err(|problem| problem.detail(CHANGED))?;
            return Err(Problem::from(failure).detail(CHANGED));
        }
    };
    follow_up(&own, &caller, &parts.headers, form, logged_in).await.map_err(|problem| problem.detail(CHANGED))
}

/// Nobody is logged in anew, but no session of the former password stays.
async fn end_sessions(own: &Own, caller: &Caller, name: String) -> Result<(), Problem> {
    let asker = Asker::new(caller.request_id.as_str());
    let user = own.peers.auth.user(asker, Key::Name(name)).await?;
    let asker = Asker::acting(caller.request_id.as_str(), &user.id);
    own.peers.sessions.end_subject(asker, &user.id).await?;
    Ok(())
}

/// What is left to do once the password has changed.
async fn follow_up(
    own: &Own,
    caller: &Caller,
    headers: &HeaderMap,
    form: Form,
    logged_in: LoggedIn,
) -> Result<Response, Problem> {
    let asker = Asker::acting(caller.request_id.as_str(), &logged_in.user.id);
    own.peers.sessions.end_subject(asker, &logged_in.user.id).await?;
    finish(own, caller, headers, form, logged_in).await
}
