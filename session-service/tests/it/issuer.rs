//! auth-service, as far as session-service knows it: it signs login proofs and publishes its key.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use proto::auth::v1 as wire;
use proto::auth::v1::token_read_service_server::TokenReadService;
use session_service::peers::{KeySets, KeysUnavailable, PublishedKeys};
use time::OffsetDateTime;
use token::{Algorithm, Epochs, KeySet, ProofClaims, SigningKey, TYP_PROOF};
use tonic::{Request, Response, Status};

pub const ISSUER: &str = "https://login.example";

pub struct Issuer {
    key: SigningKey,
    proofs: AtomicU64,
    away: Mutex<bool>,
}

impl Issuer {
    pub fn new() -> Issuer {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        Issuer { key, proofs: AtomicU64::new(0), away: Mutex::new(false) }
    }

    pub fn go_away(&self) {
        *self.away.lock().unwrap() = true;
    }

    pub fn claims(&self, subject: &str, now: OffsetDateTime) -> ProofClaims {
        let number = self.proofs.fetch_add(1, Ordering::SeqCst);
        ProofClaims {
            iss: ISSUER.to_owned(),
            aud: vec!["session".to_owned()],
            sub: subject.to_owned(),
            name: "alice".to_owned(),
            iat: now,
            exp: now + Duration::from_secs(30),
            jti: format!("proof-{number}"),
            epo: Epochs { subject: 3, client: 5 },
            amr: vec!["pwd".to_owned()],
            auth_time: now,
        }
    }

    pub fn sign(&self, claims: &ProofClaims) -> String {
        self.key.sign(TYP_PROOF, claims).unwrap()
    }

    pub fn sign_as(&self, typ: &str, claims: &ProofClaims) -> String {
        self.key.sign(typ, claims).unwrap()
    }

    fn jwks(&self) -> Option<String> {
        let away = *self.away.lock().unwrap();
        (!away).then(|| KeySet::new([self.key.public_jwk()]).unwrap().to_json())
    }
}

#[async_trait]
impl KeySets for Issuer {
    async fn fetch(&self) -> Result<PublishedKeys, KeysUnavailable> {
        let jwks = self.jwks().ok_or_else(|| KeysUnavailable::new("away"))?;
        Ok(PublishedKeys { jwks, max_age: Duration::from_secs(300) })
    }
}

/// The same over gRPC.
pub struct Published(pub std::sync::Arc<Issuer>);

#[tonic::async_trait]
impl TokenReadService for Published {
    async fn introspect(
        &self,
        _: Request<wire::IntrospectRequest>,
    ) -> Result<Response<wire::IntrospectResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn get_key_set(
        &self,
        _: Request<wire::GetKeySetRequest>,
    ) -> Result<Response<wire::GetKeySetResponse>, Status> {
        let jwks = self.0.jwks().ok_or_else(|| Status::unavailable("away"))?;
        Ok(Response::new(wire::GetKeySetResponse { jwks, max_age: 300 }))
    }
}
