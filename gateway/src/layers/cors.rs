//! Cross-origin reads (CORS) for the origins that the operator listed, with credentials, and for nobody else.
//!
//! Without it a listed origin could send requests and not read the answers. A wildcard never appears: with
//! credentials it would mean everybody.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

use super::cross_site::Sites;

/// A listed origin, as it wrote itself.
#[derive(Clone, Debug)]
pub struct Reader(HeaderValue);

/// The listed origin that a request comes from.
pub fn reader(sites: &Sites, headers: &HeaderMap) -> Option<Reader> {
    if !sites.lists_any() {
        return None;
    }
    let mut values = headers.get_all(ORIGIN).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let origin = value.to_str().ok()?.parse().ok()?;
    sites.lists(&origin).then(|| Reader(value.clone()))
}

/// Whether a request asks what another would be allowed.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Reader {
    /// The answer to a preflight. Whether the request itself is then allowed is decided when it comes.
    pub fn preflight(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        self.allow(answer);
        if let Some(method) = asked.get(ACCESS_CONTROL_REQUEST_METHOD) {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        }
        if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        answer.append(
            VARY,
            HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers"),
        );
    }

    /// Lets the origin read an answer, whatever the application behind said about that.
    pub fn allow(&self, answer: &mut HeaderMap) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("X-Request-Id"));
        answer.append(VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_read() {
        let sites = Sites::new(
            "https://app.example".parse().unwrap(),
            vec!["https://friend.example".parse().unwrap()],
        );
        let from = |origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            reader(&sites, &headers).is_some()
        };
        assert!(from("https://friend.example"));
        for origin in
            ["https://evil.example", "null", "*", "https://friend.example.evil", "https://app.example"]
        {
            assert!(!from(origin), "{origin}");
        }
    }
}
