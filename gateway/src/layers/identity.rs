//! Who a request acts for, as the application behind is told: the `X-Latchkey-*` headers.
//!
//! They are made once for each verified token and kept beside it, so that a repeated token costs no formatting.

use std::fmt::Write as _;
use std::sync::Arc;

use guard::Principal;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use token::PrincipalKind;

pub const SUBJECT: HeaderName = HeaderName::from_static("x-latchkey-subject");
pub const KIND: HeaderName = HeaderName::from_static("x-latchkey-kind");
pub const NAME: HeaderName = HeaderName::from_static("x-latchkey-name");
pub const ROLES: HeaderName = HeaderName::from_static("x-latchkey-roles");
pub const SESSION: HeaderName = HeaderName::from_static("x-latchkey-session");

/// Ready to send. `roles` is None where they are not known yet and must be asked for.
#[derive(Clone, Debug)]
pub struct Identity {
    subject: HeaderValue,
    kind: HeaderValue,
    name: HeaderValue,
    session: Option<HeaderValue>,
    roles: Option<Roles>,
}

/// The roles of a principal, and their header.
#[derive(Clone, Debug)]
pub struct Roles {
    names: Arc<[String]>,
    header: HeaderValue,
}

impl Roles {
    pub fn new(names: Arc<[String]>) -> Self {
        let header = visible(&names.join(","));
        Self { names, header }
    }

    pub fn holds(&self, role: &str) -> bool {
        self.names.iter().any(|name| name == role)
    }
}

impl Identity {
    /// For the guard: what is remembered beside a verified token.
    pub fn prepare(principal: &Principal) -> Self {
        Self::new(
            kind_name(principal.kind),
            &principal.id,
            &principal.name,
            principal.session.as_deref(),
            principal.roles.clone().map(Roles::new),
        )
    }

    pub fn new(
        kind: &'static str,
        subject: &str,
        name: &str,
        session: Option<&str>,
        roles: Option<Roles>,
    ) -> Self {
        Self {
            subject: visible(subject),
            kind: HeaderValue::from_static(kind),
            name: visible(name),
            session: session.map(visible),
            roles,
        }
    }

    pub fn roles(&self) -> Option<&Roles> {
        self.roles.as_ref()
    }

    /// Adds the headers. The request's own must be gone already.
    pub fn write(&self, roles: Option<&Roles>, headers: &mut HeaderMap) {
        headers.insert(SUBJECT, self.subject.clone());
        headers.insert(KIND, self.kind.clone());
        headers.insert(NAME, self.name.clone());
        if let Some(roles) = roles.or(self.roles.as_ref()) {
            headers.insert(ROLES, roles.header.clone());
        }
        if let Some(session) = &self.session {
            headers.insert(SESSION, session.clone());
        }
    }
}

pub fn kind_name(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "user",
        PrincipalKind::Client => "client",
    }
}

/// As a header value that every receiver reads alike: what is not visible ASCII is percent-encoded as UTF-8, and so
/// is `%` itself.
fn visible(text: &str) -> HeaderValue {
    let plain = |byte: u8| (byte.is_ascii_graphic() && byte != b'%') || byte == b' ';
    let encoded = if text.bytes().all(plain) && text.trim() == text {
        HeaderValue::from_str(text)
    } else {
        let mut encoded = String::with_capacity(text.len() * 2);
        for byte in text.bytes() {
            if plain(byte) && byte != b' ' {
                encoded.push(char::from(byte));
            } else {
                // Writing to a String does not fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        HeaderValue::from_str(&encoded)
    };
    encoded.unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_visible_ascii() {
        for (name, header) in [
            ("alice", "alice"),
            ("Ann Lee", "Ann Lee"),
            ("zoë", "zo%C3%AB"),
            ("a%b", "a%25b"),
            ("a\r\nX-Evil: 1", "a%0D%0AX-Evil:%201"),
            (" a", "%20a"),
            ("", ""),
        ] {
            assert_eq!(visible(name), header, "{name:?}");
        }
    }

    #[test]
    fn headers() {
        let roles = Roles::new(vec!["app-admin".to_owned(), "editor".to_owned()].into());
        let identity = Identity::new("user", "usr_1", "alice", Some("ses_1"), Some(roles));
        let mut headers = HeaderMap::new();
        identity.write(None, &mut headers);
        assert_eq!(headers.get("x-latchkey-roles").unwrap(), "app-admin,editor");
        assert_eq!(headers.get("x-latchkey-session").unwrap(), "ses_1");
        assert_eq!(headers.get("x-latchkey-kind").unwrap(), "user");
        assert_eq!(headers.len(), 5);
        assert!(identity.roles().unwrap().holds("editor") && !identity.roles().unwrap().holds("edit"));
    }
}
