//! The protected header of a JWE.

use serde_json::Value;

use super::{ALG, ENC};
use crate::{
    KeyId, compact, json,
    jwk::{Members, point},
};

/// What a header is good for.
pub(super) enum Read {
    Usable(Header),
    /// Cannot be read or is not one of ours: the token is worked on all the same, against a stand-in (J17).
    Unusable,
    /// Names an algorithm that is not spoken here: nothing is decrypted (J15).
    Unlisted,
}

pub(super) struct Header {
    pub(super) kid: KeyId,
    /// Uncompressed, and not yet known to lie on the curve.
    pub(super) ephemeral: [u8; 65],
    pub(super) apu: Vec<u8>,
    pub(super) apv: Vec<u8>,
}

impl Header {
    pub(super) fn read(part: &str) -> Read {
        let Some(members) = compact::decode(part).and_then(|octets| json::object(&octets)) else {
            return Read::Unusable;
        };
        let other = |name: &str, ours: &str| {
            members.get(name).and_then(Value::as_str).is_some_and(|theirs| theirs != ours)
        };
        if other("alg", ALG) || other("enc", ENC) {
            return Read::Unlisted;
        }
        Self::usable(Members(&members)).map_or(Read::Unusable, Read::Usable)
    }

    fn usable(members: Members<'_>) -> Option<Self> {
        // Compression (J16) and extensions (J10) are not spoken.
        if ["zip", "crit"].into_iter().any(|name| members.has(name)) {
            return None;
        }
        let nested = members.text("cty").ok()?.eq_ignore_ascii_case("JWT");
        let named = members.text("alg").is_ok() && members.text("enc").is_ok();
        if !nested || !named {
            return None;
        }
        let epk = Members(members.0.get("epk")?.as_object()?);
        if epk.text("kty").ok()? != "EC" || epk.text("crv").ok()? != "P-256" {
            return None;
        }
        let party = |name| if members.has(name) { members.octets(name).ok() } else { Some(Vec::new()) };
        Some(Self {
            kid: KeyId::parse(members.text("kid").ok()?).ok()?,
            ephemeral: point(&epk).ok()?,
            apu: party("apu")?,
            apv: party("apv")?,
        })
    }
}
