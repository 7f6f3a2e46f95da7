//! JSON bodies, read strictly: the right type (C04), valid, without members that mean nothing here.
//!
//! What is wrong is said without quoting values: a body may hold a password, and an error body must not (S08).

use std::fmt;
use std::marker::PhantomData;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Own;
use crate::problem::{Problem, catalogue};

const AN_OBJECT: &str = "a JSON object";

/// The body of an endpoint that takes JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Own> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, own: &Own) -> Result<Self, Problem> {
        if !is_type(request.headers(), "application/json") {
            return Err(Problem::new(catalogue::UNSUPPORTED_MEDIA_TYPE).detail("send `application/json`"));
        }
        let body = body(request, own).await?;
        parse(&body).map(Self)
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map(|Object(value)| value).map_err(|error| wrong(&error))
}

/// A JSON object and nothing else. What serde derives for a struct takes an array too, member after member, by which
/// `["alice", "password", "token"]` would be a login that no document describes.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(AN_OBJECT)
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// For members that are objects themselves: `#[serde(deserialize_with = "object")]`.
pub(super) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// As [`object`], for one that may be missing or null.
pub(super) fn object_if_any<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(value)| value))
}

/// For endpoints that take no body: a form posted by another site's page cannot reach them (C04).
pub(super) struct NoBody;

impl FromRequest<Own> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, own: &Own) -> Result<Self, Problem> {
        if request.headers().contains_key(CONTENT_TYPE) && !is_type(request.headers(), "application/json") {
            return Err(Problem::new(catalogue::UNSUPPORTED_MEDIA_TYPE)
                .detail("send no body, or an empty `application/json` object"));
        }
        let body = body(request, own).await?;
        match body.trim_ascii() {
            b"" | b"{}" => Ok(Self),
            _ => Err(Problem::new(catalogue::REQUEST_INVALID).detail("this path takes no body")),
        }
    }
}

/// Whether the one Content-Type is this media type, parameters aside.
pub(super) fn is_type(headers: &HeaderMap, expected: &str) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(expected)
}

pub(super) async fn body(request: Request, own: &Own) -> Result<Bytes, Problem> {
    Bytes::from_request(request, own).await.map_err(|rejection: BytesRejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(catalogue::BODY_TOO_LARGE)
                .detail(format!("at most {} bytes", super::BODY_LIMIT_BYTES))
        } else {
            Problem::new(catalogue::REQUEST_MALFORMED).detail("the body could not be read to its end")
        }
    })
}

fn wrong(error: &serde_json::Error) -> Problem {
    let place = format!("line {} column {}", error.line(), error.column());
    if !error.is_data() {
        return Problem::new(catalogue::MALFORMED_JSON).detail(format!("not valid JSON at {place}"));
    }
    let message = error.to_string();
    let names_only = ["missing field", "unknown field", "duplicate field"];
    let said = if names_only.iter().any(|start| message.starts_with(start)) {
        message
    } else {
        // `invalid type: string "hunter2", expected a boolean at line 1 column 9`: only what was expected.
        match message.rfind("expected ").and_then(|at| message.get(at..)) {
            Some(expected) => {
                match expected.strip_prefix("expected ").and_then(|what| what.strip_prefix(AN_OBJECT)) {
                    Some(at) => format!("{AN_OBJECT} is expected{at}"),
                    None => expected.to_owned(),
                }
            }
            None => format!("a member has a value that it cannot have, at {place}"),
        }
    };
    Problem::new(catalogue::REQUEST_INVALID).detail(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code, reason = "only parsed")]
        password: String,
        #[serde(default)]
        #[allow(dead_code, reason = "only parsed")]
        kind: Option<Kind>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
    }

    fn said(body: &str) -> String {
        let problem = parse::<Sample>(body.as_bytes()).map(drop).unwrap_err();
        String::from_utf8(problem.body("").to_vec()).unwrap()
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(said("{").contains("malformed_json"));
        assert!(said("{} x").contains("missing field"), "the first thing wrong");
        assert!(said(r#"{"password":"p"} x"#).contains("malformed_json"));
        assert!(said("{}").contains("missing field `password`"));
        assert!(said(r#"{"password":"p","extra":1}"#).contains("unknown field `extra`"));
        assert!(said(r#"{"password":"p","password":"p"}"#).contains("duplicate field `password`"));
        assert!(said(r#"{"password":1}"#).contains("expected a string"));
    }

    #[test]
    fn nothing_but_an_object_is_one() {
        for body in [r#"["p"]"#, r#"["p", "one"]"#, "[]", r#""p""#, "1", "true", "null"] {
            assert!(said(body).contains("a JSON object is expected"), "{body}: {}", said(body));
        }
        assert!(parse::<Sample>(br#" {"password":"p","kind":"one"} "#).is_ok());
    }

    #[test]
    fn s08_values_are_not_quoted() {
        for body in [
            r#"{"password":"p","kind":"hunter2, expected hunter2"}"#,
            r#"{"password":["hunter2"]}"#,
            r#""hunter2""#,
            r#"["p", "hunter2"]"#,
        ] {
            assert!(!said(body).contains("hunter2"), "{}", said(body));
        }
    }

    #[test]
    fn c04_types() {
        let is = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            is_type(&headers, "application/json")
        };
        assert!(is(&["application/json"]));
        assert!(is(&["Application/JSON; charset=utf-8"]));
        for wrong in [
            &[][..],
            &["text/plain"],
            &["application/x-www-form-urlencoded"],
            &["text/plain; application/json"],
            &["application/json", "text/plain"],
            &["application/jsonp"],
        ] {
            assert!(!is(wrong), "{wrong:?}");
        }
    }
}
