//! Which credential a request is judged by: `Authorization` if it is there and then nothing else, otherwise the
//! cookies in the route's order.

use guard::NoBearer;
use http::HeaderMap;

use crate::cookies::{Cookies, Presented};
use crate::problem::{Problem, catalogue};
use crate::routing::Accept;

/// Longer than any session secret of ours; what is longer is nobody's.
const SECRET_BYTES: usize = 256;

/// What a caller presents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    Token(&'a str),
    TokenCookie(&'a str),
    Session(&'a str),
}

impl Credential<'_> {
    /// Whether a browser sent it by itself, so that the request must say which site it comes from.
    pub fn is_ambient(&self) -> bool {
        matches!(self, Credential::TokenCookie(_) | Credential::Session(_))
    }
}

/// The one credential that counts on a route that accepts `accept`, which is not empty.
pub fn choose<'a>(
    accept: &[Accept],
    headers: &'a HeaderMap,
    cookies: &Cookies,
) -> Result<Credential<'a>, Problem> {
    if let Some(token) = authorization(headers)? {
        // A bad one never falls back to a cookie: the caller meant this one.
        return if accept.contains(&Accept::Token) || accept.contains(&Accept::ApiKey) {
            Ok(Credential::Token(token))
        } else {
            Err(Problem::new(catalogue::CREDENTIAL_NOT_ACCEPTED)
                .detail("This path takes a session cookie only."))
        };
    }
    for kind in accept {
        let presented = match kind {
            Accept::Token => cookies.token(headers),
            Accept::Session => cookies.session(headers),
            Accept::ApiKey => Presented::None,
        };
        match (presented, kind) {
            (Presented::None, _) => {}
            (Presented::Ambiguous, _) => return Err(catalogue::COOKIE_AMBIGUOUS.into()),
            (Presented::One(token), Accept::Token) => return Ok(Credential::TokenCookie(token)),
            (Presented::One(secret), _) if secret.is_empty() || secret.len() > SECRET_BYTES => {
                return Err(catalogue::SESSION_INVALID.into());
            }
            (Presented::One(secret), _) => return Ok(Credential::Session(secret)),
        }
    }
    Err(catalogue::CREDENTIAL_MISSING.into())
}

/// The bearer token of a request; None without `Authorization`.
pub fn authorization(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    match guard::bearer(headers) {
        Ok(token) => Ok(Some(token)),
        Err(NoBearer::Missing) => Ok(None),
        Err(NoBearer::Ambiguous) => Err(catalogue::CREDENTIAL_AMBIGUOUS.into()),
        Err(NoBearer::OtherScheme) => Err(catalogue::SCHEME_UNSUPPORTED.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn chosen(accept: &[Accept], headers: &[(&'static str, &'static str)]) -> Result<String, &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        match choose(accept, &map, &Cookies::new(true, "")) {
            Ok(Credential::Token(token)) => Ok(format!("token {token}")),
            Ok(Credential::TokenCookie(token)) => Ok(format!("cookie {token}")),
            Ok(Credential::Session(secret)) => Ok(format!("session {secret}")),
            Err(problem) => Err(problem.code().code()),
        }
    }

    #[test]
    fn table() {
        use Accept::{ApiKey, Session, Token};
        const TOKEN: (&str, &str) = ("cookie", "__Host-latchkey-token=t");
        const SESSION: (&str, &str) = ("cookie", "a=b; __Host-latchkey-session=s");
        for (accept, headers, expected) in [
            (&[Token, Session][..], &[("authorization", "Bearer x")][..], Ok("token x")),
            (&[Token], &[("authorization", "bEaReR x")], Ok("token x")),
            (&[ApiKey], &[("authorization", "Bearer x")], Ok("token x")),
            (&[Token, Session], &[("authorization", "Basic YTpi"), SESSION], Err("scheme_unsupported")),
            (&[Token, Session], &[("authorization", "Bearer "), SESSION], Err("scheme_unsupported")),
            (&[Token, Session], &[("authorization", ""), SESSION], Err("scheme_unsupported")),
            (
                &[Token],
                &[("authorization", "Bearer x"), ("authorization", "Bearer x")],
                Err("credential_ambiguous"),
            ),
            (&[Session], &[("authorization", "Bearer x"), SESSION], Err("credential_not_accepted")),
            (&[Token, Session], &[TOKEN, SESSION], Ok("cookie t")),
            (&[Session, Token], &[TOKEN, SESSION], Ok("session s")),
            (&[Session], &[TOKEN], Err("credential_missing")),
            (&[ApiKey], &[TOKEN, SESSION], Err("credential_missing")),
            (&[Session], &[], Err("credential_missing")),
            (&[Session], &[SESSION, SESSION], Err("cookie_ambiguous")),
            (&[Session], &[("cookie", "__HOST-latchkey-session=s")], Err("cookie_ambiguous")),
            (&[Session], &[("cookie", "__Host-latchkey-session=")], Err("session_invalid")),
            // The name without prefix is another cookie where ours is secure.
            (&[Session], &[("cookie", "latchkey-session=s")], Err("credential_missing")),
        ] {
            assert_eq!(chosen(accept, headers), expected.map(str::to_owned), "{accept:?} {headers:?}");
        }
    }
}
