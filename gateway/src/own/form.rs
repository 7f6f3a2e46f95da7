//! Form bodies of the OAuth endpoints (RFC 6749 §3.2): no parameter twice, one without a value counts as absent.

use std::collections::HashMap;

use axum::extract::{FromRequest, Request};
use zeroize::Zeroize;

use super::Own;
use super::json::{body, is_type};
use crate::problem::oauth::{INVALID_REQUEST, OAuthProblem};

/// The parameters. Values are wiped when dropped: some are secrets.
pub(super) struct Form(HashMap<String, String>);

impl Form {
    /// None where it is absent or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn required(&self, name: &'static str) -> Result<&str, OAuthProblem> {
        self.get(name)
            .ok_or_else(|| OAuthProblem::new(INVALID_REQUEST).description(format!("`{name}` is missing")))
    }

    pub(super) fn parse(body: &[u8]) -> Result<Self, OAuthProblem> {
        let mut form = Self(HashMap::new());
        for (name, value) in url::form_urlencoded::parse(body) {
            if value.is_empty() {
                continue;
            }
            if form.0.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                return Err(OAuthProblem::new(INVALID_REQUEST).description("a parameter is there twice"));
            }
        }
        Ok(form)
    }
}

impl Drop for Form {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

impl FromRequest<Own> for Form {
    type Rejection = OAuthProblem;

    async fn from_request(request: Request, own: &Own) -> Result<Self, OAuthProblem> {
        if !is_type(request.headers(), "application/x-www-form-urlencoded") {
            return Err(
                OAuthProblem::new(INVALID_REQUEST).description("send `application/x-www-form-urlencoded`")
            );
        }
        let body = body(request, own).await.map_err(|problem| {
            OAuthProblem::new(INVALID_REQUEST).status(problem.status()).description(problem.code().title())
        })?;
        Self::parse(&body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_is_wrong_and_empty_is_absent() {
        let form = Form::parse(b"a=1&b=&c=x%20y+z").unwrap();
        assert_eq!(form.get("a"), Some("1"));
        assert_eq!(form.get("b"), None);
        assert_eq!(form.get("c"), Some("x y z"));
        assert_eq!(form.required("b").unwrap_err().name(), "invalid_request");
        assert_eq!(Form::parse(b"a=1&a=1").err().unwrap().name(), "invalid_request");
        assert_eq!(Form::parse(b"a=1&%61=2").err().unwrap().name(), "invalid_request");
    }
}
