use std::{sync::LazyLock, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use time::macros::datetime;

use super::*;
use crate::{Algorithm, Epochs, PrincipalKind, SigningKey};

mod claims;
mod form;
mod header;

const NOW: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);
const ISSUER: &str = "https://login.example:8443/a";

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Es256).unwrap());
static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Rs256).unwrap());
static KEYS: LazyLock<KeySet> = LazyLock::new(|| KeySet::new([KEY.public_jwk(), RSA.public_jwk()]).unwrap());

fn expect() -> Expect {
    Expect::new(ISSUER, "latchkey", Algorithm::ALL, Duration::from_secs(30)).unwrap()
}

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "at+jwt", "kid": KEY.kid() })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "latchkey", "sub": "usr_1", "client_id": "first-party",
        "iat": NOW.unix_timestamp(), "exp": NOW.unix_timestamp() + 300, "jti": "j1",
        "kind": "user", "name": "alice", "epo": { "subject": 3, "client": 1 }, "pv": 7,
    })
}

/// `base` with `members` put in; null takes out.
fn with(mut base: Value, members: Value) -> Value {
    let target = base.as_object_mut().unwrap();
    for (name, value) in members.as_object().unwrap() {
        if value.is_null() {
            target.remove(name);
        } else {
            target.insert(name.clone(), value.clone());
        }
    }
    base
}

fn signed(header: &Value, claims: &Value) -> String {
    KEY.sign_parts(header.to_string().as_bytes(), claims.to_string().as_bytes()).unwrap()
}

fn judge(jws: &str) -> Result<AccessClaims, Refused> {
    verify_access(jws, &KEYS, &expect(), NOW)
}

/// Signed by the right key, with `members` changed in the header.
fn judge_header(members: Value) -> Result<AccessClaims, Refused> {
    judge(&signed(&with(header(), members), &claims()))
}

fn judge_claims(members: Value) -> Result<AccessClaims, Refused> {
    judge(&signed(&header(), &with(claims(), members)))
}

#[test]
fn a_good_token_passes() {
    let claims = judge(&signed(&header(), &claims())).unwrap();
    assert_eq!(claims.sub, "usr_1");
    assert_eq!(claims.kind, PrincipalKind::User);
    assert_eq!(claims.epo, Epochs { subject: 3, client: 1 });
    assert_eq!(claims.exp, NOW + Duration::from_secs(300));
    assert_eq!((claims.roles, claims.fam, claims.sid, claims.scope.as_str()), (None, None, None, ""));
}
