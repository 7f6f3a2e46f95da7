//! Why a request goes no further, and the answer that says so.

use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::{NoBearer, Refusal};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Seconds after which to come back: a lease or a key is usually there again by then.
const COME_BACK_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Nobody is believed to be asking, or nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(transparent)]
    NoBearer(#[from] NoBearer),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Denied {
    /// Over HTTP: 401 or 400 with `WWW-Authenticate` (RFC 6750 §3), or 503 with `Retry-After`. The body is empty.
    pub fn http<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        let (status, header, value) = match self {
            // §3.1: who says nothing about itself is told nothing but the scheme.
            Self::NoBearer(NoBearer::Missing | NoBearer::OtherScheme) => {
                (StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE, Some(HeaderValue::from_static("Bearer")))
            }
            Self::NoBearer(NoBearer::Ambiguous) => (
                StatusCode::BAD_REQUEST,
                WWW_AUTHENTICATE,
                Some(HeaderValue::from_static("Bearer error=\"invalid_request\"")),
            ),
            Self::Refused(Refusal::Unavailable(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, Some(COME_BACK_AFTER))
            }
            Self::Refused(refusal @ (Refusal::Invalid(_) | Refusal::Ended)) => {
                (StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE, invalid_token(refusal))
            }
        };
        *response.status_mut() = status;
        if let Some(value) = value {
            response.headers_mut().insert(header, value);
        }
        response
    }

    /// Over gRPC: UNAUTHENTICATED or UNAVAILABLE, in an answer of trailers only.
    pub fn grpc<B: Default>(self) -> Response<B> {
        let (code, message) = match self {
            Self::Refused(Refusal::Unavailable(_)) => ("14", "it cannot be told whether the token is good"),
            Self::Refused(Refusal::Invalid(_) | Refusal::Ended) => ("16", "the token is not valid here"),
            Self::NoBearer(_) => ("16", "send one authorization of `Bearer` and a token"),
        };
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, HeaderValue::from_static(code));
        headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
        response
    }
}

/// Reasons are words of ours, so they need no escaping.
fn invalid_token(refusal: Refusal) -> Option<HeaderValue> {
    let reason = refusal.reason();
    HeaderValue::try_from(format!("Bearer error=\"invalid_token\", error_description=\"{reason}\"")).ok()
}
