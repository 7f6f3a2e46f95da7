//! Errors of the OAuth endpoints: RFC 6749 §5.2, with the additions of RFC 7009 and RFC 8707.
//!
//! An authorization server that cannot ask its own store answers 503 `temporarily_unavailable`; RFC 6749 names
//! that error for the authorization endpoint only, but `invalid_*` would tell a client to give up its grant.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::{DEFAULT_RETRY, whole_seconds};
use crate::peers::{Failure, Reason, Refused, Unavailable};

/// One `error` value.
#[derive(Clone, Copy, Debug)]
pub struct Error {
    pub name: &'static str,
    pub status: StatusCode,
    pub meaning: &'static str,
}

macro_rules! errors {
    ($($name:ident $status:ident $error:literal $meaning:literal;)*) => {
        $(pub const $name: Error = Error { name: $error, status: StatusCode::$status, meaning: $meaning };)*
        pub const CATALOGUE: &[Error] = &[$($name),*];
    };
}

errors! {
    INVALID_REQUEST BAD_REQUEST "invalid_request" "A parameter is missing, repeated or wrong, or the client authenticated in more than one way.";
    INVALID_CLIENT UNAUTHORIZED "invalid_client" "The client is unknown, disabled, or did not authenticate.";
    INVALID_GRANT BAD_REQUEST "invalid_grant" "The refresh token is spent, expired, ended, or another client's.";
    INVALID_SCOPE BAD_REQUEST "invalid_scope" "The scope is unknown, or wider than what was granted.";
    INVALID_TARGET BAD_REQUEST "invalid_target" "The client may not ask tokens for this audience (RFC 8707).";
    UNSUPPORTED_GRANT_TYPE BAD_REQUEST "unsupported_grant_type" "Only `client_credentials` and `refresh_token` are granted here.";
    UNSUPPORTED_TOKEN_TYPE BAD_REQUEST "unsupported_token_type" "A token of this kind cannot be revoked here (RFC 7009 §2.2.1).";
    SLOW_DOWN TOO_MANY_REQUESTS "slow_down" "Too many requests; `Retry-After` says when to come back.";
    TEMPORARILY_UNAVAILABLE SERVICE_UNAVAILABLE "temporarily_unavailable" "Something that this needs could not be asked; repeat after `Retry-After`.";
    SERVER_ERROR INTERNAL_SERVER_ERROR "server_error" "The server made a mistake.";
}

/// One refusal of an OAuth endpoint.
#[derive(Clone, Debug)]
pub struct OAuthProblem {
    error: Error,
    status: StatusCode,
    description: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// As for [`super::Problem`].
    audited: bool,
}

impl OAuthProblem {
    pub fn new(error: Error) -> Self {
        Self {
            error,
            status: error.status,
            description: Cow::Borrowed(error.meaning),
            retry_after: None,
            audited: false,
        }
    }

    /// Another status than the error's own: 413 is an `invalid_request` too.
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub fn description(mut self, description: impl Into<Cow<'static, str>>) -> Self {
        self.description = description.into();
        self
    }

    /// For calls of which auth-service keeps no audit.
    pub fn unaudited(mut self) -> Self {
        self.audited = false;
        self
    }

    pub fn is_audited(&self) -> bool {
        self.audited
    }

    pub fn name(&self) -> &'static str {
        self.error.name
    }
}

impl From<Unavailable> for OAuthProblem {
    fn from(unavailable: Unavailable) -> Self {
        tracing::warn!(peer = unavailable.peer, because = %unavailable.because, "a neighbour could not be asked");
        Self { retry_after: unavailable.retry_after, ..Self::new(TEMPORARILY_UNAVAILABLE) }
    }
}

impl From<Failure> for OAuthProblem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refused) => refused.into(),
            Failure::Unavailable(unavailable) => unavailable.into(),
            // RFC 7009 §2.2.1 knows 200, which would be a lie, and 503: the token may still exist, and it is to be repeated.
            Failure::NotEverywhere { retry_after } => {
                let problem = Self { retry_after, audited: true, ..Self::new(TEMPORARILY_UNAVAILABLE) };
                problem.description(
                    "It is revoked, and not yet known to be so everywhere; repeat after `Retry-After`.",
                )
            }
        }
    }
}

impl From<Refused> for OAuthProblem {
    fn from(refused: Refused) -> Self {
        let error = match refused.reason {
            Reason::InvalidClient => INVALID_CLIENT,
            Reason::InvalidGrant => INVALID_GRANT,
            Reason::InvalidScope => INVALID_SCOPE,
            Reason::InvalidTarget => INVALID_TARGET,
            Reason::UnsupportedTokenType => UNSUPPORTED_TOKEN_TYPE,
            Reason::InvalidArgument => INVALID_REQUEST,
            Reason::HashingBusy | Reason::TooManyAttempts => SLOW_DOWN,
            _ => SERVER_ERROR,
        };
        Self { retry_after: refused.retry_after, audited: true, ..Self::new(error) }
    }
}

impl IntoResponse for OAuthProblem {
    fn into_response(self) -> Response {
        let status = self.status;
        let body = serde_json::json!({ "error": self.error.name, "error_description": self.description });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"latchkey\", charset=\"UTF-8\""),
            );
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let delay = self.retry_after.unwrap_or(DEFAULT_RETRY);
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
        }
        response.extensions_mut().insert(self);
        response
    }
}
