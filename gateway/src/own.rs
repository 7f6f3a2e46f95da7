//! The gateway's own endpoints: accounts, logins, sessions and OAuth on the public listener, administration on
//! the internal one. Off the proxying path, so clarity comes before speed here.
//!
//! Each listener's endpoints are one table ([`endpoint::Endpoint`]), from which both the router and
//! `/openapi.json` are made: neither can know of an endpoint that the other does not.

mod admin;
mod answer;
mod credential;
mod discovery;
mod endpoint;
mod form;
mod json;
mod login;
mod logout;
mod me;
mod oauth;
mod openapi;
mod password;
mod refresh;
mod register;
mod sessions;
mod tokens;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use bytes::Bytes;
use chassis::clock::SharedClock;
use http::HeaderValue;

use crate::cookies::Cookies;
use crate::layers::cross_site::Sites;
use crate::peers::Peers;
use crate::problem::{Problem, catalogue};
use crate::state::State;

use endpoint::Endpoint;
pub use tokens::Tokens;

/// Bodies of the own endpoints are small; what is larger is a mistake or an attack.
const BODY_LIMIT_BYTES: usize = 256 * 1024;

/// The endpoints of the public listener. Requests carry [`crate::layers::caller::Caller`] as an extension.
pub fn public(state: State) -> Router {
    router(Own::of(state), public_endpoints(), openapi::PUBLIC)
}

/// The endpoints of the internal listener; as above.
pub fn internal(state: State) -> Router {
    let mut own = Own::of(state);
    own.prefix = String::new();
    router(own, internal_endpoints(), openapi::INTERNAL)
}

/// What handlers stand on.
#[derive(Clone)]
struct Own {
    peers: Peers,
    tokens: Arc<dyn Tokens>,
    cookies: Arc<Cookies>,
    sites: Arc<Sites>,
    clock: SharedClock,
    /// The public address, without a slash at the end.
    public_url: Arc<str>,
    issuer: Arc<str>,
    /// Where the own paths were moved to; empty where they were not.
    prefix: String,
    /// What a browser is told to clear at logout; None: nothing.
    clear_site_data: Option<HeaderValue>,
    openapi: Bytes,
}

impl Own {
    fn of(state: State) -> Self {
        let shared = state.shared;
        let config = &shared.config;
        Self {
            peers: state.peers,
            cookies: Arc::new(shared.cookies.clone()),
            sites: Arc::new(shared.sites.clone()),
            clock: Arc::clone(&shared.clock),
            public_url: config.public_url.as_str().into(),
            issuer: config.issuer().into(),
            prefix: config.own.prefix.clone(),
            clear_site_data: config.own.clear_site_data(),
            openapi: Bytes::new(),
            tokens: Arc::new(tokens::ByGuard(shared)),
        }
    }
}

fn public_endpoints() -> Vec<Endpoint> {
    [
        register::endpoints(),
        login::endpoints(),
        refresh::endpoints(),
        logout::endpoints(),
        me::endpoints(),
        sessions::endpoints(),
        password::endpoints(),
        oauth::endpoints(),
        discovery::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Administration, and what an operator's shell needs to come by a token without the public listener.
fn internal_endpoints() -> Vec<Endpoint> {
    let mut endpoints = admin::endpoints();
    endpoints.extend(login::endpoints());
    endpoints.extend(password::endpoints());
    endpoints.extend(logout::endpoints());
    endpoints.extend(oauth::endpoints());
    endpoints.push(discovery::openapi_endpoint());
    endpoints
}

fn router(mut own: Own, endpoints: Vec<Endpoint>, about: openapi::About) -> Router {
    own.openapi = openapi::document(&own, &endpoints, about);
    let mut router = Router::new();
    for endpoint in endpoints {
        router = router.route(&endpoint.full_path(&own.prefix), endpoint.handler);
    }
    router
        .method_not_allowed_fallback(async || Problem::new(catalogue::METHOD_NOT_ALLOWED))
        .fallback(async || Problem::new(catalogue::NOT_FOUND))
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(axum::middleware::from_fn(answer::around))
        .with_state(own)
}

#[cfg(test)]
mod fakes;
#[cfg(test)]
mod tests;
