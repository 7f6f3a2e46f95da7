//! One endpoint: how it is reached, who answers, and what its callers can read about it.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use serde_json::Value;
use utoipa::PartialSchema;

use super::Own;

/// What a caller must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// An access token or a cookie.
    Login,
    /// An access token with this permission.
    Permission(&'static str),
    /// The refresh cookie.
    RefreshCookie,
    /// A client that says who it is (RFC 6749 §2.3).
    Client,
}

/// What it takes in its body.
pub(super) enum Takes {
    Nothing,
    Json(Value),
    /// Names of form parameters and whether they are required.
    Form(&'static [(&'static str, bool)]),
}

pub(super) struct Endpoint {
    pub method: Method,
    /// Below the prefix, with axum's `{names}`.
    pub path: &'static str,
    pub summary: &'static str,
    pub needs: Needs,
    pub takes: Takes,
    pub query: &'static [&'static str],
    pub status: u16,
    pub answers: Option<Value>,
    pub handler: MethodRouter<Own>,
}

impl Endpoint {
    pub(super) fn get<H, T>(path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Own>,
        T: 'static,
    {
        Self::new(Method::GET, MethodFilter::GET, path, summary, handler)
    }

    pub(super) fn post<H, T>(path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Own>,
        T: 'static,
    {
        Self::new(Method::POST, MethodFilter::POST, path, summary, handler)
    }

    pub(super) fn put<H, T>(path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Own>,
        T: 'static,
    {
        Self::new(Method::PUT, MethodFilter::PUT, path, summary, handler)
    }

    pub(super) fn patch<H, T>(path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Own>,
        T: 'static,
    {
        Self::new(Method::PATCH, MethodFilter::PATCH, path, summary, handler)
    }

    pub(super) fn delete<H, T>(path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Own>,
        T: 'static,
    {
        Self::new(Method::DELETE, MethodFilter::DELETE, path, summary, handler)
    }

    fn new<H, T>(
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Own>,
        T: 'static,
    {
        Self {
            method,
            path,
            summary,
            needs: Needs::Nothing,
            takes: Takes::Nothing,
            query: &[],
            status: 200,
            answers: None,
            handler: on(filter, handler),
        }
    }

    pub(super) fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    pub(super) fn takes<T: PartialSchema>(mut self) -> Self {
        self.takes = Takes::Json(schema::<T>());
        self
    }

    pub(super) fn takes_form(mut self, parameters: &'static [(&'static str, bool)]) -> Self {
        self.takes = Takes::Form(parameters);
        self
    }

    pub(super) fn query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }

    pub(super) fn answers<T: PartialSchema>(mut self, status: u16) -> Self {
        self.status = status;
        self.answers = Some(schema::<T>());
        self
    }

    /// Answers without a body.
    pub(super) fn acknowledges(mut self) -> Self {
        self.status = 204;
        self
    }

    /// `/.well-known` is where others look (RFC 8615), and stays there.
    pub(super) fn full_path(&self, prefix: &str) -> String {
        if self.path.starts_with("/.well-known/") {
            self.path.to_owned()
        } else {
            format!("{prefix}{}", self.path)
        }
    }
}

fn schema<T: PartialSchema>() -> Value {
    // A schema is plain data; if it could not be written, the test over the document would see null.
    serde_json::to_value(T::schema()).unwrap_or(Value::Null)
}
