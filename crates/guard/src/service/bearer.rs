//! The bearer token of a request (RFC 6750 §2.1).

use http::{HeaderMap, header::AUTHORIZATION};

/// Why a request has no bearer token that could be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoBearer {
    #[error("there is no Authorization header")]
    Missing,
    /// Nobody can say which is meant, and whoever is in front may have looked at the other.
    #[error("there is more than one Authorization header")]
    Ambiguous,
    #[error("the Authorization header is not `Bearer` and one token")]
    OtherScheme,
}

/// The scheme in any case, one space, one token; in the one `Authorization` header that there is.
pub fn bearer(headers: &HeaderMap) -> Result<&str, NoBearer> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = all.next().ok_or(NoBearer::Missing)?;
    if all.next().is_some() {
        return Err(NoBearer::Ambiguous);
    }
    let (scheme, token) = value.as_bytes().split_at_checked(7).ok_or(NoBearer::OtherScheme)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") || token.is_empty() {
        return Err(NoBearer::OtherScheme);
    }
    std::str::from_utf8(token).map_err(|_| NoBearer::OtherScheme)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_header_with_one_token() {
        for (headers, expected) in [
            (&["Bearer x"][..], Ok("x")),
            (&["bEaReR x.y"], Ok("x.y")),
            (&[], Err(NoBearer::Missing)),
            (&["Bearer x", "Bearer x"], Err(NoBearer::Ambiguous)),
            (&["Basic eA==", "Bearer x"], Err(NoBearer::Ambiguous)),
            (&["Basic eA=="], Err(NoBearer::OtherScheme)),
            (&["Bearer "], Err(NoBearer::OtherScheme)),
            (&["Bearer"], Err(NoBearer::OtherScheme)),
            (&["BearerX y"], Err(NoBearer::OtherScheme)),
            (&[""], Err(NoBearer::OtherScheme)),
            (&["Bearer \u{e9}"], Ok("\u{e9}")),
        ] {
            let mut map = HeaderMap::new();
            for value in headers {
                map.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(bearer(&map), expected, "{headers:?}");
        }
        let mut map = HeaderMap::new();
        map.append(AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff").unwrap());
        assert_eq!(bearer(&map), Err(NoBearer::OtherScheme));
    }
}
