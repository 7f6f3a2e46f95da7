//! Private signing keys. They are made and used here, and leave only as PKCS #8 for the caller to seal.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::EncodingKey;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{Algorithm, Jwk, KeyError, KeyId, compact, jwk::Public};

/// A key pair of one algorithm, named by its RFC 7638 thumbprint.
pub struct SigningKey {
    public: Jwk,
    pkcs8: Zeroizing<Vec<u8>>,
    encoding: EncodingKey,
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    #[error("the claims cannot be written as a JSON object")]
    Claims(#[source] serde_json::Error),
    #[error("the cryptographic library failed")]
    Crypto,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: Algorithm,
    typ: &'a str,
    kid: &'a str,
}

impl SigningKey {
    /// From the cryptographic library's own generator. RSA keys have 2048 bits and take a noticeable moment.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Crypto;
        let pkcs8 = match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .and_then(|key| key.to_pkcs8v1())
                .map(|document| document.as_ref().to_vec()),
            Algorithm::EdDsa => Ed25519KeyPair::generate()
                .and_then(|key| key.to_pkcs8v1())
                .map(|document| document.as_ref().to_vec()),
            Algorithm::Rs256 | Algorithm::Ps256 => RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048)
                .and_then(|key| AsDer::<Pkcs8V1Der<'_>>::as_der(&key))
                .map(|document| document.as_ref().to_vec()),
        };
        Self::load(algorithm, Zeroizing::new(pkcs8.map_err(failed)?))
    }

    /// `kid` is what the key is stored under. Another key than that one is refused: a row that was swapped or
    /// altered is not used.
    pub fn from_pkcs8(kid: &str, algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let key = Self::load(algorithm, Zeroizing::new(pkcs8.to_vec()))?;
        if key.kid() == kid { Ok(key) } else { Err(KeyError::Thumbprint) }
    }

    /// To be sealed before it is stored.
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        self.pkcs8.clone()
    }

    /// The RFC 7638 thumbprint (SHA-256, base64url).
    pub fn kid(&self) -> &str {
        self.public.kid().as_str()
    }

    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    pub fn public_jwk(&self) -> Jwk {
        self.public.clone()
    }

    /// A compact JWS of `claims`, with `alg`, `typ` and `kid` in its header.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, IssueError> {
        let header = Header { alg: self.algorithm(), typ, kid: self.kid() };
        let header = serde_json::to_vec(&header).map_err(IssueError::Claims)?;
        let claims = serde_json::to_vec(claims).map_err(IssueError::Claims)?;
        self.sign_parts(&header, &claims)
    }

    pub(crate) fn sign_parts(&self, header: &[u8], claims: &[u8]) -> Result<String, IssueError> {
        let mut jws = compact::encode(header);
        jws.push('.');
        jws.push_str(&compact::encode(claims));
        let signature =
            jsonwebtoken::crypto::sign(jws.as_bytes(), &self.encoding, self.algorithm().jsonwebtoken())
                .map_err(|_| IssueError::Crypto)?;
        jws.push('.');
        jws.push_str(&signature);
        Ok(jws)
    }

    fn load(algorithm: Algorithm, pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let rejected = |_| KeyError::Rejected;
        let (public, encoding) = match algorithm {
            Algorithm::Es256 => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).map_err(rejected)?;
                (Public::p256_from_point(pair.public_key().as_ref())?, EncodingKey::from_ec_der(&pkcs8))
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(rejected)?;
                (Public::ed25519(pair.public_key().as_ref())?, EncodingKey::from_ed_der(&pkcs8))
            }
            Algorithm::Rs256 | Algorithm::Ps256 => {
                let pair = RsaKeyPair::from_pkcs8(&pkcs8).map_err(rejected)?;
                let components = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                (Public::rsa(components.n, components.e)?, rsa_encoding_key(&pkcs8)?)
            }
        };
        let kid = KeyId::parse(&public.thumbprint()).map_err(|_| KeyError::Kid)?;
        Ok(Self { public: Jwk::new(kid, algorithm, public), pkcs8, encoding })
    }
}

/// `jsonwebtoken` signs from PKCS #1, and takes it out of PKCS #8 only where that comes as PEM.
fn rsa_encoding_key(pkcs8: &[u8]) -> Result<EncodingKey, KeyError> {
    let mut pem = Zeroizing::new(String::with_capacity(pkcs8.len() * 3 / 2));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    for line in pkcs8.chunks(48) {
        pem.push_str(&Zeroizing::new(STANDARD.encode(line)));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| KeyError::Rejected)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid())
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
