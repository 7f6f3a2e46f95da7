//! `POST /v1/login`: a password becomes a session or tokens. What follows a believed password (cookie, body,
//! former session) is shared with the password change.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use guard::Refusal;
use http::header::{SET_COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use token::Issued;
use utoipa::ToSchema;

use super::Own;
use super::credential::same_site_or_no_browser;
use super::endpoint::Endpoint;
use super::json::Json;
use super::view::UserView;
use crate::cookies::Presented;
use crate::layers::caller::Caller;
use crate::peers::{
    Asker, Concealed, Failure, LoggedIn, Login, LoginMode, LoginResult, NewSession, TokenSet,
};
use crate::problem::{Problem, catalogue};

/// How long a browser keeps the token and the refresh cookie: the longest that a refresh token can live. Whether
/// they are still good is not the cookie's to say; a token that has expired still tells logout which login to end.
const TOKEN_COOKIES: Duration = Duration::from_secs(90 * 24 * 3600);

/// Bytes of a User-Agent that are passed on, for the list of sessions.
const USER_AGENT_BYTES: usize = 256;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/login", "Log in with a password, by session or by token", login)
            .takes::<LoginRequest>()
            .answers::<LoginAnswer>(200),
    ]
}

/// `session` sets a cookie; `token` answers tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    Session,
    Token,
}

/// Where tokens go: into the body, or into cookies that scripts cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Deliver {
    Body,
    Cookie,
}

/// What a login is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Session,
    Tokens(Deliver),
}

impl Form {
    pub(super) fn parse(mode: Option<Mode>, deliver: Option<Deliver>) -> Result<Self, Problem> {
        match (mode, deliver) {
            (None | Some(Mode::Session), None) => Ok(Self::Session),
            (Some(Mode::Token), deliver) => Ok(Self::Tokens(deliver.unwrap_or(Deliver::Body))),
            (None | Some(Mode::Session), Some(_)) => Err(Problem::new(catalogue::REQUEST_INVALID)
                .detail("`deliver` goes with `mode` \"token\": a session is always a cookie")),
        }
    }

    pub(super) fn mode(self) -> LoginMode {
        match self {
            Self::Session => LoginMode::Session,
            Self::Tokens(_) => LoginMode::Token,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LoginRequest {
    /// A username.
    identifier: String,
    password: String,
    /// `session` unless said otherwise.
    #[serde(default)]
    #[schema(inline)]
    mode: Option<Mode>,
    /// With `mode` `token` only; `body` unless said otherwise.
    #[serde(default)]
    #[schema(inline)]
    deliver: Option<Deliver>,
}

/// One of: a session, tokens, or (`deliver` = `cookie`) neither, both being in cookies.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its variants are what the documentation shows")]
pub(super) enum LoginAnswer {
    Session(#[schema(inline)] SessionAnswer),
    Tokens(#[schema(inline)] TokenAnswer),
}

#[derive(Serialize, ToSchema)]
pub(super) struct SessionAnswer {
    #[schema(inline)]
    session: SessionSummary,
    #[schema(inline)]
    user: UserView,
}

#[derive(Serialize, ToSchema)]
struct SessionSummary {
    /// Public: not what is in the cookie.
    id: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String)]
    expires_at: OffsetDateTime,
}

/// RFC 6749 §5.1. The tokens themselves are absent where they went into cookies.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
}

impl TokenAnswer {
    pub(super) fn in_body(tokens: &TokenSet) -> Self {
        Self {
            access_token: Some(tokens.access_token.reveal().to_owned()),
            refresh_token: tokens.refresh_token.as_ref().map(|token| token.reveal().to_owned()),
            ..Self::in_cookies(tokens)
        }
    }

    pub(super) fn in_cookies(tokens: &TokenSet) -> Self {
        Self {
            access_token: None,
            token_type: "Bearer",
            expires_in: tokens.expires_in.as_secs(),
            refresh_token: None,
            scope: tokens.scope.clone(),
        }
    }
}

async fn login(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    method: Method,
    headers: HeaderMap,
    Json(request): Json<LoginRequest>,
) -> Result<Response, Problem> {
    same_site_or_no_browser(&own, &method, &headers, &caller)?;
    let form = Form::parse(request.mode, request.deliver)?;
    let login = Login {
        identifier: request.identifier,
        password: Concealed::new(request.password),
        mode: form.mode(),
        client_address: caller.address,
    };
    let logged_in = own.peers.auth.login(Asker::new(caller.request_id.as_str()), login).await?;
    finish(&own, &caller, &headers, form, logged_in).await
}

/// Turns a believed password into what was asked for.
pub(super) async fn finish(
    own: &Own,
    caller: &Caller,
    headers: &HeaderMap,
    form: Form,
    logged_in: LoggedIn,
) -> Result<Response, Problem> {
    match (logged_in.result, form) {
        (LoginResult::Proof(proof), Form::Session) => {
            let mut cookies = end_former_tokens(own, caller, headers).await?;
            let new = NewSession {
                login_proof: proof,
                user_agent: user_agent(headers),
                client_address: caller.address,
                former_secret: former(own, headers),
            };
            let asker = Asker::new(caller.request_id.as_str());
            let (session, secret) = own.peers.sessions.create(asker, new).await?;
            cookies.push(own.cookies.set_session(secret.reveal()).ok_or(catalogue::INTERNAL)?);
            let body = SessionAnswer {
                session: SessionSummary { expires_at: session.expires_at(), id: session.id },
                user: UserView::from(&logged_in.user),
            };
            Ok(with_cookies(Answer(body), cookies))
        }
        (LoginResult::Tokens(tokens), Form::Tokens(Deliver::Body)) => {
            Ok(Answer(TokenAnswer::in_body(&tokens)).into_response())
        }
        (LoginResult::Tokens(tokens), Form::Tokens(Deliver::Cookie)) => {
            Ok(with_cookies(Answer(TokenAnswer::in_cookies(&tokens)), token_cookies(own, &tokens)?))
        }
        // The adapters hold that the result is of the mode asked for.
        (LoginResult::Proof(_), Form::Tokens(_)) | (LoginResult::Tokens(_), Form::Session) => {
            Err(catalogue::INTERNAL.into())
        }
    }
}

pub(super) fn token_cookies(own: &Own, tokens: &TokenSet) -> Result<Vec<HeaderValue>, Problem> {
    let kept = if tokens.refresh_token.is_some() { TOKEN_COOKIES } else { tokens.expires_in };
    let mut cookies =
        vec![own.cookies.set_token(tokens.access_token.reveal(), kept).ok_or(catalogue::INTERNAL)?];
    if let Some(refresh) = &tokens.refresh_token {
        cookies.push(own.cookies.set_refresh(refresh.reveal(), kept).ok_or(catalogue::INTERNAL)?);
    }
    Ok(cookies)
}

pub(super) fn with_cookies(answer: impl IntoResponse, cookies: Vec<HeaderValue>) -> Response {
    let mut response = answer.into_response();
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// The secret that the browser had before: its session ends with this login (S03). Where two cookies claim the
/// name, neither is believed, and the login does not suffer for it.
fn former(own: &Own, headers: &HeaderMap) -> Option<Concealed> {
    match own.cookies.session(headers) {
        Presented::One(secret) if !secret.is_empty() && secret.len() <= 256 => Some(Concealed::new(secret)),
        _ => None,
    }
}

/// Tokens that the browser has in cookies from a login before, by whomever, end with a login by session, as a
/// session would: a route that prefers tokens would go on to judge it by them. Returns the cookies that say so.
async fn end_former_tokens(
    own: &Own,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Vec<HeaderValue>, Problem> {
    match own.cookies.token(headers) {
        Presented::None => return Ok(Vec::new()),
        Presented::One(token) => match own.tokens.issued(token).await {
            Ok(Issued { subject, family: Some(family), .. }) => {
                let asker = Asker::new(caller.request_id.as_str());
                // The login that this is part of is not done yet: what is not known to hold is an outage.
                own.peers.auth.end_family(asker, &family, &subject).await.map_err(
                    |failure| match failure {
                        Failure::NotEverywhere { .. } => failure.outage("auth").into(),
                        failure => Problem::from(failure),
                    },
                )?;
            }
            // They name no login to end.
            Ok(_) | Err(Refusal::Invalid(_)) => {}
            Err(unavailable) => return Err(unavailable.into()),
        },
        Presented::Ambiguous => {}
    }
    Ok([own.cookies.expire_token(), own.cookies.expire_refresh()].into_iter().flatten().collect())
}

fn user_agent(headers: &HeaderMap) -> String {
    let text = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.chars().take(USER_AGENT_BYTES).collect()
}
