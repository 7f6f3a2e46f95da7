//! What the keys of a route file mean. What this version cannot honour is refused, never ignored: a rule that is
//! read and not kept is a door that somebody believes closed.

mod require;
mod upstream;

use std::time::Duration;

use http::Method;
use toml::de::{DeTable, DeValue};

use super::document::{Complaints, Table};
use super::{Accept, Complaint, Host, Pattern, Route, UpstreamRule};
use require::require;
use upstream::upstreams;

/// Reads everything that can be read, and says what could not.
pub(super) fn read(text: &str) -> (Vec<UpstreamRule>, Vec<Route>, Vec<Complaint>) {
    let mut complaints = Complaints::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        complaints.add(error.span().map_or(0, |span| span.start), format!("not TOML: {}", error.message()));
    }
    let mut top = Table::new("route file", document.get_ref(), 0);
    let upstreams = upstreams(&mut top, &mut complaints);
    let routes = routes(&mut top, &upstreams, &mut complaints);
    top.finish(&mut complaints);
    (upstreams, routes, complaints.list)
}

fn routes(top: &mut Table<'_>, upstreams: &[UpstreamRule], complaints: &mut Complaints<'_>) -> Vec<Route> {
    let Some(value) = top.get("route") else { return Vec::new() };
    let Some(list) = value.get_ref().as_array() else {
        top.complain(complaints, value.span().start, "route must be a list of tables: [[route]]");
        return Vec::new();
    };
    let mut routes = Vec::new();
    for (number, value) in list.iter().enumerate() {
        let Some(table) = value.get_ref().as_table() else {
            complaints.add(value.span().start, "route must be a list of tables: [[route]]");
            continue;
        };
        let mut table = Table::new(format!("route {}", number + 1), table, value.span().start);
        routes.extend(route(&mut table, upstreams, complaints));
        table.finish(complaints);
    }
    routes
}

/// None where there is no usable path or upstream; what else is wrong leaves a stand-in, and a complaint.
fn route(
    table: &mut Table<'_>,
    upstreams: &[UpstreamRule],
    complaints: &mut Complaints<'_>,
) -> Option<Route> {
    let line = complaints.line(table.offset);
    let path = table.required("path", complaints);
    if let Some((text, _)) = path {
        table.rename(format!("route {text}"));
    }
    let pattern = path.and_then(|(text, offset)| match Pattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(wrong) => {
            table.complain(complaints, offset, format_args!("path {wrong}"));
            None
        }
    });
    let host = host(table, complaints);
    let methods = methods(table, complaints);
    let accept = accept(table, complaints);
    let require = require(table, pattern.as_ref(), accept.is_empty(), complaints);
    let upstream = table.required("upstream", complaints).and_then(|(name, offset)| {
        let found = upstreams.iter().position(|upstream| upstream.name == name);
        if found.is_none() {
            table.complain(complaints, offset, format_args!("there is no [upstream.{name}]"));
        }
        found
    });
    let strip = strip(table, pattern.as_ref(), complaints);
    let identity = identity(table, complaints);
    let pass_credential = table.boolean("pass_credential", complaints).unwrap_or(false);
    let allow_encoded_slash = table.boolean("allow_encoded_slash", complaints).unwrap_or(false);
    let body_bytes = body_bytes(table, complaints);
    let stale_for = stale_for(table, complaints);
    not_yet(table, complaints);
    Some(Route {
        pattern: pattern?,
        host,
        methods,
        accept,
        require,
        upstream: upstream?,
        strip,
        identity,
        pass_credential,
        allow_encoded_slash,
        body_bytes,
        stale_for,
        line,
    })
}

fn host(table: &mut Table<'_>, complaints: &mut Complaints<'_>) -> Host {
    let Some((text, offset)) = table.string("host", complaints) else { return Host::Any };
    if text == "*" {
        return Host::Any;
    }
    let (suffix, wildcard) = match text.strip_prefix("*.") {
        Some(suffix) => (suffix, true),
        None => (text, false),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
    };
    if !suffix.split('.').all(label) {
        table.complain(
            complaints,
            offset,
            format_args!("host {text:?} must be a lowercase name without port, *.name, or *"),
        );
    }
    if wildcard { Host::Below(format!(".{suffix}")) } else { Host::Exact(suffix.to_owned()) }
}

fn methods(table: &mut Table<'_>, complaints: &mut Complaints<'_>) -> Option<Vec<Method>> {
    let (written, offset) = table.strings("methods", complaints)?;
    if written.is_empty() {
        table.complain(complaints, offset, "methods is empty: leave it out for every method");
    }
    let mut methods = Vec::new();
    for (name, offset) in written {
        match Method::from_bytes(name.as_bytes()) {
            Ok(method @ (Method::CONNECT | Method::TRACE)) => {
                table.complain(complaints, offset, format_args!("the method {method} is never passed on"))
            }
            // Methods are case-sensitive: `get` would never match.
            Ok(method) if name.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte)) => {
                methods.push(method);
            }
            _ => table.complain(
                complaints,
                offset,
                format_args!("{name:?} is not a method; write it like GET"),
            ),
        }
    }
    Some(methods)
}

fn accept(table: &mut Table<'_>, complaints: &mut Complaints<'_>) -> Vec<Accept> {
    let mut accept = Vec::new();
    // No default: whether a path is open is too much to leave to a forgotten line.
    if table.get("accept").is_none() {
        table.complain(complaints, table.offset, "accept is missing: [] makes the route open to everybody");
    }
    for (name, offset) in table.strings("accept", complaints).unwrap_or_default().0 {
        let kind = match name {
            "token" => Accept::Token,
            "session" => Accept::Session,
            "api-key" => Accept::ApiKey,
            _ => {
                table.complain(
                    complaints,
                    offset,
                    format_args!("accept has {name:?}; known are token, session, api-key"),
                );
                continue;
            }
        };
        if accept.contains(&kind) {
            table.complain(complaints, offset, format_args!("accept has {name:?} twice"));
        } else {
            accept.push(kind);
        }
    }
    accept
}

/// How many bytes are taken off the path.
fn strip(table: &mut Table<'_>, pattern: Option<&Pattern>, complaints: &mut Complaints<'_>) -> usize {
    let Some((text, offset)) = table.string("strip_prefix", complaints) else { return 0 };
    let Some(pattern) = pattern else { return 0 };
    let follows = pattern.prefix().strip_prefix(text).is_some_and(|rest| rest.starts_with('/'));
    if !text.starts_with('/') || text.ends_with('/') || !follows {
        table.complain(
            complaints,
            offset,
            format_args!(
                "strip_prefix {text:?} must be whole literal segments at the front of the path, such as /app"
            ),
        );
        return 0;
    }
    text.len()
}

fn identity(table: &mut Table<'_>, complaints: &mut Complaints<'_>) -> bool {
    let Some((text, offset)) = table.string("identity", complaints) else { return true };
    match text {
        "headers" => true,
        "none" => false,
        "headers+jwt" => {
            table.complain(
                complaints,
                offset,
                "identity \"headers+jwt\" is not there yet: \"headers\" or \"none\"",
            );
            true
        }
        _ => {
            table.complain(
                complaints,
                offset,
                format_args!("identity {text:?} is not \"headers\" or \"none\""),
            );
            true
        }
    }
}

fn body_bytes(table: &mut Table<'_>, complaints: &mut Complaints<'_>) -> Option<u64> {
    let value = table.get("body_bytes")?;
    let read = match value.get_ref() {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        DeValue::String(text) if text == "unlimited" => Some(u64::MAX),
        _ => None,
    };
    if read.is_none() {
        let wanted = "body_bytes must be a number of bytes, or \"unlimited\" for streams";
        table.complain(complaints, value.span().start, wanted);
    }
    read
}

fn duration(text: &str) -> Option<Duration> {
    #[derive(serde::Deserialize)]
    #[serde(transparent)]
    struct Written(#[serde(with = "humantime_serde")] Duration);
    let reader = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
    <Written as serde::Deserialize>::deserialize(reader).ok().map(|written| written.0)
}

/// The longest that is taken for anything but a slip.
const LONGEST_STALE: Duration = Duration::from_secs(24 * 60 * 60);

fn stale_for(table: &mut Table<'_>, complaints: &mut Complaints<'_>) -> Duration {
    let Some((text, offset)) = table.string("stale_for", complaints) else { return Duration::ZERO };
    match duration(text) {
        Some(stale_for) if stale_for <= LONGEST_STALE => return stale_for,
        Some(_) => {
            table.complain(complaints, offset, format_args!("stale_for {text:?} is longer than a day"))
        }
        None => table.complain(
            complaints,
            offset,
            format_args!("stale_for {text:?} is not a time such as \"0s\", which is exact, or \"10m\""),
        ),
    }
    Duration::ZERO
}

/// Keys whose default can be written down, and nothing else yet.
fn not_yet(table: &mut Table<'_>, complaints: &mut Complaints<'_>) {
    if let Some((text, offset)) = table.string("on_unauthenticated", complaints) {
        match text {
            "401" => {}
            "login" => {
                table.complain(complaints, offset, "on_unauthenticated \"login\" is not there yet: \"401\"")
            }
            _ => {
                table.complain(complaints, offset, format_args!("on_unauthenticated {text:?} is not \"401\""))
            }
        }
    }
}
