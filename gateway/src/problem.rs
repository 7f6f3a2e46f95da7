//! What a caller is told when it does not get what it asked for: RFC 9457 problem details with a stable code.
//!
//! This is the one place where a neighbour's refusal or absence becomes an HTTP status. A neighbour that could
//! not be asked is 503 with `Retry-After` and never 401 or 403: an outage says nothing about the caller.

pub mod catalogue;
mod failure;
mod grpc;
pub mod oauth;

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

pub use catalogue::{CATALOGUE, Code, catalogue_markdown};
pub use grpc::is_grpc;

/// When nobody said when to come back.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);

/// One refusal, ready to be told. Small, and without an allocation where there is nothing to add to its code.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    more: Option<Box<More>>,
    /// A service decided, and has written it down itself.
    audited: bool,
}

#[derive(Clone, Debug, Default)]
struct More {
    detail: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    headers: Vec<(HeaderName, HeaderValue)>,
    principal: Option<String>,
}

impl Problem {
    // Cold, so that what leads here lies apart from the path of a request that is passed on.
    #[cold]
    pub fn new(code: Code) -> Self {
        Self { code, more: None, audited: false }
    }

    /// A sentence about this occurrence. Never a secret, never whether an account exists.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.more().detail = Some(detail.into());
        self
    }

    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.more().retry_after = Some(delay);
        self
    }

    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.more().headers.push((name, value));
        self
    }

    /// Who was refused, where that is known: for the audit line, not for the body.
    pub fn principal(mut self, id: impl Into<String>) -> Self {
        self.more().principal = Some(id.into());
        self
    }

    /// Whether a service that decided this has an audit line of its own.
    pub fn is_audited(&self) -> bool {
        self.audited
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    pub fn code(&self) -> Code {
        self.code
    }

    /// As told to [`Problem::principal`].
    pub fn refused_principal(&self) -> Option<&str> {
        self.more.as_ref()?.principal.as_deref()
    }

    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    fn told_detail(&self) -> Option<&str> {
        self.more.as_ref()?.detail.as_deref()
    }

    /// The response to send, for any body type.
    #[cold]
    pub fn render(&self, request_id: &str) -> Response<Bytes> {
        let status = self.status();
        let mut response = Response::new(self.body(request_id));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let retry_after = self.more.as_ref().and_then(|more| more.retry_after);
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(RETRY_AFTER, seconds(retry_after.unwrap_or(DEFAULT_RETRY)));
        } else if let Some(delay) = retry_after {
            headers.insert(RETRY_AFTER, seconds(delay));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, self.code.challenge());
        }
        for (name, value) in self.more.iter().flat_map(|more| &more.headers) {
            headers.append(name, value.clone());
        }
        response
    }

    /// The body alone. An empty request id is left out.
    pub fn body(&self, request_id: &str) -> Bytes {
        let status = self.status();
        let mut body = serde_json::json!({
            "type": self.code.uri(),
            "title": self.code.title(),
            "status": status.as_u16(),
            "code": self.code.code(),
        });
        if let Some(members) = body.as_object_mut() {
            if let Some(detail) = self.more.as_ref().and_then(|more| more.detail.as_ref()) {
                members.insert("detail".into(), detail.as_ref().into());
            }
            if !request_id.is_empty() {
                members.insert("request_id".into(), request_id.into());
            }
            if status == StatusCode::ACCEPTED {
                members.insert("everywhere".into(), false.into());
            }
        }
        Bytes::from(body.to_string())
    }
}

/// Whole seconds, rounded up, at least one: `Retry-After: 0` would invite a storm.
fn seconds(delay: Duration) -> HeaderValue {
    HeaderValue::from(whole_seconds(delay))
}

pub(crate) fn whole_seconds(delay: Duration) -> u64 {
    (delay.as_secs() + u64::from(delay.subsec_nanos() > 0)).max(1)
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

/// For handlers. The problem itself rides along as an extension, so that the layer around the endpoints
/// can render it again with the request id and see what was refused.
impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let mut response = self.render("").map(Body::from);
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests;
