//! Answers to OPTIONS that no application gives.

use http::header::ALLOW;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::body::Source;
use crate::layers::cors;

/// Of the server as a whole (RFC 9110 §9.3.7).
pub(super) fn of_the_server() -> Response<Source> {
    let mut response = Response::new(Source::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(ALLOW, methods);
    response
}

pub(super) fn preflight(reader: &cors::Reader, asked: &HeaderMap) -> Response<Source> {
    let mut response = Response::new(Source::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    reader.preflight(asked, response.headers_mut());
    response
}
