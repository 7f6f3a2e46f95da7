//! Where a neighbour is, as written in the configuration.

use http::Uri;

/// A parsed `https://host:port` or `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    secure: bool,
    /// Without brackets, as connecting wants it.
    pub(super) host: String,
    pub(super) port: u16,
    authority: String,
}

/// The error continues a sentence that begins with the endpoint.
pub(crate) fn parse_endpoint(text: &str) -> Result<Endpoint, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "is not a URL such as https://127.0.0.1:7001")?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err("must begin with https:// (or http:// where tls.mode is \"external\")"),
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
    Ok(Endpoint { secure, host, port, authority: authority.to_string() })
}

impl Endpoint {
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// What is written must be what is done: `https` is never plain, and `http` never looks secured.
    pub(super) fn judge(&self, mutual: bool) -> Result<(), &'static str> {
        match (self.secure, mutual) {
            (false, true) => Err("must begin with https://, because tls.mode is \"mutual\""),
            (true, false) => Err("must begin with http://, because tls.mode is \"external\""),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_a_port() {
        let endpoint = parse_endpoint("https://auth.internal:7001").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("auth.internal", 7001));
        assert_eq!(parse_endpoint("http://[::1]:7001/").unwrap().host, "::1");
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
            assert!(parse_endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn plain_and_secure_are_not_mixed_up() {
        assert!(parse_endpoint("https://a:1").unwrap().judge(true).is_ok());
        assert!(parse_endpoint("http://a:1").unwrap().judge(true).is_err());
        assert!(parse_endpoint("https://a:1").unwrap().judge(false).is_err());
        assert!(parse_endpoint("http://a:1").unwrap().judge(false).is_ok());
    }
}
