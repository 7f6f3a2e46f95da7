//! Who asks, at the gateway's own endpoints: `Authorization` if it is there and then nothing else, otherwise the
//! session cookie, otherwise the token cookie.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use guard::Principal;
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, Method};
use time::OffsetDateTime;
use token::PrincipalKind;

use super::Own;
use crate::layers::caller::Caller;
use crate::layers::credential::{Credential, choose};
use crate::layers::cross_site::Sites;
use crate::peers::{Asker, Concealed, Session, SessionLookup, Subject, SubjectKind};
use crate::problem::{Problem, catalogue};
use crate::routing::Accept;

/// A believed caller.
pub(super) struct Who {
    pub subject: Subject,
    /// The username, or the client's name.
    pub name: String,
    pub by: By,
}

/// What made it believed.
pub(super) enum By {
    Token {
        principal: Box<Principal>,
        /// In a cookie rather than in `Authorization`.
        cookie: bool,
    },
    Session {
        session: Box<Session>,
        secret: Concealed,
        /// The secret to set, where the one presented was rotated away moments ago.
        renewed: Option<Concealed>,
    },
}

impl Who {
    /// For what a user does with its own account. A client has no password and no sessions.
    pub(super) fn user(&self) -> Result<&str, Problem> {
        match self.subject.kind {
            SubjectKind::User => Ok(&self.subject.id),
            _ => Err(Problem::new(catalogue::REQUEST_INVALID).detail("this is for users, not for clients")),
        }
    }

    pub(super) fn expires_at(&self) -> OffsetDateTime {
        match &self.by {
            By::Token { principal, .. } => principal.expires_at,
            By::Session { session, .. } => session.expires_at(),
        }
    }

    /// The answer, with the new cookie where the caller's was renewed.
    pub(super) fn answer(&self, own: &Own, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        if let By::Session { renewed: Some(secret), .. } = &self.by
            && let Some(cookie) = own.cookies.set_session(secret.reveal())
        {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    }

    fn of_token(principal: Principal, cookie: bool) -> Self {
        let id = principal.id.to_string();
        let subject = match principal.kind {
            PrincipalKind::User => Subject::user(id),
            PrincipalKind::Client => Subject::client(id),
        };
        let name = principal.name.to_string();
        Self { subject, name, by: By::Token { principal: Box::new(principal), cookie } }
    }
}

impl FromRequestParts<Own> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, own: &Own) -> Result<Self, Problem> {
        let credential = choose(&[Accept::Session, Accept::Token], &parts.headers, &own.cookies)?;
        let caller = caller(parts)?;
        if credential.is_ambient() {
            same_site(own, &parts.method, &parts.headers, caller)?;
        }
        match credential {
            Credential::Token(token) => token_holder(own, token, false).await,
            Credential::TokenCookie(token) => token_holder(own, token, true).await,
            Credential::Session(secret) => session_holder(own, caller, secret).await,
        }
    }
}

async fn token_holder(own: &Own, token: &str, cookie: bool) -> Result<Who, Problem> {
    let principal = own.tokens.verify(token, own.clock.now()).await?;
    Ok(Who::of_token(principal, cookie))
}

async fn session_holder(own: &Own, caller: &Caller, secret: &str) -> Result<Who, Problem> {
    match own.peers.sessions.resolve(Asker::new(caller.request_id.as_str()), secret).await? {
        SessionLookup::Found { session, current_secret } => Ok(Who {
            subject: Subject::user(session.subject.clone()),
            name: session.username.clone(),
            by: By::Session { session, secret: Concealed::new(secret), renewed: current_secret },
        }),
        SessionLookup::NotFound => Err(catalogue::SESSION_INVALID.into()),
    }
}

/// The rule for cookies on requests that change something (C01, C02).
pub(super) fn same_site(
    own: &Own,
    method: &Method,
    headers: &HeaderMap,
    caller: &Caller,
) -> Result<(), Problem> {
    own.sites.check(method, headers, caller.reached.as_deref()).map_err(Problem::from)
}

/// The rule for requests that make a login: another site must not log a browser in as somebody else. Who sends
/// none of the three headers is no browser, and has no cookies that would be mixed up.
pub(super) fn same_site_or_no_browser(
    own: &Own,
    method: &Method,
    headers: &HeaderMap,
    caller: &Caller,
) -> Result<(), Problem> {
    match own.sites.check(method, headers, caller.reached.as_deref()) {
        Err(code) if code == catalogue::ORIGIN_REQUIRED && Sites::concerns(method, headers) => Ok(()),
        verdict => verdict.map_err(Problem::from),
    }
}

pub(super) fn caller(parts: &Parts) -> Result<&Caller, Problem> {
    // Without it the request did not come through the gateway's own listener: a mistake in the wiring.
    parts.extensions.get::<Caller>().ok_or_else(|| catalogue::INTERNAL.into())
}
