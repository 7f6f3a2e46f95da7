//! How a client says who it is (RFC 6749 §2.3.1): in `Authorization: Basic`, or in the form, never in both.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::own::form::Form;
use crate::peers::{ClientAuthentication, Concealed};
use crate::problem::oauth::{INVALID_CLIENT, INVALID_REQUEST, OAuthProblem};

/// A public client has an empty secret.
pub(super) fn authenticate(headers: &HeaderMap, form: &Form) -> Result<ClientAuthentication, OAuthProblem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let basic = match (values.next(), values.next()) {
        (None, _) => None,
        (Some(value), None) => Some(value.to_str().ok().and_then(basic).ok_or_else(refused)?),
        (Some(_), Some(_)) => {
            return Err(OAuthProblem::new(INVALID_REQUEST).description("two Authorization headers"));
        }
    };
    let id = form.get("client_id");
    let secret = form.get("client_secret");
    match (basic, id, secret) {
        (Some(_), _, Some(_)) => {
            Err(OAuthProblem::new(INVALID_REQUEST).description("the client authenticated in two ways"))
        }
        (Some(basic), Some(id), None) if basic.client_id != id => {
            Err(OAuthProblem::new(INVALID_REQUEST).description("two different clients are named"))
        }
        (Some(basic), _, None) => Ok(basic),
        (None, Some(id), secret) => Ok(ClientAuthentication {
            client_id: id.to_owned(),
            client_secret: Concealed::new(secret.unwrap_or_default()),
        }),
        (None, None, _) => Err(refused()),
    }
}

fn refused() -> OAuthProblem {
    OAuthProblem::new(INVALID_CLIENT)
}

/// Both halves are form-encoded inside the base64, which many clients forget; for the characters that ids and
/// secrets of ours are made of, it makes no difference.
fn basic(value: &str) -> Option<ClientAuthentication> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let client_id = form_decoded(id)?;
    if client_id.is_empty() {
        return None;
    }
    Some(ClientAuthentication { client_id, client_secret: Concealed::new(form_decoded(secret)?) })
}

fn form_decoded(text: &str) -> Option<String> {
    // `&` and `=` would be separators to the parser; encoded as they should be, they are not there.
    if text.contains(['&', '=']) {
        return None;
    }
    let mut pairs = url::form_urlencoded::parse(text.as_bytes());
    Some(pairs.next().map_or_else(String::new, |(value, _)| value.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(authorization: &[&str], body: &str) -> Result<(String, String), &'static str> {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let form = Form::parse(body.as_bytes()).unwrap();
        authenticate(&headers, &form)
            .map(|client| (client.client_id.clone(), client.client_secret.reveal().to_owned()))
            .map_err(|problem| problem.name())
    }

    fn basic_of(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn basic_post_and_public() {
        let both = Ok(("cli_1".to_owned(), "lks_s".to_owned()));
        assert_eq!(read(&[&basic_of("cli_1:lks_s")], ""), both);
        assert_eq!(read(&[&basic_of("cli_1:lks_s")], "client_id=cli_1"), both);
        assert_eq!(read(&[], "client_id=cli_1&client_secret=lks_s"), both);
        assert_eq!(read(&[], "client_id=first-party"), Ok(("first-party".to_owned(), String::new())));
        assert_eq!(read(&[&basic_of("a%3Ab:c%2Bd+e")], ""), Ok(("a:b".to_owned(), "c+d e".to_owned())));
    }

    #[test]
    fn two_ways_are_an_invalid_request_and_none_is_no_client() {
        let basic = basic_of("cli_1:lks_s");
        assert_eq!(read(&[&basic], "client_id=cli_1&client_secret=lks_s"), Err("invalid_request"));
        assert_eq!(read(&[&basic], "client_secret=lks_s"), Err("invalid_request"));
        assert_eq!(read(&[&basic], "client_id=cli_2"), Err("invalid_request"));
        assert_eq!(read(&[&basic, &basic], ""), Err("invalid_request"));
        assert_eq!(read(&[], ""), Err("invalid_client"));
        assert_eq!(read(&[], "client_secret=lks_s"), Err("invalid_client"));
        for wrong in ["Bearer a.b.c", "Basic", "Basic !!!", &basic_of("no-colon"), &basic_of(":secret")] {
            assert_eq!(read(&[wrong], ""), Err("invalid_client"), "{wrong}");
        }
    }
}
