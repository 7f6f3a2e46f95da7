//! `POST /v1/refresh`: new tokens for a browser that holds them in cookies. Whoever holds a refresh token in
//! its own hands uses the token endpoint.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use http::header::SET_COOKIE;
use http::{HeaderMap, Method};

use super::Own;
use super::credential::same_site;
use super::endpoint::{Endpoint, Needs};
use super::json::NoBody;
use super::login::{TokenAnswer, token_cookies, with_cookies};
use crate::cookies::Presented;
use crate::layers::caller::Caller;
use crate::peers::{Asker, ClientAuthentication, Concealed};
use crate::problem::{Problem, catalogue};

/// The built-in public client that first-party logins belong to.
pub(super) const FIRST_PARTY: &str = "first-party";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/refresh", "Renew the tokens that are in cookies", refresh)
            .needs(Needs::RefreshCookie)
            .answers::<TokenAnswer>(200),
    ]
}

async fn refresh(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    method: Method,
    headers: HeaderMap,
    _: NoBody,
) -> Response {
    match renewed(&own, &caller, &method, &headers).await {
        Ok(response) => response,
        Err(problem) => {
            let spent = problem.code() == catalogue::REFRESH_TOKEN_INVALID;
            let mut response = problem.into_response();
            if spent {
                // Nothing will make these good again; a browser that keeps them asks for ever.
                let expired = [own.cookies.expire_token(), own.cookies.expire_refresh()];
                for cookie in expired.into_iter().flatten() {
                    response.headers_mut().append(SET_COOKIE, cookie);
                }
            }
            response
        }
    }
}

async fn renewed(
    own: &Own,
    caller: &Caller,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let token = match own.cookies.refresh(headers) {
        Presented::One(token) if !token.is_empty() => Concealed::new(token),
        Presented::One(_) | Presented::None => return Err(catalogue::REFRESH_TOKEN_INVALID.into()),
        Presented::Ambiguous => return Err(catalogue::COOKIE_AMBIGUOUS.into()),
    };
    same_site(own, method, headers, caller)?;
    let client =
        ClientAuthentication { client_id: FIRST_PARTY.to_owned(), client_secret: Concealed::new("") };
    let asker = Asker::new(caller.request_id.as_str());
    let tokens = own.peers.auth.refresh(asker, client, token, String::new()).await?;
    let cookies = token_cookies(own, &tokens)?;
    Ok(with_cookies(Answer(TokenAnswer::in_cookies(&tokens)), cookies))
}
