//! What a test wants a token to say.

use std::time::Duration;

use time::OffsetDateTime;
use token::{AccessClaims, Epochs, PrincipalKind};

/// The holder of a token and what is said about it.
#[derive(Debug, Clone)]
pub struct Token {
    kind: PrincipalKind,
    id: String,
    name: String,
    client_id: String,
    session: Option<String>,
    scope: String,
    audience: Option<String>,
    lifetime: Duration,
}

impl Token {
    /// Of a user (`usr_…`) who logged in.
    pub fn user(id: impl Into<String>) -> Self {
        Self::new(PrincipalKind::User, id.into(), "first-party".to_owned())
    }

    /// Of an application (`cli_…`) that acts for itself.
    pub fn client(id: impl Into<String>) -> Self {
        let id = id.into();
        Self::new(PrincipalKind::Client, id.clone(), id)
    }

    fn new(kind: PrincipalKind, id: String, client_id: String) -> Self {
        Self {
            kind,
            name: id.clone(),
            id,
            client_id,
            session: None,
            scope: String::new(),
            audience: None,
            lifetime: Duration::from_secs(300),
        }
    }

    /// For display.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Space separated.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// The public id of a session (`ses_…`).
    pub fn session(mut self, id: impl Into<String>) -> Self {
        self.session = Some(id.into());
        self
    }

    /// Another audience than the issuer's: a guard refuses it.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Whole seconds.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    pub(super) fn claims(self, issuer: &str, audience: &str, jti: &str, now: OffsetDateTime) -> AccessClaims {
        let Self { kind, id, name, client_id, session, scope, audience: other, lifetime } = self;
        AccessClaims {
            iss: issuer.to_owned(),
            aud: vec![other.unwrap_or_else(|| audience.to_owned())],
            sub: id,
            client_id,
            iat: now,
            exp: now + lifetime,
            jti: jti.to_owned(),
            kind,
            name,
            fam: None,
            sid: session,
            scope,
            // As real ones do, so that a service which would rely on them is found out.
            roles: Some(vec!["whatever-was-true-then".to_owned()]),
            epo: Epochs { subject: 1, client: 1 },
            pv: 1,
            amr: vec!["pwd".to_owned()],
        }
    }
}
