//! `POST /v1/logout`: the end of what the caller logged in with, on every replica, before it is acknowledged.
//!
//! A login by token outlives its access tokens by weeks. So a token counts here after it has expired, for nothing
//! but naming the login that ends with it; whoever stole it could have done no less while it was good.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use guard::Refusal;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::Own;
use super::credential::same_site;
use super::endpoint::{Endpoint, Needs};
use super::json::NoBody;
use crate::cookies::Presented;
use crate::layers::caller::Caller;
use crate::layers::credential::authorization;
use crate::peers::Asker;
use crate::problem::{Problem, catalogue};

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::post("/v1/logout", "Log out", logout).needs(Needs::Login).acknowledges()]
}

/// A session that has ended already is answered like one that ends now: the caller wants it gone, and it is.
async fn logout(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    method: Method,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Problem> {
    if let Some(token) = authorization(&headers)? {
        end_family(&own, &caller, token).await?;
        return Ok(gone(&own));
    }
    let session = own.cookies.session(&headers);
    let token = own.cookies.token(&headers);
    if session == Presented::None && token == Presented::None {
        return Err(catalogue::CREDENTIAL_MISSING.into());
    }
    same_site(&own, &method, &headers, &caller)?;
    if session == Presented::Ambiguous || token == Presented::Ambiguous {
        return Err(catalogue::COOKIE_AMBIGUOUS.into());
    }
    if let Presented::One(secret) = session
        && !secret.is_empty()
    {
        own.peers.sessions.end(Asker::new(caller.request_id.as_str()), secret, None).await?;
    }
    if let Presented::One(token) = token {
        end_family(&own, &caller, token).await?;
    }
    Ok(gone(&own))
}

/// A token that does not verify names no login, and the one it was meant to name may go on: never acknowledged. The
/// cookies stay, because the refresh cookie beside it is all that can still lead to that login's end: refreshing
/// either brings a token that verifies or finds the login over, and then takes both cookies itself.
async fn end_family(own: &Own, caller: &Caller, token: &str) -> Result<(), Problem> {
    let issued = own.tokens.issued(token).await.map_err(|refusal| match refusal {
        Refusal::Invalid(_) | Refusal::Ended => Problem::from(refusal)
            .detail("it does not tell which login to end; refresh, then log out with the new one"),
        Refusal::Unavailable(_) => refusal.into(),
    })?;
    let Some(family) = &issued.family else {
        return Err(Problem::new(catalogue::REQUEST_INVALID)
            .detail("this token belongs to no login; it ends when it expires"));
    };
    let asker = Asker::new(caller.request_id.as_str());
    own.peers.auth.end_family(asker, family, &issued.subject).await?;
    Ok(())
}

fn gone(own: &Own) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    for cookie in own.cookies.expire_all() {
        headers.append(SET_COOKIE, cookie);
    }
    if let Some(directives) = &own.clear_site_data {
        headers.insert(CLEAR_SITE_DATA, directives.clone());
    }
    response
}
