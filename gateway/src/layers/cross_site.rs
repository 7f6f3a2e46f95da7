//! Whether a request that a browser authenticated by cookie was meant by the user: it says which site it comes
//! from, and that is this one or a listed one.
//!
//! `SameSite=Lax` alone does not do: a sibling host is the same site, and some browsers send young Lax cookies
//! with a top-level POST. The order is OWASP's: `Sec-Fetch-Site`, which scripts cannot set; else `Origin`; else
//! `Referer`; else nobody knows, and that is a refusal.

use http::header::{ORIGIN, REFERER, UPGRADE};
use http::{HeaderMap, HeaderName, Method};

use super::origin::Origin;
use crate::problem::{Code, catalogue};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins that may act for a user with a cookie.
#[derive(Clone, Debug)]
pub struct Sites {
    own: Origin,
    listed: Vec<Origin>,
}

impl Sites {
    pub fn new(own: Origin, listed: Vec<Origin>) -> Self {
        Self { own, listed }
    }

    /// Whether this origin was listed by the operator: it may also read answers (CORS).
    pub fn lists(&self, origin: &Origin) -> bool {
        self.listed.contains(origin)
    }

    pub fn lists_any(&self) -> bool {
        !self.listed.is_empty()
    }

    /// Whether a request changes something or opens a channel, and so must say where it comes from.
    pub fn concerns(method: &Method, headers: &HeaderMap) -> bool {
        !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
            || headers.contains_key(UPGRADE)
    }

    /// For a request with a cookie as its credential. `reached` is where the caller reached us: one gateway
    /// may serve several hosts, and each is its own site.
    pub fn check(&self, method: &Method, headers: &HeaderMap, reached: Option<&Origin>) -> Result<(), Code> {
        if !Self::concerns(method, headers) {
            return Ok(());
        }
        let origin = single(headers, ORIGIN);
        let trusted =
            |origin: &Origin| *origin == self.own || Some(origin) == reached || self.listed.contains(origin);
        match single(headers, SEC_FETCH_SITE) {
            Single::One("same-origin" | "none") => return Ok(()),
            // Another site, or a sibling: only if the operator listed it by name.
            Single::One(_) => {
                return match origin {
                    Single::One(text) if text.parse().is_ok_and(|origin| self.listed.contains(&origin)) => {
                        Ok(())
                    }
                    _ => Err(catalogue::CROSS_SITE),
                };
            }
            Single::Bad => return Err(catalogue::CROSS_SITE),
            Single::None => {}
        }
        let stated = match origin {
            Single::One(text) => text.parse(),
            Single::Bad => return Err(catalogue::CROSS_SITE),
            Single::None => match single(headers, REFERER) {
                Single::One(text) => Origin::of(text),
                Single::Bad => return Err(catalogue::CROSS_SITE),
                Single::None => return Err(catalogue::ORIGIN_REQUIRED),
            },
        };
        // `null` does not parse, and so is nobody's.
        if stated.is_ok_and(|origin| trusted(&origin)) { Ok(()) } else { Err(catalogue::CROSS_SITE) }
    }
}

enum Single<'a> {
    None,
    One(&'a str),
    /// Twice, or not text.
    Bad,
}

fn single(headers: &HeaderMap, name: HeaderName) -> Single<'_> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Single::None,
        (Some(value), None) => value.to_str().map_or(Single::Bad, Single::One),
        (Some(_), Some(_)) => Single::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn verdict(method: Method, headers: &[(&'static str, &str)]) -> Result<(), &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let sites = Sites::new(
            "https://app.example".parse().unwrap(),
            vec!["https://friend.example".parse().unwrap()],
        );
        let reached = "https://other.app.example".parse().unwrap();
        sites.check(&method, &map, Some(&reached)).map_err(Code::code)
    }

    #[test]
    fn table() {
        let ok = Ok(());
        let cross = Err("cross_site");
        let post = Method::POST;
        for (method, headers, expected) in [
            (Method::GET, &[("sec-fetch-site", "cross-site")][..], ok),
            (Method::HEAD, &[], ok),
            (post.clone(), &[], Err("origin_required")),
            (Method::GET, &[("upgrade", "websocket")], Err("origin_required")),
            (Method::GET, &[("upgrade", "websocket"), ("origin", "https://evil.example")], cross),
            (Method::GET, &[("upgrade", "websocket"), ("origin", "https://app.example")], ok),
            (post.clone(), &[("sec-fetch-site", "same-origin")], ok),
            (post.clone(), &[("sec-fetch-site", "none")], ok),
            (post.clone(), &[("sec-fetch-site", "same-site")], cross),
            (post.clone(), &[("sec-fetch-site", "cross-site")], cross),
            (post.clone(), &[("sec-fetch-site", "")], cross),
            (post.clone(), &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], cross),
            // A forged Origin beside it does not help.
            (post.clone(), &[("sec-fetch-site", "cross-site"), ("origin", "https://app.example")], cross),
            (post.clone(), &[("sec-fetch-site", "cross-site"), ("origin", "https://friend.example")], ok),
            (post.clone(), &[("origin", "https://app.example")], ok),
            (post.clone(), &[("origin", "https://other.app.example")], ok),
            (post.clone(), &[("origin", "https://friend.example")], ok),
            (post.clone(), &[("origin", "http://app.example")], cross),
            (post.clone(), &[("origin", "https://app.example:444")], cross),
            (post.clone(), &[("origin", "https://app.example.evil.example")], cross),
            (post.clone(), &[("origin", "null")], cross),
            (post.clone(), &[("origin", "null"), ("referer", "https://app.example/")], cross),
            (post.clone(), &[("referer", "https://app.example/form?x")], ok),
            (post.clone(), &[("referer", "https://evil.example/https://app.example/")], cross),
            (post.clone(), &[("referer", "about:blank")], cross),
            (Method::from_bytes(b"PROPFIND").unwrap(), &[], Err("origin_required")),
        ] {
            assert_eq!(verdict(method.clone(), headers), expected, "{method} {headers:?}");
        }
    }
}
