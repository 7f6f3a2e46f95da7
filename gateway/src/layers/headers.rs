//! Which headers go on, in both directions (O23).
//!
//! Applications believe `X-Latchkey-*` and the forwarding headers, so what a client sends under those names, in any
//! spelling that some application server could take for them, goes first. `Connection` can name headers to be
//! dropped; it is followed before ours are added, so it can never name ours away.

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE, TE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cookies::{self, Remaining};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What becomes of the credential that a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The route says so.
    Pass,
    /// Ours goes: cookies of our names, and `Authorization`.
    Strip,
    /// None was read. Cookies of our names go and so does a bearer token, which may be ours; other schemes are the
    /// application's own affair.
    StripOurs,
}

/// What travels with a request for traces (W3C), and is believed of a trusted proxy only.
pub const TRACE_CONTEXT: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// Takes from a request what must not reach an application. `traced` is whether the caller's trace is believed.
pub fn clean_request(headers: &mut HeaderMap, credential: Credential, traced: bool) {
    remove(headers, |name| match name {
        "keep-alive"
        | "proxy-connection"
        | "proxy-authorization"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "expect"
        | "http2-settings"
        | "forwarded" => true,
        "traceparent" | "tracestate" => !traced,
        _ => is_reserved(name),
    });
    match credential {
        Credential::Pass => join_cookies(headers),
        Credential::Strip => {
            headers.remove(AUTHORIZATION);
            strip_cookies(headers);
        }
        Credential::StripOurs => {
            if headers.get_all(AUTHORIZATION).iter().any(is_bearer) {
                headers.remove(AUTHORIZATION);
            }
            strip_cookies(headers);
        }
    }
}

/// Takes from an answer what is between the application and us, and what only we may say.
pub fn clean_response(headers: &mut HeaderMap) {
    remove(headers, |name| {
        matches!(
            name,
            "keep-alive"
                | "proxy-connection"
                | "proxy-authenticate"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        ) || spelled(name, "x-latchkey-")
    });
    if headers.contains_key(SET_COOKIE) {
        drop_our_cookies(headers);
    }
}

/// Whether a client says that it reads trailers. Said anew to the next hop, since `TE` is about this one.
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// Takes from a request's trailers what could be taken for a header that it may not send.
pub fn clean_request_trailers(trailers: &mut HeaderMap) {
    clean_request(trailers, Credential::Strip, false);
    for name in [HOST, CONTENT_LENGTH, COOKIE] {
        trailers.remove(name);
    }
}

/// Takes from an answer's trailers what only we may say, and what has no place in trailers.
pub fn clean_response_trailers(trailers: &mut HeaderMap) {
    clean_response(trailers);
    for name in [SET_COOKIE, CONTENT_LENGTH] {
        trailers.remove(name);
    }
}

/// Removes `Connection`, what it names and what is unwanted. One pass over the names; nothing is allocated where there is none of them but a plain `Connection`.
fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let mut found: Vec<HeaderName> = Vec::new();
    let mut connection = false;
    for name in headers.keys() {
        if *name == CONNECTION {
            connection = true;
        } else if unwanted(name.as_str()) {
            found.push(name.clone());
        }
    }
    if connection {
        found.extend(named_by_connection(headers));
        headers.remove(CONNECTION);
    }
    for name in found {
        headers.remove(name);
    }
}

/// Headers that `Connection` says are for this hop only (RFC 9110 §7.6.1), less those that nobody may take away.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        // Most say this, and there is nothing to drop: `Keep-Alive` goes anyway.
        .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect()
}

/// Names that only the gateway may use towards an application.
fn is_reserved(name: &str) -> bool {
    let mut first = name.bytes();
    if first.next() != Some(b'x') || first.next().is_none_or(|second| second.is_ascii_alphanumeric()) {
        return false;
    }
    spelled(name, "x-latchkey-")
        || spelled(name, "x-forwarded-")
        || (spelled(name, "x-real-ip") && name.len() == 9)
        || (spelled(name, "x-request-id") && name.len() == 12)
}

/// Whether a name begins with `start`, where every punctuation counts as a hyphen: CGI and its heirs make one
/// variable of `X-A`, `X_A` and some of `X.A`. Names are lowercase here.
fn spelled(name: &str, start: &str) -> bool {
    name.len() >= start.len()
        && name.bytes().zip(start.bytes()).all(|(byte, expected)| {
            if expected == b'-' { !byte.is_ascii_alphanumeric() } else { byte == expected }
        })
}

fn is_bearer(value: &HeaderValue) -> bool {
    let scheme = value.as_bytes().trim_ascii_start().get(..6).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"bearer")
}

fn strip_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    match (lines.next(), lines.next()) {
        (None, _) => {}
        (Some(line), None) => match cookies::without_ours(line) {
            Remaining::Untouched => {}
            Remaining::Changed(rest) => {
                headers.insert(COOKIE, rest);
            }
            Remaining::Nothing => {
                headers.remove(COOKIE);
            }
        },
        (Some(_), Some(_)) => {
            join_cookies(headers);
            strip_cookies(headers);
        }
    }
}

/// HTTP/2 may split cookies over several lines; HTTP/1 may not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() < 2 {
        return;
    }
    match HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        Ok(joined) => headers.insert(COOKIE, joined),
        // Parts of valid values are valid; were they not, none is the safe side.
        Err(_) => headers.remove(COOKIE),
    };
}

/// An application may not set our cookies: it could log its user in as somebody else, here.
fn drop_our_cookies(headers: &mut HeaderMap) {
    let ours = |value: &HeaderValue| cookies::without_ours(value) != Remaining::Untouched;
    if !headers.get_all(SET_COOKIE).iter().any(ours) {
        return;
    }
    let kept: Vec<HeaderValue> =
        headers.get_all(SET_COOKIE).iter().filter(|value| !ours(value)).cloned().collect();
    headers.remove(SET_COOKIE);
    for value in kept {
        headers.append(SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn o23_nothing_of_ours_from_a_client() {
        let mut headers = map(&[
            ("host", "a"),
            ("accept", "*/*"),
            ("x-latchkey-roles", "admin"),
            ("X-LATCHKEY-ROLES", "admin"),
            ("x_latchkey_roles", "admin"),
            ("x-latchkey_roles", "admin"),
            ("x.latchkey.subject", "root"),
            ("x-latchkey-anything", "1"),
            ("forwarded", "for=1.1.1.1"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x_forwarded_for", "1.1.1.1"),
            ("x-forwarded-port", "1"),
            ("x-real-ip", "1.1.1.1"),
            ("x_real_ip", "1.1.1.1"),
            ("x-request-id", "mine"),
            ("x_request_id", "mine"),
            ("traceparent", "00-1"),
            ("te", "gzip"),
            ("keep-alive", "1"),
            ("x-requested-with", "fetch"),
            ("xlatchkey", "kept"),
        ]);
        clean_request(&mut headers, Credential::Strip, false);
        assert_eq!(names(&headers), ["accept", "host", "x-requested-with", "xlatchkey"]);
    }

    #[test]
    fn o23_connection_names_go_but_not_the_frame() {
        let mut headers = map(&[
            ("host", "a"),
            ("content-length", "3"),
            ("connection", "x-mine, Host , content-length"),
            ("connection", "close, bad name, x-latchkey-roles"),
            ("x-mine", "1"),
            ("x-other", "1"),
        ]);
        clean_request(&mut headers, Credential::Strip, true);
        assert_eq!(names(&headers), ["content-length", "host", "x-other"]);
    }

    #[test]
    fn credentials() {
        let request = &[
            ("authorization", "Bearer x"),
            ("cookie", "a=1; latchkey-session=s"),
            ("cookie", "__Host-latchkey-token=t; b=2"),
        ][..];
        let mut headers = map(request);
        clean_request(&mut headers, Credential::Strip, false);
        assert_eq!(names(&headers), ["cookie"]);
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        let mut headers = map(request);
        clean_request(&mut headers, Credential::Pass, false);
        assert_eq!(names(&headers), ["authorization", "cookie"]);
        let mut headers = map(&[("authorization", "bearer x")]);
        clean_request(&mut headers, Credential::StripOurs, false);
        assert!(headers.is_empty());
        let mut headers = map(&[("authorization", "Basic YTpi")]);
        clean_request(&mut headers, Credential::StripOurs, false);
        assert_eq!(names(&headers), ["authorization"]);
    }

    #[test]
    fn answers() {
        let mut headers = map(&[
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("x-latchkey-roles", "admin"),
            ("set-cookie", "a=1; Path=/"),
            ("set-cookie", "__Host-latchkey-session=mine; Path=/; Secure"),
            ("x-kept", "1"),
        ]);
        clean_response(&mut headers);
        assert_eq!(names(&headers), ["set-cookie", "x-kept"]);
        assert_eq!(headers.get_all("set-cookie").iter().count(), 1);
    }
}
