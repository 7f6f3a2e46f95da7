//! Public key material, checked: on the curve, long enough, of the algorithm that it is registered for.

use aws_lc_rs::{
    digest,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    },
};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value, json};

use super::Members;
use crate::{Algorithm, KeyError, compact};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Public {
    /// Uncompressed (SEC 1 §2.3.3).
    P256([u8; 65]),
    Ed25519([u8; 32]),
    /// Big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl Public {
    pub(super) fn from_members(
        kty: &str,
        algorithm: Algorithm,
        members: &Members<'_>,
    ) -> Result<Self, KeyError> {
        match (algorithm, kty) {
            (Algorithm::Es256, "EC") => {
                if members.text("crv")? != "P-256" {
                    return Err(KeyError::Mismatch);
                }
                Self::p256_from_point(&point(members)?)
            }
            (Algorithm::EdDsa, "OKP") => {
                if members.text("crv")? != "Ed25519" {
                    return Err(KeyError::Mismatch);
                }
                Self::ed25519(&members.octets_32("x")?)
            }
            (Algorithm::Rs256 | Algorithm::Ps256, "RSA") => {
                Self::rsa(members.octets("n")?, members.octets("e")?)
            }
            _ => Err(KeyError::Mismatch),
        }
    }

    pub(crate) fn p256_from_point(point: &[u8]) -> Result<Self, KeyError> {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| KeyError::Point)?;
        point.try_into().map(Self::P256).map_err(|_| KeyError::Point)
    }

    pub(crate) fn ed25519(point: &[u8]) -> Result<Self, KeyError> {
        ParsedPublicKey::new(&ED25519, point).map_err(|_| KeyError::Point)?;
        let point: [u8; 32] = point.try_into().map_err(|_| KeyError::Point)?;
        if is_of_small_order(point) {
            return Err(KeyError::Point);
        }
        Ok(Self::Ed25519(point))
    }

    pub(crate) fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Self, KeyError> {
        // Base64urlUInt has no leading zero octets (RFC 7518 §2); with them, one key would have many thumbprints.
        let first = n.first().copied().filter(|first| *first != 0).ok_or(KeyError::Member("n"))?;
        let bits = n.len().saturating_mul(8).saturating_sub(first.leading_zeros() as usize);
        if !(2048..=8192).contains(&bits) {
            return Err(KeyError::Modulus(bits));
        }
        if e.first().is_none_or(|first| *first == 0) {
            return Err(KeyError::Member("e"));
        }
        let exponent =
            (e.len() <= 4).then(|| e.iter().fold(0_u32, |value, octet| (value << 8) | u32::from(*octet)));
        if !exponent.is_some_and(|value| value >= 65_537 && value % 2 == 1) {
            return Err(KeyError::Exponent);
        }
        // The library takes an even one, which is no product of two large primes.
        if n.last().is_none_or(|last| last % 2 == 0) {
            return Err(KeyError::Member("n"));
        }
        RsaPublicKeyComponents { n: &n, e: &e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| KeyError::Member("n"))?;
        Ok(Self::Rsa { n, e })
    }

    pub(crate) fn decoding_key(&self) -> DecodingKey {
        match self {
            Self::P256(point) => DecodingKey::from_ec_der(point),
            Self::Ed25519(point) => DecodingKey::from_ed_der(point),
            Self::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
        }
    }

    /// The members that RFC 7638 §3.2 hashes, which are also those that make up the key.
    pub(super) fn members(&self) -> Map<String, Value> {
        let members = match self {
            Self::P256(point) => {
                let (x, y) = coordinates(point);
                json!({ "crv": "P-256", "kty": "EC", "x": compact::encode(x), "y": compact::encode(y) })
            }
            Self::Ed25519(x) => json!({ "crv": "Ed25519", "kty": "OKP", "x": compact::encode(x) }),
            Self::Rsa { n, e } => json!({ "e": compact::encode(e), "kty": "RSA", "n": compact::encode(n) }),
        };
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    /// RFC 7638 with SHA-256, base64url.
    pub(crate) fn thumbprint(&self) -> String {
        // Written out rather than serialized: the order of members must not hang on a feature of `serde_json`.
        let canonical = match self {
            Self::P256(point) => {
                let (x, y) = coordinates(point);
                let (x, y) = (compact::encode(x), compact::encode(y));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, compact::encode(x)),
            Self::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, compact::encode(e), compact::encode(n))
            }
        };
        compact::encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
    }
}

/// Whether anybody can sign for this Ed25519 key: its order is 1, 2, 4 or 8. Every encoding of such a point, canonical
/// or not, has one of these values but for the sign bit.
fn is_of_small_order(mut point: [u8; 32]) -> bool {
    const OF_ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let [first, middle @ .., last] = &mut point;
    *last &= 0x7f;
    // y = 0 and 1, and y = p - 1, p and p + 1 with p = 2^255 - 19.
    let low = *first <= 1 && *last == 0 && middle.iter().all(|octet| *octet == 0);
    let high = (0xec..=0xee).contains(first) && *last == 0x7f && middle.iter().all(|octet| *octet == 0xff);
    low || high || OF_ORDER_8.contains(&point)
}

/// `x` and `y` as an uncompressed point, which need not lie on the curve.
pub(crate) fn point(members: &Members<'_>) -> Result<[u8; 65], KeyError> {
    let mut point = [4_u8; 65];
    let (x, y) = (members.octets_32("x")?, members.octets_32("y")?);
    for (to, from) in point.iter_mut().skip(1).zip(x.into_iter().chain(y)) {
        *to = from;
    }
    Ok(point)
}

/// `x` and `y` of an uncompressed point.
pub(crate) fn coordinates(point: &[u8; 65]) -> (&[u8], &[u8]) {
    let (_, both) = point.split_at(1);
    both.split_at(32)
}
