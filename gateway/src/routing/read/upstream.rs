//! `[upstream.name]`.

use std::time::Duration;

use http::uri::PathAndQuery;

use super::super::document::{Complaints, Table};
use super::super::{Addresses, Health, Protocol, UpstreamRule};
use super::duration;

const TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(3600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const LONGEST_CONNECT: Duration = Duration::from_secs(60);
const CONCURRENCY: usize = 1024;
const QUEUE: usize = 1024;
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const LONGEST_PROBE: Duration = Duration::from_secs(300);

/// Every upstream, also one with something wrong: a route that names it is not wrong for that.
pub(super) fn upstreams(top: &mut Table<'_>, complaints: &mut Complaints<'_>) -> Vec<UpstreamRule> {
    let Some(value) = top.get("upstream") else { return Vec::new() };
    let Some(tables) = value.get_ref().as_table() else {
        top.complain(complaints, value.span().start, "upstream must be tables: [upstream.name]");
        return Vec::new();
    };
    let mut read = Vec::new();
    for (name, value) in tables {
        let offset = name.span().start;
        let name: &str = name.get_ref();
        let Some(table) = value.get_ref().as_table() else {
            complaints.add(offset, format!("upstream {name}: must be a table: [upstream.{name}]"));
            continue;
        };
        let mut table = Table::new(format!("upstream {name}"), table, offset);
        read.push(upstream(name, &mut table, complaints));
        table.finish(complaints);
    }
    read
}

fn upstream(name: &str, table: &mut Table<'_>, complaints: &mut Complaints<'_>) -> UpstreamRule {
    UpstreamRule {
        name: name.to_owned(),
        addresses: addresses(table, complaints),
        protocol: protocol(table, complaints),
        timeout: time(table, "timeout", LONGEST, complaints).unwrap_or(TIMEOUT),
        connect_timeout: time(table, "connect_timeout", LONGEST_CONNECT, complaints)
            .unwrap_or(CONNECT_TIMEOUT),
        concurrency: table.count("concurrency", 1, complaints).unwrap_or(CONCURRENCY),
        queue: table.count("queue", 0, complaints).unwrap_or(QUEUE),
        health: health(table, complaints),
    }
}

fn addresses(table: &mut Table<'_>, complaints: &mut Complaints<'_>) -> Addresses {
    let name = table.string("dns", complaints);
    match (table.get("endpoints").is_some(), table.get("dns")) {
        (true, Some(value)) => {
            table.complain(complaints, value.span().start, "name either endpoints or dns, not both");
        }
        (false, None) => {
            table.complain(complaints, table.offset, "endpoints is missing (or dns)");
        }
        _ => {}
    }
    let mut endpoints = Vec::new();
    if let Some((written, offset)) = table.strings("endpoints", complaints) {
        if written.is_empty() {
            table.complain(complaints, offset, "endpoints must name at least one");
        }
        for (text, offset) in written {
            match endpoint(text) {
                Ok(address) if endpoints.contains(&address) => {
                    table.complain(complaints, offset, format_args!("endpoint {text:?} is there twice"));
                }
                Ok(address) => endpoints.push(address),
                Err(wrong) => table.complain(complaints, offset, format_args!("endpoint {text:?} {wrong}")),
            }
        }
    }
    let Some((text, offset)) = name else { return Addresses::Listed(endpoints) };
    if !is_name_and_port(text) {
        let wanted = format_args!("dns {text:?} must be a name and a port, such as \"echo.apps.svc:8080\"");
        table.complain(complaints, offset, wanted);
    }
    Addresses::Dns(text.to_owned())
}

fn protocol(table: &mut Table<'_>, complaints: &mut Complaints<'_>) -> Protocol {
    match table.string("protocol", complaints) {
        Some(("h2", _)) => Protocol::Http2,
        None | Some(("http/1.1", _)) => Protocol::Http1,
        Some((text, offset)) => {
            let wanted = format_args!("protocol {text:?} is not \"http/1.1\" or \"h2\"");
            table.complain(complaints, offset, wanted);
            Protocol::Http1
        }
    }
}

fn is_name_and_port(text: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.rsplit_once(':').is_some_and(|(name, port)| {
        !name.is_empty() && name.bytes().all(part) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn health(table: &mut Table<'_>, complaints: &mut Complaints<'_>) -> Option<Health> {
    let mut table = table.table("health", complaints)?;
    let path = match table.required("path", complaints) {
        Some((path, offset)) => {
            if !path.starts_with('/') || path.parse::<PathAndQuery>().is_err() {
                table.complain(
                    complaints,
                    offset,
                    format_args!("path {path:?} must be one such as /healthz"),
                );
            }
            path
        }
        None => "/",
    };
    let interval = time(&mut table, "interval", LONGEST_PROBE, complaints).unwrap_or(PROBE_INTERVAL);
    let timeout = time(&mut table, "timeout", LONGEST_PROBE, complaints).unwrap_or(PROBE_TIMEOUT);
    table.finish(complaints);
    Some(Health { path: path.to_owned(), interval, timeout })
}

/// A time above zero.
fn time(
    table: &mut Table<'_>,
    key: &'static str,
    longest: Duration,
    complaints: &mut Complaints<'_>,
) -> Option<Duration> {
    let (text, offset) = table.string(key, complaints)?;
    let time = duration(text).filter(|time| !time.is_zero() && *time <= longest);
    if time.is_none() {
        let longest = longest.as_secs();
        let wanted = format_args!("{key} must be a time such as \"3s\", above 0 and at most {longest}s");
        table.complain(complaints, offset, wanted);
    }
    time
}

/// `http://host:port`, as `host:port`.
fn endpoint(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|_| "is not a URL such as http://127.0.0.1:4001".to_owned())?;
    match url.scheme() {
        "http" => {}
        "https" => return Err("is https; TLS to applications is not there yet".to_owned()),
        _ => return Err("must begin with http://".to_owned()),
    }
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err("must be http://host:port and nothing more: paths come from the request".to_owned());
    }
    let host = url.host_str().ok_or("has no host")?;
    Ok(format!("{host}:{}", url.port().unwrap_or(80)))
}

#[cfg(test)]
mod tests;
