//! The gateway's own cookies: their names and attributes, reading them without being fooled, and keeping them
//! from the applications behind.
//!
//! Browsers match the `__Host-` prefix without regard to case, servers usually do not; so a sibling host could
//! set `__HOST-…` and be believed (RFC 6265bis §4.1.3, §5.7). Here two cookies of one name, or one in another
//! case, are nobody's credential.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// Names without a prefix: for plain HTTP on loopback, where browsers refuse prefixed ones.
const BARE: Names =
    Names { session: "latchkey-session", token: "latchkey-token", refresh: "latchkey-refresh" };

const PREFIXED: Names = Names {
    session: "__Host-latchkey-session",
    token: "__Host-latchkey-token",
    // Not `__Host-`: that prefix demands Path=/, and a refresh token is nobody else's business.
    refresh: "__Secure-latchkey-refresh",
};

struct Names {
    session: &'static str,
    token: &'static str,
    refresh: &'static str,
}

/// What a request carries under one of our names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented<'a> {
    None,
    One(&'a str),
    /// Two of the name, or one that differs in case only.
    Ambiguous,
}

/// How this gateway's cookies look.
#[derive(Clone, Debug)]
pub struct Cookies {
    secure: bool,
    refresh_path: String,
}

impl Cookies {
    /// `secure` is false for a plain-HTTP `public_url` on loopback only. `prefix` is where the own paths were
    /// moved to, e.g. `/auth`; empty where they were not.
    pub fn new(secure: bool, prefix: &str) -> Self {
        Self { secure, refresh_path: format!("{prefix}/v1/refresh") }
    }

    fn names(&self) -> &'static Names {
        if self.secure { &PREFIXED } else { &BARE }
    }

    pub fn session_name(&self) -> &'static str {
        self.names().session
    }

    pub fn token_name(&self) -> &'static str {
        self.names().token
    }

    pub fn refresh_name(&self) -> &'static str {
        self.names().refresh
    }

    pub fn session<'a>(&self, headers: &'a HeaderMap) -> Presented<'a> {
        find(headers, self.names().session)
    }

    pub fn token<'a>(&self, headers: &'a HeaderMap) -> Presented<'a> {
        find(headers, self.names().token)
    }

    pub fn refresh<'a>(&self, headers: &'a HeaderMap) -> Presented<'a> {
        find(headers, self.names().refresh)
    }

    /// No `Max-Age`: it goes with the browser; how long it lives is session-service's to say.
    pub fn set_session(&self, secret: &str) -> Option<HeaderValue> {
        self.set(self.names().session, secret, "/", None)
    }

    pub fn set_token(&self, token: &str, lives: Duration) -> Option<HeaderValue> {
        self.set(self.names().token, token, "/", Some(lives))
    }

    pub fn set_refresh(&self, token: &str, lives: Duration) -> Option<HeaderValue> {
        self.set(self.names().refresh, token, &self.refresh_path, Some(lives))
    }

    pub fn expire_session(&self) -> Option<HeaderValue> {
        self.set(self.names().session, "", "/", Some(Duration::ZERO))
    }

    pub fn expire_token(&self) -> Option<HeaderValue> {
        self.set(self.names().token, "", "/", Some(Duration::ZERO))
    }

    pub fn expire_refresh(&self) -> Option<HeaderValue> {
        self.set(self.names().refresh, "", &self.refresh_path, Some(Duration::ZERO))
    }

    /// `Set-Cookie` values that make a browser forget all of ours.
    pub fn expire_all(&self) -> Vec<HeaderValue> {
        [self.expire_session(), self.expire_token(), self.expire_refresh()].into_iter().flatten().collect()
    }

    /// Lax, not Strict: a link from elsewhere to a page behind the gateway should find the user logged in.
    fn set(&self, name: &str, value: &str, path: &str, lives: Option<Duration>) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let age = lives.map(|lives| format!("; Max-Age={}", lives.as_secs())).unwrap_or_default();
        let mut line = HeaderValue::from_str(&format!(
            "{name}={value}; Path={path}; HttpOnly; SameSite=Lax{secure}{age}"
        ))
        .ok()?;
        line.set_sensitive(true);
        Some(line)
    }
}

fn find<'a>(headers: &'a HeaderMap, name: &str) -> Presented<'a> {
    let mut found = Presented::None;
    for (candidate, value) in headers.get_all(COOKIE).iter().flat_map(|line| pairs(line.as_bytes())) {
        if !candidate.eq_ignore_ascii_case(name.as_bytes()) {
            continue;
        }
        let value = std::str::from_utf8(value).ok();
        found = match (found, value) {
            (Presented::None, Some(value)) if candidate == name.as_bytes() => Presented::One(value),
            _ => return Presented::Ambiguous,
        };
    }
    found
}

/// Name and value of each cookie of one header line.
fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|byte| *byte == b';').filter_map(|pair| {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(equals)?;
        Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
    })
}

/// Whether a cookie of this name is ours, in any case, with or without prefix.
fn ours(name: &[u8]) -> bool {
    [&PREFIXED, &BARE]
        .into_iter()
        .flat_map(|names| [names.session, names.token, names.refresh])
        .any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

/// What remains of a `Cookie` value for an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remaining {
    /// None of ours in it: forward as it is.
    Untouched,
    /// Without ours.
    Changed(HeaderValue),
    /// Nothing but ours: drop the header.
    Nothing,
}

/// Takes our cookies out of one `Cookie` header value; the others keep their bytes and order.
pub fn without_ours(line: &HeaderValue) -> Remaining {
    let is_ours = |pair: &[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or(pair);
        ours(name.trim_ascii())
    };
    let parts = || line.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if !parts().any(is_ours) {
        return Remaining::Untouched;
    }
    let mut kept = BytesMut::with_capacity(line.len());
    for pair in parts().filter(|pair| !pair.is_empty() && !is_ours(pair)) {
        if !kept.is_empty() {
            kept.put_slice(b"; ");
        }
        kept.put_slice(pair);
    }
    if kept.is_empty() {
        return Remaining::Nothing;
    }
    // Parts of a valid value are valid; were they not, dropping the header is the safe side.
    HeaderValue::from_maybe_shared(Bytes::from(kept)).map_or(Remaining::Nothing, Remaining::Changed)
}

#[cfg(test)]
mod tests;
