//! The OAuth endpoints: token (RFC 6749 §3.2), introspection (RFC 7662), revocation (RFC 7009). Their errors are
//! those of RFC 6749 §5.2; there is no password grant.

mod client;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use guard::Refusal;
use http::header::PRAGMA;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use self::client::authenticate;
use super::Own;
use super::endpoint::{Endpoint, Needs};
use super::form::Form;
use super::login::TokenAnswer;
use crate::layers::caller::Caller;
use crate::peers::{ActiveToken, Asker, Concealed, Introspection};
use crate::problem::oauth::{
    INVALID_CLIENT, INVALID_REQUEST, OAuthProblem, TEMPORARILY_UNAVAILABLE, UNSUPPORTED_GRANT_TYPE,
};

const CLIENT_ID: (&str, bool) = ("client_id", false);
const CLIENT_SECRET: (&str, bool) = ("client_secret", false);

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/oauth2/token", "Token endpoint (RFC 6749)", token)
            .needs(Needs::Client)
            .takes_form(&[
                ("grant_type", true),
                ("refresh_token", false),
                ("scope", false),
                ("audience", false),
                ("resource", false),
                CLIENT_ID,
                CLIENT_SECRET,
            ])
            .answers::<TokenAnswer>(200),
        Endpoint::post("/oauth2/introspect", "Token introspection (RFC 7662)", introspect)
            .needs(Needs::Client)
            .takes_form(&[("token", true), ("token_type_hint", false), CLIENT_ID, CLIENT_SECRET])
            .answers::<IntrospectionAnswer>(200),
        Endpoint::post("/oauth2/revoke", "Token revocation (RFC 7009)", revoke)
            .needs(Needs::Client)
            .takes_form(&[("token", true), ("token_type_hint", false), CLIENT_ID, CLIENT_SECRET]),
    ]
}

async fn token(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, OAuthProblem> {
    let asker = Asker::new(caller.request_id.as_str());
    let scope = form.get("scope").unwrap_or_default().to_owned();
    let tokens = match form.required("grant_type")? {
        "client_credentials" => {
            let client = authenticate(&headers, &form)?;
            if client.client_secret.is_empty() {
                // RFC 6749 §4.4: for confidential clients only.
                return Err(OAuthProblem::new(INVALID_CLIENT));
            }
            let audience = audience(&form)?;
            own.peers.auth.issue_client_token(asker, client, scope, audience).await?
        }
        "refresh_token" => {
            let client = authenticate(&headers, &form)?;
            let refresh_token = Concealed::new(form.required("refresh_token")?);
            own.peers.auth.refresh(asker, client, refresh_token, scope).await?
        }
        _ => return Err(OAuthProblem::new(UNSUPPORTED_GRANT_TYPE)),
    };
    Ok(uncached(Answer(TokenAnswer::in_body(&tokens))))
}

/// `audience` and RFC 8707's `resource` mean the same here.
fn audience(form: &Form) -> Result<String, OAuthProblem> {
    match (form.get("audience"), form.get("resource")) {
        (Some(audience), Some(resource)) if audience != resource => {
            Err(OAuthProblem::new(INVALID_REQUEST).description("`audience` and `resource` differ"))
        }
        (audience, resource) => Ok(audience.or(resource).unwrap_or_default().to_owned()),
    }
}

#[derive(Serialize, ToSchema)]
struct IntrospectionAnswer {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
}

async fn introspect(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, OAuthProblem> {
    let client = authenticate(&headers, &form)?;
    if client.client_secret.is_empty() {
        // RFC 7662 §2.1: whoever may ask must be known, or anybody could try tokens out.
        return Err(OAuthProblem::new(INVALID_CLIENT));
    }
    let token = legible(&own, form.required("token")?).await?;
    let asker = Asker::new(caller.request_id.as_str());
    let answer = own.peers.auth.introspect(asker, client, token).await;
    let answer = match answer.map_err(|failure| OAuthProblem::from(failure).unaudited())? {
        Introspection::Inactive => IntrospectionAnswer {
            active: false,
            sub: None,
            client_id: None,
            scope: None,
            aud: None,
            iss: None,
            token_type: None,
            jti: None,
            exp: None,
            iat: None,
        },
        Introspection::Active(token) => active(token),
    };
    Ok(uncached(Answer(answer)))
}

/// auth-service judges, but only the recipient can open a token encrypted to it. What does not open goes on as it is:
/// no token to auth-service, which still says first whether the caller may ask at all.
async fn legible(own: &Own, token: &str) -> Result<Concealed, OAuthProblem> {
    if !token::is_jwe(token) {
        return Ok(Concealed::new(token));
    }
    match own.tokens.open(token).await {
        Ok(jws) => Ok(Concealed::new(jws)),
        Err(Refusal::Invalid(_) | Refusal::Ended) => Ok(Concealed::new(token)),
        Err(Refusal::Unavailable(_)) => Err(OAuthProblem::new(TEMPORARILY_UNAVAILABLE)),
    }
}

fn active(token: ActiveToken) -> IntrospectionAnswer {
    let ActiveToken { subject, client_id, scope, audience, issuer, token_type, jti, expires_at, issued_at } =
        token;
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    IntrospectionAnswer {
        active: true,
        sub: said(subject),
        client_id: said(client_id),
        scope: said(scope),
        aud: said(audience),
        iss: said(issuer),
        token_type: said(token_type),
        jti: said(jti),
        exp: expires_at.map(OffsetDateTime::unix_timestamp),
        iat: issued_at.map(OffsetDateTime::unix_timestamp),
    }
}

async fn revoke(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, OAuthProblem> {
    let client = authenticate(&headers, &form)?;
    let token = legible(&own, form.required("token")?).await?;
    let revoked = own.peers.auth.revoke(Asker::new(caller.request_id.as_str()), client, token).await;
    // What ends is written down where it ends. Who is not believed to be a client has ended nothing.
    revoked.map_err(|failure| OAuthProblem::from(failure).unaudited())?;
    Ok(uncached(StatusCode::OK))
}

/// RFC 6749 §5.1 asks for both headers; `Cache-Control` is set for every answer.
fn uncached(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
