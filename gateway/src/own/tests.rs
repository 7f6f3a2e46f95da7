mod admin;
mod audit;
mod contract;
mod last_administrator;
mod login;
mod oauth;
mod sessions;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use chassis::clock::TestClock;
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::fakes::{ALICE, AT, MALLORY, World};
use super::*;
use crate::layers::caller::{Caller, RequestId};
use crate::peers::Reason;

/// What administration needs a permission for, each `latchkey:…`.
const AREAS: [&str; 7] = ["users", "clients", "roles", "sessions", "tokens", "keys", "check"];

/// One gateway's endpoints over one world.
struct Gateway {
    world: Arc<World>,
    public: Router,
    internal: Router,
}

struct Said {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {:?}", self.text))
    }

    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Names and values of `Set-Cookie`, without attributes.
    fn cookies(&self) -> Vec<(String, String)> {
        let lines = self.headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap());
        lines
            .map(|line| line.split(';').next().unwrap().split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

impl Gateway {
    fn new() -> Self {
        Self::below("")
    }

    fn below(prefix: &str) -> Self {
        let world = Arc::new(World::with_alice());
        let own = Own {
            peers: Peers { auth: world.clone(), sessions: world.clone(), policy: world.clone() },
            tokens: world.clone(),
            cookies: Arc::new(Cookies::new(true, prefix)),
            sites: Arc::new(Sites::new("https://app.example".parse().unwrap(), Vec::new())),
            clock: Arc::new(TestClock::new(AT)),
            public_url: "https://app.example".into(),
            issuer: "https://app.example".into(),
            prefix: prefix.to_owned(),
            clear_site_data: Some(HeaderValue::from_static("\"cache\"")),
            openapi: Bytes::new(),
        };
        let mut inner = own.clone();
        inner.prefix = String::new();
        Self {
            world,
            public: router(own, public_endpoints(), openapi::PUBLIC),
            internal: router(inner, internal_endpoints(), openapi::INTERNAL),
        }
    }

    async fn send(&self, router: &Router, request: Request<Body>) -> Said {
        let mut request = request;
        request.extensions_mut().insert(Caller {
            request_id: RequestId::new(1, 2),
            address: "203.0.113.9".parse().unwrap(),
            reached: None,
        });
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        if let Some(length) = parts.headers.get(http::header::CONTENT_LENGTH) {
            assert_eq!(length.to_str().unwrap(), bytes.len().to_string());
        }
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Said { status: parts.status, headers: parts.headers, text }
    }

    /// To the public listener, with JSON where there is a body.
    async fn public(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Said {
        self.send(&self.public, request(method, path, headers, body)).await
    }

    /// To the internal listener, as alice.
    async fn admin(&self, method: Method, path: &str, body: Value) -> Said {
        let token = format!("Bearer token:{ALICE}");
        let request = request(method, path, &[("authorization", token.as_str())], body);
        self.send(&self.internal, request).await
    }

    async fn form(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Said {
        let mut request = Request::builder().method(Method::POST).uri(path);
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(&self.public, request.body(Body::from(body.to_owned())).unwrap()).await
    }
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match body {
        Value::Null => request.body(Body::empty()).unwrap(),
        body => request.header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string())).unwrap(),
    }
}

const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");
