//! `/openapi.json`, made from the same table as the router.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Own;
use super::endpoint::{Endpoint, Needs, Takes};

/// What a listener is for.
pub(super) struct About {
    title: &'static str,
    description: &'static str,
}

pub(super) const PUBLIC: About = About {
    title: "Latchkey",
    description: "Accounts, logins, sessions and OAuth. Refusals are application/problem+json (RFC 9457) with a stable `code`; \
                  the OAuth endpoints answer as RFC 6749 §5.2.",
};

pub(super) const INTERNAL: About = About {
    title: "Latchkey administration",
    description: "Each call needs an access token whose principal holds the permission named. Refusals are \
                  application/problem+json (RFC 9457) with a stable `code`.",
};

pub(super) fn document(own: &Own, endpoints: &[Endpoint], about: About) -> Bytes {
    let mut paths = Map::new();
    for endpoint in endpoints {
        let path = paths.entry(endpoint.full_path(&own.prefix)).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(endpoint.method.as_str().to_ascii_lowercase(), operation(endpoint));
        }
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": about.title,
            "description": about.description,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "session": cookie(own.cookies.session_name()),
                "token_cookie": cookie(own.cookies.token_name()),
                "refresh_cookie": cookie(own.cookies.refresh_name()),
                "client": { "type": "http", "scheme": "basic" },
            },
            "schemas": { "Problem": problem() },
        },
    });
    Bytes::from(document.to_string())
}

fn cookie(name: &str) -> Value {
    json!({ "type": "apiKey", "in": "cookie", "name": name })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code"],
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "Stable; docs/errors.md lists all." },
            "detail": { "type": "string" },
            "request_id": { "type": "string" },
            "everywhere": {
                "const": false,
                "description": "With 202: it is done, and not yet known to hold everywhere. Repeat the request.",
            },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = json!({
        "summary": endpoint.summary,
        "operationId": operation_id(endpoint),
        "responses": responses(endpoint),
    });
    let Some(members) = operation.as_object_mut() else { return operation };
    let parameters = parameters(endpoint);
    if !parameters.is_empty() {
        members.insert("parameters".into(), parameters.into());
    }
    match &endpoint.takes {
        Takes::Nothing => {}
        Takes::Json(schema) => {
            members.insert("requestBody".into(), body("application/json", schema.clone()));
        }
        Takes::Form(names) => {
            let properties: Map<String, Value> =
                names.iter().map(|(name, _)| ((*name).to_owned(), json!({ "type": "string" }))).collect();
            let required: Vec<&str> =
                names.iter().filter(|(_, required)| *required).map(|(name, _)| *name).collect();
            let schema = json!({ "type": "object", "properties": properties, "required": required });
            members.insert("requestBody".into(), body("application/x-www-form-urlencoded", schema));
        }
    }
    let security = match endpoint.needs {
        Needs::Nothing => json!([]),
        Needs::Login => json!([{ "token": [] }, { "session": [] }, { "token_cookie": [] }]),
        Needs::RefreshCookie => json!([{ "refresh_cookie": [] }]),
        // A client may also say who it is in the form.
        Needs::Client => json!([{ "client": [] }, {}]),
        Needs::Permission(permission) => {
            members.insert("description".into(), format!("Needs the permission `{permission}`.").into());
            json!([{ "token": [] }])
        }
    };
    members.insert("security".into(), security);
    operation
}

fn operation_id(endpoint: &Endpoint) -> String {
    let words = endpoint.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(endpoint.method.as_str().to_ascii_lowercase())
        .chain(words.map(str::to_owned))
        .collect::<Vec<_>>()
        .join("_")
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let in_path =
        endpoint.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).map(
            |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }),
        );
    let in_query = endpoint.query.iter().map(|name| {
        let kind = if *name == "page_size" { "integer" } else { "string" };
        json!({ "name": name, "in": "query", "schema": { "type": kind } })
    });
    in_path.chain(in_query).collect()
}

fn body(media_type: &str, schema: Value) -> Value {
    json!({ "required": true, "content": { media_type: { "schema": schema } } })
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut answered = json!({ "description": "Done" });
    if let (Some(schema), Some(members)) = (&endpoint.answers, answered.as_object_mut()) {
        members.insert("content".into(), json!({ "application/json": { "schema": schema } }));
    }
    let refused = json!({
        "description": "Not done, or with 202 not known to hold everywhere: `code` says why",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    json!({ endpoint.status.to_string(): answered, "default": refused })
}
