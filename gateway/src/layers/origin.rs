//! Web origins (RFC 6454): scheme, host and port, in one normal spelling, so that two can be compared as text.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// `http://host` or `https://host`, with `:port` where it is not the scheme's own. Never `null`.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin {
    text: String,
    https: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an origin: write `https://host` or `https://host:port`, without a path")]
pub struct NotAnOrigin;

impl Origin {
    /// Of a URL, which may have a path: a `Referer`, or our own address.
    pub fn of(url: &str) -> Result<Self, NotAnOrigin> {
        let url = url::Url::parse(url).map_err(|_| NotAnOrigin)?;
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(NotAnOrigin),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotAnOrigin);
        }
        // A star is a valid character of a URL's host and of nobody's name: whoever writes one means a pattern.
        if url.host_str().is_none_or(|host| host.contains('*')) {
            return Err(NotAnOrigin);
        }
        Ok(Self { text: url.origin().ascii_serialization(), https })
    }

    /// Of the scheme and the `Host` (or `:authority`) under which a request came in.
    pub fn reached(https: bool, host: &str) -> Result<Self, NotAnOrigin> {
        if host.contains(['/', '?', '#', '@', '\\']) {
            return Err(NotAnOrigin);
        }
        Self::of(&format!("{}://{host}", if https { "https" } else { "http" }))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn is_https(&self) -> bool {
        self.https
    }
}

/// As in an `Origin` header or in configuration: nothing after the port.
impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let after_scheme = text.split_once("://").ok_or(NotAnOrigin)?.1;
        if after_scheme.contains(['/', '?', '#', '\\']) {
            return Err(NotAnOrigin);
        }
        Self::of(text)
    }
}

impl TryFrom<String> for Origin {
    type Error = NotAnOrigin;

    fn try_from(text: String) -> Result<Self, NotAnOrigin> {
        text.parse()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        for text in ["https://App.Example", "https://app.example:443", "https://APP.EXAMPLE"] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), "https://app.example");
        }
        assert_eq!("http://127.0.0.1:8080".parse::<Origin>().unwrap().as_str(), "http://127.0.0.1:8080");
        assert_eq!(Origin::of("https://a.example/x?y").unwrap().as_str(), "https://a.example");
        assert_eq!(Origin::reached(false, "a.example:80").unwrap().as_str(), "http://a.example");
    }

    #[test]
    fn refused() {
        for text in [
            "null",
            "",
            "a.example",
            "ftp://a.example",
            "https://",
            "https://a.example/",
            "https://a/b",
            "https://u@a.example",
            "https://a?b",
            "file:///etc",
            "https://a\\b",
            "https://*.a.example",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
        assert!(Origin::reached(true, "a@b").is_err());
        assert!(Origin::reached(true, "a/b").is_err());
    }
}
