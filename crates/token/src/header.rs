//! The protected header of a JWS, and everything in one that is a reason to stop reading.

use serde_json::{Map, Value};

use crate::{Algorithm, KeyId, Refused, compact, json};

/// Members by which a token would bring or point at its own key (J03). Ours never have them.
const OWN_KEY: [&str; 4] = ["jwk", "jku", "x5u", "x5c"];

#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: KeyId,
    typ: Option<String>,
}

impl Header {
    /// Only algorithms in `accepted` come out.
    pub(crate) fn parse(part: &str, accepted: &[Algorithm]) -> Result<Self, Refused> {
        let octets = compact::decode(part).ok_or(Refused::Malformed)?;
        let members = json::object(&octets).ok_or(Refused::Malformed)?;

        let algorithm = text(&members, "alg")
            .and_then(|name| name.parse().ok())
            .filter(|algorithm| accepted.contains(algorithm))
            .ok_or(Refused::Algorithm)?;
        if OWN_KEY.iter().any(|name| members.contains_key(*name)) {
            return Err(Refused::Critical);
        }
        // No extension is understood here, so any `crit` is one too many (RFC 7515 §4.1.11). `b64` may not stand
        // without `crit` (RFC 7797 §6), whatever its value.
        if members.contains_key("crit") || members.contains_key("b64") {
            return Err(Refused::Critical);
        }
        let kid = text(&members, "kid").and_then(|kid| KeyId::parse(kid).ok()).ok_or(Refused::Malformed)?;
        Ok(Self { algorithm, kid, typ: text(&members, "typ").map(str::to_owned) })
    }

    /// `at+jwt` and `application/at+jwt` are the same media type, in any case (RFC 7515 §4.1.9).
    pub(crate) fn is_of_type(&self, expected: &str) -> bool {
        let Some(typ) = self.typ.as_deref() else { return false };
        let subtype = match typ.split_once('/') {
            Some((kind, subtype)) if kind.eq_ignore_ascii_case("application") => subtype,
            _ => typ,
        };
        subtype.eq_ignore_ascii_case(expected)
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str()
}
