//! Keys of those who read encrypted tokens: EC keys on P-256 as JWKs, the private one a file of the recipient's.

use std::fmt;

use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey},
    encoding::{AsBigEndian, EcPrivateKeyBin},
};
use serde_json::{Map, Value, json};
use zeroize::{Zeroize, Zeroizing};

use super::ALG;
use crate::{
    KeyError, KeyId, compact, json as strict,
    jwk::{Members, Public, coordinates, point},
};

/// What tokens are encrypted to. Its point is on the curve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientPublicKey {
    kid: KeyId,
    point: [u8; 65],
}

/// What tokens are opened with.
pub struct RecipientKey {
    public: RecipientPublicKey,
    private: PrivateKey,
}

impl RecipientPublicKey {
    /// A JWK with `kty`, `crv`, `x`, `y`; `alg`, `use` and `key_ops`, if there, must fit. Without a `kid` the
    /// RFC 7638 thumbprint is the id. A private key is refused: whoever gives one away should hear of it.
    pub fn from_jwk_json(json: &str) -> Result<Self, KeyError> {
        let members = strict::object(json.as_bytes()).ok_or(KeyError::NotAnObject)?;
        let members = Members(&members);
        if members.text("kty")? == "oct" {
            return Err(KeyError::Symmetric);
        }
        members.refuse_private()?;
        Self::from_members(members)
    }

    pub fn to_jwk_json(&self) -> String {
        Value::Object(self.members()).to_string()
    }

    pub const fn kid(&self) -> &KeyId {
        &self.kid
    }

    pub(super) const fn point(&self) -> &[u8; 65] {
        &self.point
    }

    fn from_members(members: Members<'_>) -> Result<Self, KeyError> {
        if members.text("kty")? != "EC" || members.text("crv")? != "P-256" {
            return Err(KeyError::Mismatch);
        }
        if members.has("alg") && members.text("alg")? != ALG {
            return Err(KeyError::Mismatch);
        }
        // RFC 7517 §4.3: the public half of a key agreement key has empty `key_ops`; only `use` says something.
        if members.has("use") && members.text("use")? != "enc" {
            return Err(KeyError::Use);
        }
        let point = point(&members)?;
        let public = Public::p256_from_point(&point)?;
        let kid = if members.has("kid") {
            KeyId::parse(members.text("kid").map_err(|_| KeyError::Kid)?)?
        } else {
            KeyId::parse(&public.thumbprint())?
        };
        Ok(Self { kid, point })
    }

    fn members(&self) -> Map<String, Value> {
        let (x, y) = coordinates(&self.point);
        let members = [
            ("kty", json!("EC")),
            ("crv", json!("P-256")),
            ("x", json!(compact::encode(x))),
            ("y", json!(compact::encode(y))),
            ("kid", json!(self.kid.as_str())),
            ("use", json!("enc")),
            ("alg", json!(ALG)),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl RecipientKey {
    /// From the cryptographic library's own generator.
    pub fn generate(kid: &str) -> Result<Self, KeyError> {
        let kid = KeyId::parse(kid)?;
        let private = PrivateKey::generate(&ECDH_P256).map_err(|_| KeyError::Crypto)?;
        let point = point_of(&private)?;
        Ok(Self { public: RecipientPublicKey { kid, point }, private })
    }

    /// A private JWK: as [`RecipientPublicKey::from_jwk_json`], and `d`. Both halves must belong together.
    pub fn from_jwk_json(json: &str) -> Result<Self, KeyError> {
        let members = strict::object(json.as_bytes()).ok_or(KeyError::NotAnObject)?;
        let members = Members(&members);
        if members.text("kty")? == "oct" {
            return Err(KeyError::Symmetric);
        }
        let public = RecipientPublicKey::from_members(members)?;
        let mut d = members.octets_32("d")?;
        let private = PrivateKey::from_private_key(&ECDH_P256, &d).map_err(|_| KeyError::Rejected);
        d.zeroize();
        let private = private?;
        if point_of(&private)? != public.point {
            return Err(KeyError::Pair);
        }
        Ok(Self { public, private })
    }

    /// The private JWK, for a file with mode 0600.
    pub fn to_jwk_json(&self) -> Result<Zeroizing<String>, KeyError> {
        let d: EcPrivateKeyBin<'_> = self.private.as_be_bytes().map_err(|_| KeyError::Crypto)?;
        let d = Zeroizing::new(compact::encode(d.as_ref()));
        // Spliced into the text, so that no other copy of `d` is left behind in a JSON tree.
        let public = self.public.to_jwk_json();
        let open = public.strip_suffix('}').ok_or(KeyError::NotAnObject)?;
        let mut json = Zeroizing::new(String::with_capacity(open.len() + 64));
        for piece in [open, r#","d":""#, d.as_str(), r#""}"#] {
            json.push_str(piece);
        }
        Ok(json)
    }

    pub const fn kid(&self) -> &KeyId {
        &self.public.kid
    }

    pub fn public(&self) -> RecipientPublicKey {
        self.public.clone()
    }

    pub(super) const fn private(&self) -> &PrivateKey {
        &self.private
    }
}

fn point_of(private: &PrivateKey) -> Result<[u8; 65], KeyError> {
    let public = private.compute_public_key().map_err(|_| KeyError::Crypto)?;
    public.as_ref().try_into().map_err(|_| KeyError::Crypto)
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecipientKey").field("kid", self.kid()).finish_non_exhaustive()
    }
}
