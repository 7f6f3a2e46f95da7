//! Where a request comes from, as far as that can be believed.
//!
//! Anybody can write `X-Forwarded-For`. Only proxies that the operator listed are believed, and of what they
//! forward only the right-most address that is not itself such a proxy: what stands left of it is the client's
//! own word.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The networks of `trusted_proxies`.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// What a trusted proxy says about the request that it forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded<'a> {
    pub client: IpAddr,
    pub https: Option<bool>,
    pub host: Option<&'a str>,
}

impl TrustedProxies {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether what this neighbour forwards is believed.
    pub fn include(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&peer))
    }

    /// For a request from a neighbour that is [included](Self::include).
    pub fn forwarded<'a>(&self, peer: IpAddr, headers: &'a HeaderMap) -> Forwarded<'a> {
        Forwarded { client: self.client(peer, headers), https: proto(headers), host: host(headers) }
    }

    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut believed = peer;
        let lines: Vec<&str> =
            headers.get_all(FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("?")).collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            // A hop that makes no sense ends the chain: what is left of it was not written by a proxy of ours.
            let Some(address) = address(hop.trim()) else { break };
            believed = address;
            if !self.include(address) {
                break;
            }
        }
        believed
    }
}

/// Of `1.2.3.4`, `1.2.3.4:5`, `2001:db8::1` and `[2001:db8::1]:5`.
fn address(text: &str) -> Option<IpAddr> {
    let parsed = text
        .parse()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    // ::ffff:10.0.0.1 is 10.0.0.1, which is how networks are written.
    Some(IpAddr::to_canonical(&parsed))
}

fn proto(headers: &HeaderMap) -> Option<bool> {
    match last(headers, &FORWARDED_PROTO)? {
        text if text.eq_ignore_ascii_case("https") => Some(true),
        text if text.eq_ignore_ascii_case("http") => Some(false),
        _ => None,
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    last(headers, &FORWARDED_HOST)
        .filter(|host| host.parse::<http::uri::Authority>().is_ok() && !host.contains('@'))
}

/// The nearest proxy's word.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let text = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    Some(text.rsplit(',').next().unwrap_or(text).trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        trusted.forwarded(peer.parse().unwrap(), &headers).client.to_string()
    }

    #[test]
    fn right_most_untrusted_hop() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.7"]), "203.0.113.7");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 203.0.113.7"]), "203.0.113.7");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 203.0.113.7, 10.2.0.1"]), "203.0.113.7");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "203.0.113.7", "10.2.0.1"]), "203.0.113.7");
        assert_eq!(client("10.0.0.1", &["10.3.0.1, 10.2.0.1"]), "10.3.0.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, nonsense, 10.2.0.1"]), "10.2.0.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, nonsense"]), "10.0.0.1");
        assert_eq!(client("fd00::1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["203.0.113.7:81, ::ffff:10.1.1.1"]), "203.0.113.7");
    }

    #[test]
    fn proto_and_host() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_PROTO, HeaderValue::from_static("http, HTTPS"));
        headers.append(FORWARDED_HOST, HeaderValue::from_static("app.example:8443"));
        let forwarded = trusted.forwarded("10.0.0.1".parse().unwrap(), &headers);
        assert_eq!((forwarded.https, forwarded.host), (Some(true), Some("app.example:8443")));
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("gopher"));
        headers.insert(FORWARDED_HOST, HeaderValue::from_static("a b"));
        let forwarded = trusted.forwarded("10.0.0.1".parse().unwrap(), &headers);
        assert_eq!((forwarded.https, forwarded.host), (None, None));
    }
}
