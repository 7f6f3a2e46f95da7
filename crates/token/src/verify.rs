//! Whether a signed token is believed. One path for every kind of token; the order is cheap before dear, and nothing
//! of the claims is looked at before the signature holds.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::{
    AccessClaims, Expect, Issued, KeyId, KeySet, ProofClaims, Refused, TYP_ACCESS, TYP_PROOF,
    compact::{self, Jws},
    header::Header,
    json,
};

/// The longest that anything is issued for.
pub const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How far ahead an `exp` may lie: the clock of whoever issued may be ten minutes ahead of ours.
const FURTHEST: time::Duration = time::Duration::seconds(LONGEST_LIFE.as_secs().cast_signed() + 10 * 60);

/// Verifies an access token (`typ: at+jwt`).
pub fn verify_access(
    jws: &str,
    keys: &KeySet,
    expect: &Expect,
    now: OffsetDateTime,
) -> Result<AccessClaims, Refused> {
    verify(jws, keys, expect, TYP_ACCESS, now).map(|(claims, _)| claims)
}

/// As [`verify_access`], and says which key signed: whoever remembers the answer must forget it with the key.
pub fn verify_access_with_key(
    jws: &str,
    keys: &KeySet,
    expect: &Expect,
    now: OffsetDateTime,
) -> Result<(AccessClaims, KeyId), Refused> {
    verify(jws, keys, expect, TYP_ACCESS, now)
}

/// Verifies a login proof (`typ: login-proof+jwt`). That it is used once is the caller's to see to, by `jti`.
pub fn verify_proof(
    jws: &str,
    keys: &KeySet,
    expect: &Expect,
    now: OffsetDateTime,
) -> Result<ProofClaims, Refused> {
    verify(jws, keys, expect, TYP_PROOF, now).map(|(claims, _)| claims)
}

/// As what an access token was issued, whether or not it has expired: for ending it, which somebody else's clock may still
/// find good, or the login that it came from, which outlives it. Everything but the time must hold as for
/// [`verify_access`].
pub fn verify_issued(jws: &str, keys: &KeySet, expect: &Expect) -> Result<Issued, Refused> {
    let (claims, _) = signed(jws, keys, expect, TYP_ACCESS)?;
    let AccessClaims { jti, sub, client_id, fam, exp, .. } = parsed(claims)?;
    Ok(Issued { token: jti, subject: sub, client: client_id, family: fam, expires_at: exp })
}

fn verify<C: DeserializeOwned>(
    jws: &str,
    keys: &KeySet,
    expect: &Expect,
    typ: &str,
    now: OffsetDateTime,
) -> Result<(C, KeyId), Refused> {
    let (claims, kid) = signed(jws, keys, expect, typ)?;
    in_time(&claims, expect, now)?;
    Ok((parsed(claims)?, kid))
}

/// Claims that our issuer signed for this audience, at whatever time.
fn signed(
    jws: &str,
    keys: &KeySet,
    expect: &Expect,
    typ: &str,
) -> Result<(Map<String, Value>, KeyId), Refused> {
    let jws = Jws::parse(jws)?;
    let header = Header::parse(jws.header, expect.algorithms())?;
    if !header.is_of_type(typ) {
        return Err(Refused::Type);
    }
    let key = keys.verifying(&header.kid).ok_or(Refused::KeyUnknown)?;
    // INVARIANT: the key decides the algorithm, the header only agrees (J05).
    if key.algorithm() != header.algorithm {
        return Err(Refused::Algorithm);
    }
    if !key.verifies(jws.signed.as_bytes(), jws.signature) {
        return Err(Refused::Signature);
    }

    let octets = compact::decode(jws.payload).ok_or(Refused::Malformed)?;
    let claims = json::object(&octets).ok_or(Refused::Malformed)?;
    addressed(&claims, expect)?;
    Ok((claims, header.kid))
}

fn parsed<C: DeserializeOwned>(claims: Map<String, Value>) -> Result<C, Refused> {
    serde_json::from_value(Value::Object(claims)).map_err(|_| Refused::Malformed)
}

fn addressed(claims: &Map<String, Value>, expect: &Expect) -> Result<(), Refused> {
    if claims.get("iss").and_then(Value::as_str) != Some(expect.issuer()) {
        return Err(Refused::Issuer);
    }
    let ours = match claims.get("aud") {
        Some(Value::String(one)) => one == expect.audience(),
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(expect.audience())),
        _ => false,
    };
    if ours { Ok(()) } else { Err(Refused::Audience) }
}

fn in_time(claims: &Map<String, Value>, expect: &Expect, now: OffsetDateTime) -> Result<(), Refused> {
    // `iat` in the future is no reason to refuse: replicas' clocks differ, and what voids a token is its epoch.
    let expires_at = instant(claims, "exp")?.ok_or(Refused::Malformed)?;
    if expires_at.checked_add(leeway(expect)).is_some_and(|end| now >= end) {
        return Err(Refused::Expired);
    }
    // Ours is not good for longer: whoever has the key made it himself. INVARIANT: with the leeway it is believed for no longer than
    // the ending of its key is remembered (`feed::issuer::Bounds`), by whoever verified it before and has it in memory.
    if now.checked_add(FURTHEST).is_some_and(|latest| expires_at > latest) {
        return Err(Refused::TooLong);
    }
    if let Some(not_before) = instant(claims, "nbf")?
        && now.checked_add(leeway(expect)).is_some_and(|now| now < not_before)
    {
        return Err(Refused::NotYetValid);
    }
    Ok(())
}

fn leeway(expect: &Expect) -> time::Duration {
    // INVARIANT: at most a minute, so the conversion cannot fail; zero is the strict side.
    time::Duration::try_from(expect.leeway()).unwrap_or(time::Duration::ZERO)
}

/// A NumericDate in whole seconds, which is all that we issue.
fn instant(claims: &Map<String, Value>, name: &str) -> Result<Option<OffsetDateTime>, Refused> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_i64().ok_or(Refused::Malformed)?;
    OffsetDateTime::from_unix_timestamp(seconds).map(Some).map_err(|_| Refused::Malformed)
}

#[cfg(test)]
mod tests;
