//! What others read to work with this gateway: server metadata (RFC 8414), signing keys (RFC 7517), and the
//! description of the endpoints.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use token::KeySet;

use super::Own;
use super::endpoint::Endpoint;
use crate::layers::caller::Caller;
use crate::peers::Asker;
use crate::problem::{Problem, catalogue};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/.well-known/oauth-authorization-server",
            "Authorization server metadata (RFC 8414)",
            metadata,
        ),
        Endpoint::get("/.well-known/jwks.json", "Public signing keys (RFC 7517)", jwks),
        openapi_endpoint(),
    ]
}

pub(super) fn openapi_endpoint() -> Endpoint {
    Endpoint::get("/openapi.json", "This description", openapi)
}

async fn metadata(State(own): State<Own>) -> Response {
    let at = |path: &str| format!("{}{}{path}", own.public_url, own.prefix);
    let methods = ["client_secret_basic", "client_secret_post"];
    let body = json!({
        "issuer": &*own.issuer,
        "token_endpoint": at("/oauth2/token"),
        "introspection_endpoint": at("/oauth2/introspect"),
        "revocation_endpoint": at("/oauth2/revoke"),
        "jwks_uri": format!("{}/.well-known/jwks.json", own.public_url),
        "grant_types_supported": ["client_credentials", "refresh_token"],
        // Required by RFC 8414 §2, and empty while there is no authorization endpoint.
        "response_types_supported": Vec::<Value>::new(),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
    });
    for_everybody(Answer(body), "application/json", 300)
}

async fn jwks(State(own): State<Own>, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let set = own.peers.auth.key_set(Asker::new(caller.request_id.as_str())).await?;
    // Read strictly before it is passed on: a private member in it must not leave this process, whoever put it
    // there (J21).
    if let Err(error) = KeySet::from_json(&set.jwks) {
        tracing::error!(%error, "auth-service's key set is not one to publish");
        return Err(catalogue::UNAVAILABLE.into());
    }
    Ok(for_everybody(set.jwks, "application/json", set.max_age.as_secs()))
}

async fn openapi(State(own): State<Own>) -> Response {
    for_everybody(own.openapi, "application/json", 300)
}

fn for_everybody(body: impl IntoResponse, media_type: &'static str, max_age: u64) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Ok(value) = HeaderValue::from_str(&format!("public, max-age={max_age}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}
