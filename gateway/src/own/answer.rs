//! What every answer of the own endpoints has in common: the request id, no caching, and an audit line where
//! somebody was refused.

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chassis::audit::Record;
use chassis::telemetry::{Around, traces};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH};
use http::{HeaderName, HeaderValue, StatusCode};
use tracing::Instrument;

use crate::layers::caller::Caller;
use crate::problem::oauth::OAuthProblem;
use crate::problem::{Problem, catalogue};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names of parameters that carry a credential: in a URL they end up in logs and histories (RFC 9700 §4.3, O21).
const SECRET_PARAMETERS: [&str; 6] =
    ["access_token", "refresh_token", "id_token", "token", "client_secret", "password"];

pub(super) async fn around(request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let request_id = caller.as_ref().map_or("", |caller| caller.request_id.as_str());
    let mut response = match secret_in_query(request.uri().query()) {
        Some(name) => Problem::new(catalogue::TOKEN_IN_QUERY)
            .detail(format!("`{name}` does not belong into a URL"))
            .into_response(),
        None => {
            // Of what a client of the open network says about traces nothing is left by now.
            let trace = traces::answering(route.as_deref().unwrap_or("own"), request.headers());
            let trace_id = traces::id(&trace);
            let around = Around { method: None, request_id: request_id.into(), caller: None, trace_id };
            let response = around.future(next.run(request)).instrument(trace.clone()).await;
            traces::answered(&trace, response.status());
            response
        }
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        *response.body_mut() = Body::from(problem.body(request_id));
        response.headers_mut().remove(CONTENT_LENGTH);
        if !problem.is_audited() {
            refused(&response, problem.code().code(), problem.refused_principal(), caller.as_ref(), route);
        }
    } else if let Some(problem) = response.extensions_mut().remove::<OAuthProblem>()
        && !problem.is_audited()
    {
        refused(&response, problem.name(), None, caller.as_ref(), route);
    }
    let headers = response.headers_mut();
    // Most of what is answered here is about one caller; what is for everybody says so itself (O16, S10).
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(caller) = &caller {
        headers.entry(REQUEST_ID).or_insert_with(|| caller.request_id.header());
    }
    response
}

fn secret_in_query(query: Option<&str>) -> Option<&'static str> {
    let names = url::form_urlencoded::parse(query?.as_bytes()).map(|(name, _)| name);
    names.into_iter().find_map(|name| SECRET_PARAMETERS.into_iter().find(|secret| name == *secret))
}

fn refused(
    response: &Response,
    reason: &'static str,
    principal: Option<&str>,
    caller: Option<&Caller>,
    route: Option<String>,
) {
    // The one conflict that is found here and not by a service is that an administrator would be the last.
    if !matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::CONFLICT) {
        return;
    }
    let mut record = Record::refused("refusal", reason);
    if let Some(principal) = principal {
        record = record.subject(principal);
    }
    if let Some(caller) = caller {
        record = record.address(caller.address).request_id(&caller.request_id);
    }
    if let Some(route) = route {
        record = record.route(route);
    }
    record.emit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o21_secrets_are_found_in_any_spelling_of_a_query() {
        assert_eq!(secret_in_query(Some("access_token=x")), Some("access_token"));
        assert_eq!(secret_in_query(Some("a=b&acces%73_token=x")), Some("access_token"));
        assert_eq!(secret_in_query(Some("client_secret")), Some("client_secret"));
        assert_eq!(secret_in_query(Some("page_token=x&page_size=2")), None);
        assert_eq!(secret_in_query(None), None);
    }
}
