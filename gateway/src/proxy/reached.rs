//! What a request says about how it got here, as far as that is believed.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};

use crate::layers::headers::REQUEST_ID;
use crate::layers::origin::Origin;
use crate::problem::{Problem, catalogue};

/// The client's own request id is echoed up to this length.
const ECHOED_BYTES: usize = 128;

/// From where and how a request reached us, as far as believed.
pub(super) struct Reached<'a> {
    pub(super) client: IpAddr,
    pub(super) https: bool,
    pub(super) host: Cow<'a, str>,
}

impl Reached<'_> {
    pub(super) fn origin(&self) -> Option<Origin> {
        Origin::reached(self.https, &self.host).ok()
    }
}

/// The host that a request is for. HTTP/2 names it in `:authority`, HTTP/1 in `Host`, and a request may name it in its
/// target as well; two that differ are two readings.
pub(super) fn host(parts: &Parts) -> Result<&str, Problem> {
    let invalid = |detail: &'static str| Problem::new(catalogue::HOST_INVALID).detail(detail);
    let mut hosts = parts.headers.get_all(HOST).iter();
    let header = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => Some(host.to_str().map_err(|_| invalid("The Host header is not a host."))?),
        (Some(_), Some(_)) => return Err(invalid("There is more than one Host header.")),
    };
    let named = match (parts.uri.authority(), header) {
        (Some(authority), Some(host)) if !authority.as_str().eq_ignore_ascii_case(host) => {
            return Err(invalid("The target and the Host header name two hosts."));
        }
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host,
        // HTTP/1.0 may have none; of the others the connection has seen to it.
        (None, None) if parts.version == Version::HTTP_10 => "",
        (None, None) => return Err(invalid("The host is missing.")),
    };
    if named.contains('@') {
        return Err(invalid("The host has a user in it."));
    }
    Ok(named)
}

/// The client's own request id, where it is one.
pub(super) fn echoed(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(REQUEST_ID)?;
    let fit = value.len() <= ECHOED_BYTES && value.as_bytes().iter().all(u8::is_ascii_graphic);
    (fit && !value.is_empty()).then(|| value.clone())
}

pub(super) fn address_header(address: IpAddr) -> HeaderValue {
    HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}
