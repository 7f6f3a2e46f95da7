//! `[upstream.name]`.

use std::time::Duration;

use super::super::UpstreamRule;
use super::super::document::{Complaints, Table};
use super::duration;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

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
    if let Some(value) = table.get("dns") {
        table.complain(complaints, value.span().start, "dns is not there yet: list the endpoints");
    }
    let mut endpoints = Vec::new();
    match table.strings("endpoints", complaints) {
        Some((written, offset)) => {
            if written.is_empty() {
                table.complain(complaints, offset, "endpoints must name at least one");
            }
            for (text, offset) in written {
                match endpoint(text) {
                    Ok(address) => endpoints.push(address),
                    Err(wrong) => {
                        table.complain(complaints, offset, format_args!("endpoint {text:?} {wrong}"))
                    }
                }
            }
        }
        None if table.get("endpoints").is_none() && table.get("dns").is_none() => {
            table.complain(complaints, table.offset, "endpoints is missing");
        }
        None => {}
    }
    let mut timeout = DEFAULT_TIMEOUT;
    if let Some((text, offset)) = table.string("timeout", complaints) {
        match duration(text) {
            Some(read) if !read.is_zero() && read <= MAX_TIMEOUT => timeout = read,
            _ => table.complain(complaints, offset, "timeout must be a time such as \"30s\", at most 1h"),
        }
    }
    UpstreamRule { name: name.to_owned(), endpoints, timeout }
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
