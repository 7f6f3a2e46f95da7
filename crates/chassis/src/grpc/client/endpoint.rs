//! Where a neighbour is, as written in the configuration: an address each, or a name that stands for many.

use std::net::{IpAddr, SocketAddr};

use http::Uri;

/// The port of a DNS server that is named without one.
const DNS_PORT: u16 = 53;

/// What one entry of a list of endpoints stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `https://host:port` or `http://host:port`: one replica.
    One { secure: bool, place: Place },
    /// `dns:host:port` (or gRPC's `dns://server/host:port`): a replica at every address of the name, as it changes.
    Every { server: Option<SocketAddr>, place: Place },
}

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// A name or an address; without brackets, as connecting wants it.
    pub(super) host: String,
    pub(super) port: u16,
}

/// The error continues a sentence that begins with the endpoint.
pub(crate) fn parse_target(text: &str) -> Result<Target, &'static str> {
    if let Some(name) = text.strip_prefix("dns:") {
        return parse_name(name);
    }
    let uri: Uri = text.parse().map_err(|_| "is not a URL such as https://127.0.0.1:7001")?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => {
            return Err("must begin with https:// (or http:// where tls.mode is \"external\"), or with dns:");
        }
    };
    let authority = uri.authority().ok_or("names no host")?;
    if authority.as_str().contains('@') {
        return Err("must not carry a user name");
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err("must end after the port");
    }
    let port = uri.port_u16().ok_or("must name a port")?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    Ok(Target::One { secure, place: Place { host, port } })
}

/// gRPC's name syntax: `host:port`, `///host:port` or `//server/host:port`.
fn parse_name(text: &str) -> Result<Target, &'static str> {
    let (server, name) = match text.strip_prefix("//") {
        None => ("", text),
        Some(rest) => rest.split_once('/').ok_or("must have the form dns://server/name:port")?,
    };
    let server = match server {
        "" => None,
        server => {
            let alone = || server.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, DNS_PORT));
            let server = server.parse().ok().or_else(alone);
            Some(server.ok_or("must name its DNS server by address, such as dns://10.0.0.10:53/auth:7001")?)
        }
    };
    let (host, port) = name.rsplit_once(':').ok_or("must name a port, as in dns:auth.internal:7001")?;
    let letter = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if host.is_empty() || !host.chars().all(letter) {
        return Err("must name a host, as in dns:auth.internal:7001");
    }
    let port = port.parse().map_err(|_| "must name a port, as in dns:auth.internal:7001")?;
    Ok(Target::Every { server, place: Place { host: host.to_owned(), port } })
}

impl Target {
    /// What is written must be what is done: `https` is never plain, and `http` never looks secured. A name that is
    /// looked up says neither.
    pub(crate) fn judge(&self, mutual: bool) -> Result<(), &'static str> {
        match self {
            Target::One { secure: false, .. } if mutual => {
                Err("must begin with https://, because tls.mode is \"mutual\"")
            }
            Target::One { secure: true, .. } if !mutual => {
                Err("must begin with http://, because tls.mode is \"external\"")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: &str, port: u16) -> Place {
        Place { host: host.to_owned(), port }
    }

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_a_port() {
        let one = |secure, host, port| Ok(Target::One { secure, place: place(host, port) });
        assert_eq!(parse_target("https://auth.internal:7001"), one(true, "auth.internal", 7001));
        assert_eq!(parse_target("http://[::1]:7001/"), one(false, "::1", 7001));
        for wrong in [
            "",
            "127.0.0.1:7001",
            "https://auth",
            "ftp://auth:1",
            "https://auth:7001/path",
            "https://auth:7001?x",
            "https://user@auth:7001",
            "https://auth:99999",
        ] {
            assert!(parse_target(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_may_say_who_knows_its_addresses() {
        let every = |server: Option<&str>| {
            let server = server.map(|server| server.parse().unwrap());
            Ok(Target::Every { server, place: place("auth.internal", 7001) })
        };
        assert_eq!(parse_target("dns:auth.internal:7001"), every(None));
        assert_eq!(parse_target("dns:///auth.internal:7001"), every(None));
        assert_eq!(parse_target("dns://10.0.0.10/auth.internal:7001"), every(Some("10.0.0.10:53")));
        assert_eq!(parse_target("dns://[::1]:5353/auth.internal:7001"), every(Some("[::1]:5353")));
        for wrong in
            ["dns:", "dns:auth", "dns::7001", "dns:a b:1", "dns://auth:1", "dns://ns/auth:1", "dns:a:x"]
        {
            assert!(parse_target(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn plain_and_secure_are_not_mixed_up() {
        let judge = |text, mutual| parse_target(text).unwrap().judge(mutual);
        assert!(judge("https://a:1", true).is_ok());
        assert!(judge("http://a:1", true).is_err());
        assert!(judge("https://a:1", false).is_err());
        assert!(judge("http://a:1", false).is_ok());
        assert!(judge("dns:a:1", true).is_ok());
        assert!(judge("dns:a:1", false).is_ok());
    }
}
