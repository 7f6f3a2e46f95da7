//! For the tests of services that stand on the guard: an issuer in memory, whose tokens a guard accepts without a network.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use latchkey_guard::testing::{Issuer, Token};
//!
//! let issuer = Issuer::new("reports");
//! let guard = issuer.guard().await;
//! let token = issuer.token(Token::user("usr_1").name("alice").scope("read"));
//! assert_eq!(guard.verify(&token).await.unwrap().name, "alice");
//! issuer.end(&token);
//! assert!(guard.verify(&token).await.is_err());
//! # }
//! ```
#![allow(clippy::expect_used, reason = "runs in tests only: what fails here is the test")]

mod service;
mod token;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::token::{Algorithm, Expect, KeySet, SigningKey, TYP_ACCESS};
use time::OffsetDateTime;

use self::service::{Keys, Service};
pub use self::token::Token;
use crate::{Guard, Settings, TokenGuard};

const ISSUER: &str = "https://issuer.test";
/// 2027-01-15T08:00:00Z: what a test does must not depend on when it runs.
const BEGIN: i64 = 1_800_000_000;

/// An issuer for one audience, with a clock that moves when told to. Nothing expires by itself.
pub struct Issuer {
    audience: String,
    key: SigningKey,
    service: Arc<Service>,
    issued: Mutex<HashMap<String, String>>,
}

impl Issuer {
    pub fn new(audience: impl Into<String>) -> Self {
        let begin = OffsetDateTime::from_unix_timestamp(BEGIN).expect("a time");
        Self {
            audience: audience.into(),
            key: SigningKey::generate(Algorithm::Es256).expect("a key"),
            service: Arc::new(Service::new(begin)),
            issued: Mutex::default(),
        }
    }

    /// A guard that believes this issuer, and nobody else. It has its keys and a lease.
    pub async fn guard(&self) -> Guard {
        let guard = self.guard_without_keys();
        guard.tokens().refresh_keys().await.expect("keys in memory");
        guard
    }

    /// One that does not know the keys yet, as a service just after its start: it answers 503.
    pub fn guard_without_keys(&self) -> Guard {
        let expect =
            Expect::new(ISSUER, &*self.audience, [Algorithm::Es256], Duration::ZERO).expect("an audience");
        let keys = Keys(KeySet::new([self.key.public_jwk()]).expect("one key").to_json());
        let (endings, checks, clock) =
            (Arc::clone(&self.service), Arc::clone(&self.service), Arc::clone(&self.service));
        // Whoever waits for keys that nobody fetches should not wait for long.
        let settings = Settings { fetch_timeout: Duration::from_millis(50), ..Settings::new(expect) };
        let tokens = TokenGuard::new(settings, Arc::new(keys), endings, Guard::prepare);
        Guard::new(Arc::new(tokens), checks, Arc::new(move || clock.now()), ())
    }

    /// An access token for this issuer's audience, good for five minutes of its clock unless `token` says otherwise.
    pub fn token(&self, token: Token) -> String {
        let mut issued = self.issued();
        let jti = format!("tok_{}", issued.len());
        let claims = token.claims(ISSUER, &self.audience, &jti, self.service.now());
        let signed = self.key.sign(TYP_ACCESS, &claims).expect("claims");
        issued.insert(signed.clone(), jti);
        signed
    }

    /// Takes a token back, as logging out does. When this returns, no guard of this issuer accepts it.
    ///
    /// # Panics
    /// If it is not a token of this issuer.
    pub fn end(&self, token: &str) {
        let issued = self.issued();
        self.service.end(issued.get(token).expect("a token of this issuer"));
    }

    /// Guards have no lease and can ask nobody: every token is answered with 503, until [`Issuer::reconnect`].
    pub fn cut_off(&self) {
        self.service.set_reachable(false);
    }

    /// Guards have a lease again.
    pub fn reconnect(&self) {
        self.service.set_reachable(true);
    }

    /// Lets the clock move.
    pub fn advance(&self, by: Duration) {
        self.service.advance(by);
    }

    /// What [`Guard::check`] answers from now on for this principal and permission, on this resource or everywhere; anything
    /// else is denied. While it is cut off, checks are unavailable too.
    pub fn allow(&self, principal: &str, permission: &str, resource: Option<(&str, &str)>) {
        self.service.allow(principal, permission, resource);
    }

    fn issued(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
