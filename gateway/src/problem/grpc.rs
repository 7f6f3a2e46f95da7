//! A problem as gRPC tells it. A gRPC client reads a body only as messages, so that it would report a problem's JSON
//! as a broken answer; it gets a status without any body ("Trailers-Only") instead.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::Problem;

const CONTENT: &str = "application/grpc";

/// Whether a request with this `Content-Type` is a call of gRPC.
pub fn is_grpc(content_type: &HeaderValue) -> bool {
    let rest = content_type.as_bytes().strip_prefix(CONTENT.as_bytes());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl Problem {
    /// The answer to a call. The message begins with the stable code.
    pub fn render_grpc(&self) -> Response<Bytes> {
        let mut message = format!("{}: {}", self.code().code(), self.code().title());
        if let Some(detail) = self.told_detail() {
            message.push(' ');
            message.push_str(detail);
        }
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let number = HeaderName::from_static("grpc-status");
        headers.insert(number, HeaderValue::from(status(self.status())));
        if let Ok(message) = HeaderValue::from_str(&encoded(&message)) {
            headers.insert(HeaderName::from_static("grpc-message"), message);
        }
        response
    }
}

/// As gRPC maps HTTP ("http-grpc-status-mapping"), and more exactly where we know more.
fn status(status: StatusCode) -> u16 {
    match status {
        // INVALID_ARGUMENT would be the application's to say.
        StatusCode::BAD_REQUEST => 13,
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => 12,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => 4,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => 8,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::INTERNAL_SERVER_ERROR => 13,
        _ => 2,
    }
}

/// Percent-encoded as `grpc-message` is.
fn encoded(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => {
                let _ = write!(text, "%{byte:02X}");
            }
            plain => text.push(char::from(plain)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::catalogue;

    #[test]
    fn a_status_and_no_body() {
        let problem = Problem::new(catalogue::ROLE_REQUIRED).detail("100% \u{fc}ber\n");
        let response = problem.render_grpc();
        assert_eq!((response.status(), response.body().len()), (StatusCode::OK, 0));
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], "7");
        assert_eq!(
            response.headers()["grpc-message"],
            "role_required: You do not have the role that this needs. 100%25 %C3%BCber%0A"
        );
    }

    #[test]
    fn no_problem_is_a_success() {
        for code in catalogue::CATALOGUE {
            assert!((1..=16).contains(&status(code.status())), "{code:?}");
        }
        for (code, expected) in [
            (catalogue::TOKEN_EXPIRED, 16),
            (catalogue::PERMISSION_DENIED, 7),
            (catalogue::NOT_FOUND, 12),
            (catalogue::OVERLOADED, 14),
            (catalogue::UPSTREAM_TIMEOUT, 4),
            (catalogue::UPSTREAM_FAILED, 14),
            (catalogue::BODY_TOO_LARGE, 8),
        ] {
            assert_eq!(status(code.status()), expected, "{code:?}");
        }
    }

    #[test]
    fn only_grpc_is_grpc() {
        for (text, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=1", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&HeaderValue::from_static(text)), expected, "{text}");
        }
    }
}
