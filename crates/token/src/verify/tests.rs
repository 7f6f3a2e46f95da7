use std::{sync::LazyLock, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use time::macros::datetime;

use super::*;
use crate::{Algorithm, Epochs, PrincipalKind, SigningKey};

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

#[test]
fn j01_alg_off_the_list() {
    for alg in
        ["none", "None", "nOnE", "NONE", "HS256", "HS384", "HS512", "es256", "ES256K", "ES384", "ES512", ""]
    {
        assert_eq!(judge_header(json!({ "alg": alg })), Err(Refused::Algorithm), "{alg}");
    }
    assert_eq!(judge_header(json!({ "alg": null })), Err(Refused::Algorithm));
    assert_eq!(judge_header(json!({ "alg": ["ES256"] })), Err(Refused::Algorithm));

    let unsigned = signed(&with(header(), json!({ "alg": "none" })), &claims());
    let stripped = &unsigned[..=unsigned.rfind('.').unwrap()];
    assert_eq!(judge(stripped), Err(Refused::Malformed));
    assert_eq!(judge(stripped.trim_end_matches('.')), Err(Refused::Malformed));

    let narrow = Expect::new(ISSUER, "latchkey", [Algorithm::EdDsa], Duration::ZERO).unwrap();
    let good = signed(&header(), &claims());
    assert_eq!(verify_access(&good, &KEYS, &narrow, NOW), Err(Refused::Algorithm));
}

#[test]
fn j02_hmac_with_the_public_key() {
    let jwk = KEY.public_jwk();
    let crate::jwk::Public::P256(point) = *jwk.public() else { panic!("an EC key") };
    let prefix = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let der = [prefix.as_slice(), &point].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
    let secrets =
        [point.to_vec(), der, pem.clone().into_bytes(), pem.trim_end().into(), jwk.to_json().into_bytes()];
    for secret in secrets {
        // With `alg` of the HMAC, and with the one that the key is registered for.
        for alg in ["HS256", "ES256"] {
            let head = compact::encode(with(header(), json!({ "alg": alg })).to_string());
            let message = format!("{head}.{}", compact::encode(claims().to_string()));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
            let refused = judge(&format!("{message}.{}", compact::encode(tag))).unwrap_err();
            assert_eq!(refused, if alg == "HS256" { Refused::Algorithm } else { Refused::Signature });
        }
    }
}

#[test]
fn j03_a_key_of_its_own() {
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let jwk: Value = serde_json::from_str(&stranger.public_jwk().to_json()).unwrap();
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("http://127.0.0.1:1/jwks")),
        ("x5u", json!("http://127.0.0.1:1/x")),
        ("x5c", json!(["MIIB"])),
    ] {
        assert_eq!(judge_header(json!({ name: value })), Err(Refused::Critical), "{name}");
        let head = with(header(), json!({ name: value }));
        let forged =
            stranger.sign_parts(head.to_string().as_bytes(), claims().to_string().as_bytes()).unwrap();
        assert_eq!(judge(&forged), Err(Refused::Critical), "{name}");
    }
}

#[test]
fn j04_key_ids() {
    assert_eq!(judge_header(json!({ "kid": "unknown" })), Err(Refused::KeyUnknown));
    for kid in ["", "../../etc/passwd", "/dev/null", "x' OR '1'='1", "a b", "ключ", "a\0b", &"k".repeat(129)]
    {
        assert_eq!(judge_header(json!({ "kid": kid })), Err(Refused::Malformed), "{kid}");
    }
    assert_eq!(judge_header(json!({ "kid": null })), Err(Refused::Malformed));
    assert_eq!(judge_header(json!({ "kid": [KEY.kid()] })), Err(Refused::Malformed));
    assert_eq!(judge_header(json!({ "kid": "k".repeat(64 * 1024) })), Err(Refused::TooLarge));
    // The right claims under another known key.
    assert_eq!(judge_header(json!({ "kid": RSA.kid() })), Err(Refused::Algorithm));
}

#[test]
fn j05_one_algorithm_a_key() {
    // The same RSA key, registered for RS256, signs PS256: the signature itself is right.
    let other = SigningKey::from_pkcs8(RSA.kid(), Algorithm::Ps256, &RSA.to_pkcs8()).unwrap();
    let jws = other.sign(TYP_ACCESS, &claims()).unwrap();
    assert_eq!(judge(&jws), Err(Refused::Algorithm));
    let registered = KeySet::new([other.public_jwk()]).unwrap();
    assert!(verify_access(&jws, &registered, &expect(), NOW).is_ok());
    assert!(judge(&RSA.sign(TYP_ACCESS, &claims()).unwrap()).is_ok());
    assert_eq!(judge_header(json!({ "alg": "ES384" })), Err(Refused::Algorithm));
}

#[test]
fn j06_types() {
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+JWT"] {
        assert!(judge_header(json!({ "typ": typ })).is_ok(), "{typ}");
    }
    for typ in [
        "JWT",
        "jwt",
        "logout+jwt",
        "dpop+jwt",
        "login-proof+jwt",
        "client-authentication+jwt",
        "rt+jwt",
        "",
        "/at+jwt",
    ] {
        assert_eq!(judge_header(json!({ "typ": typ })), Err(Refused::Type), "{typ}");
    }
    assert_eq!(judge_header(json!({ "typ": null })), Err(Refused::Type));
    assert_eq!(judge_header(json!({ "typ": 1 })), Err(Refused::Type));
    assert_eq!(judge_header(json!({ "typ": "text/at+jwt" })), Err(Refused::Type));

    // Both ways: what is good as one kind is nothing as the other.
    let proof = with(claims(), json!({ "auth_time": NOW.unix_timestamp() }));
    let access = KEY.sign(TYP_ACCESS, &proof).unwrap();
    let proof = KEY.sign(TYP_PROOF, &proof).unwrap();
    assert!(verify_proof(&proof, &KEYS, &expect(), NOW).is_ok());
    assert_eq!(judge(&proof), Err(Refused::Type));
    assert_eq!(verify_proof(&access, &KEYS, &expect(), NOW), Err(Refused::Type));
}

#[test]
fn j07_issuer_byte_for_byte() {
    for iss in [
        "https://login.example:8443/a/",
        "https://login.example:8443/A",
        "https://LOGIN.example:8443/a",
        "https://login.example/a",
        "http://login.example:8443/a",
        " https://login.example:8443/a",
        "",
    ] {
        assert_eq!(judge_claims(json!({ "iss": iss })), Err(Refused::Issuer), "{iss}");
    }
    assert_eq!(judge_claims(json!({ "iss": null })), Err(Refused::Issuer));
    assert_eq!(judge_claims(json!({ "iss": [ISSUER] })), Err(Refused::Issuer));
}

#[test]
fn j08_audience() {
    for aud in
        [json!("Latchkey"), json!("latchkey/"), json!([]), json!(["other"]), json!(1), json!([["latchkey"]])]
    {
        assert_eq!(judge_claims(json!({ "aud": aud })), Err(Refused::Audience), "{aud}");
    }
    assert_eq!(judge_claims(json!({ "aud": null })), Err(Refused::Audience));
    let several = judge_claims(json!({ "aud": ["other", "latchkey"] })).unwrap();
    assert_eq!(several.aud, ["other", "latchkey"]);
    // An array is an array of strings, wherever ours stands in it.
    assert_eq!(judge_claims(json!({ "aud": ["latchkey", 1] })), Err(Refused::Malformed));
}

#[test]
fn j09_times() {
    let at = |seconds: i64| json!(NOW.unix_timestamp() + seconds);
    assert!(judge_claims(json!({ "exp": at(-29) })).is_ok());
    assert_eq!(judge_claims(json!({ "exp": at(-30) })), Err(Refused::Expired));
    assert_eq!(judge_claims(json!({ "exp": at(-31) })), Err(Refused::Expired));
    for exp in [Value::Null, json!("9999999999"), json!(1e300), json!(true), json!(i64::MAX)] {
        assert_eq!(judge_claims(json!({ "exp": exp })), Err(Refused::Malformed), "{exp}");
    }
    assert!(judge_claims(json!({ "nbf": at(30) })).is_ok());
    assert_eq!(judge_claims(json!({ "nbf": at(31) })), Err(Refused::NotYetValid));
    assert_eq!(judge_claims(json!({ "nbf": "0" })), Err(Refused::Malformed));
    // Issued by a replica whose clock is ahead: good (J23).
    assert!(judge_claims(json!({ "iat": at(600), "exp": at(900) })).is_ok());

    let strict = Expect::new(ISSUER, "latchkey", [Algorithm::Es256], Duration::ZERO).unwrap();
    let jws = signed(&header(), &with(claims(), json!({ "exp": at(0) })));
    assert_eq!(verify_access(&jws, &KEYS, &strict, NOW), Err(Refused::Expired));
    assert!(verify_access(&jws, &KEYS, &strict, NOW - time::Duration::milliseconds(1)).is_ok());

    assert!(Expect::new(ISSUER, "latchkey", [Algorithm::Es256], Duration::from_secs(60)).is_ok());
    let long = Expect::new(ISSUER, "latchkey", [Algorithm::Es256], Duration::from_millis(60_001));
    assert_eq!(long, Err(crate::ExpectError::Leeway));
}

#[test]
fn j10_critical_extensions() {
    for members in [
        json!({ "crit": ["exp"] }),
        json!({ "crit": [] }),
        json!({ "crit": "x" }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "b64": false }),
        json!({ "b64": true }),
    ] {
        assert_eq!(judge_header(members.clone()), Err(Refused::Critical), "{members}");
    }
}

#[test]
fn j11_alphabet_and_form() {
    let good = signed(&header(), &claims());
    for foreign in [' ', '\n', '\r', '\t', '=', '?', '+', '/', '\0', '%', '"', ',', 'é', '\u{200b}'] {
        for position in [0, 5, good.find('.').unwrap(), good.len() / 2, good.len() - 1, good.len()] {
            let mut spoilt = good.clone();
            spoilt.insert(position, foreign);
            assert_eq!(judge(&spoilt), Err(Refused::Malformed), "{foreign:?} at {position}");
        }
    }
    let parts: Vec<&str> = good.split('.').collect();
    let flattened = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string();
    for form in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a..c",
        ".b.c",
        "a.b.",
        &flattened,
        &format!("{good}."),
        &format!(".{good}"),
    ] {
        assert_eq!(judge(form), Err(Refused::Malformed), "{form}");
    }
}

#[test]
fn j12_repeated_members() {
    let sign = |header: &str, claims: &str| KEY.sign_parts(header.as_bytes(), claims.as_bytes()).unwrap();
    let (header, claims) = (header().to_string(), claims().to_string());
    assert!(judge(&sign(&header, &claims)).is_ok());

    for extra in [r#""alg":"ES256","#, r#""kid":"x","#, r#""\u0061lg":"ES256","#, r#""o":{"a":1,"a":1},"#] {
        let repeated = header.replacen('{', &format!("{{{extra}"), 1);
        assert_eq!(judge(&sign(&repeated, &claims)), Err(Refused::Malformed), "{extra}");
    }
    for extra in [r#""sub":"usr_2","#, r#""\u0073ub":"usr_2","#, r#""o":[{"a":1,"a":1}],"#, r#""iss":"x","#] {
        let repeated = claims.replacen('{', &format!("{{{extra}"), 1);
        assert_eq!(judge(&sign(&header, &repeated)), Err(Refused::Malformed), "{extra}");
    }
    let nested = claims.replacen(r#""subject":3"#, r#""subject":3,"subject":4"#, 1);
    assert_ne!(nested, claims);
    assert_eq!(judge(&sign(&header, &nested)), Err(Refused::Malformed));
    // The same name in different objects is no repetition.
    let siblings = claims.replacen('{', r#"{"o":[{"a":1},{"a":1}],"a":1,"#, 1);
    assert!(judge(&sign(&header, &siblings)).is_ok());
}

#[test]
fn header_and_claims_are_objects() {
    let sign = |header: &str, claims: &str| KEY.sign_parts(header.as_bytes(), claims.as_bytes()).unwrap();
    let good = header().to_string();
    for bad in ["", "[]", "1", "null", "{", "{} {}", "\u{feff}{}", "{\"a\":\"\u{0}\"}"] {
        assert_eq!(judge(&sign(bad, &claims().to_string())), Err(Refused::Malformed), "{bad}");
        assert_eq!(judge(&sign(&good, bad)), Err(Refused::Malformed), "{bad}");
    }
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(4_000), "]".repeat(4_000));
    assert_eq!(judge(&sign(&good, &deep)), Err(Refused::Malformed));
}

#[test]
fn required_claims() {
    for name in ["sub", "client_id", "iat", "jti", "kind", "name", "epo", "pv"] {
        assert_eq!(judge_claims(json!({ name: null })), Err(Refused::Malformed), "{name}");
    }
    assert_eq!(judge_claims(json!({ "kind": "admin" })), Err(Refused::Malformed));
    assert_eq!(judge_claims(json!({ "roles": "admin" })), Err(Refused::Malformed));
    assert_eq!(judge_claims(json!({ "pv": -1 })), Err(Refused::Malformed));
}

#[test]
fn j19_es256_special_signatures() {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let good = signed(&header(), &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let signature = compact::decode(signature).unwrap();
    let (r, s) = signature.split_at(32);
    let with_signature = |octets: &[u8]| judge(&format!("{message}.{}", compact::encode(octets)));
    assert!(with_signature(&signature).is_ok());

    let zero = [0; 32];
    let one = {
        let mut one = zero;
        one[31] = 1;
        one
    };
    let n_plus_1 = {
        let mut more = N;
        more[31] += 1;
        more
    };
    let integer = |value: &[u8]| {
        let padded = [&[0], value].concat();
        let value = if value[0] >= 0x80 { padded.as_slice() } else { value };
        [&[2, u8::try_from(value.len()).unwrap()], value].concat()
    };
    let (r_der, s_der) = (integer(r), integer(s));
    let body = [r_der, s_der].concat();
    let der = [&[0x30, u8::try_from(body.len()).unwrap()], body.as_slice()].concat();

    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("zeros", [zero, zero].concat()),
        ("r zero", [&zero, s].concat()),
        ("s zero", [r, &zero].concat()),
        ("ones", [one, one].concat()),
        ("r = n", [&N, s].concat()),
        ("s = n", [r, &N].concat()),
        ("both n", [N, N].concat()),
        ("n + 1", [n_plus_1, n_plus_1].concat()),
        ("all bits", vec![0xff; 64]),
        ("der", der),
        ("short", signature[..63].to_vec()),
        ("long", [signature.as_slice(), &[0]].concat()),
        ("leading zeros", [&[0], r, &[0], s].concat()),
        ("half", r.to_vec()),
        ("P-384's", vec![1; 96]),
        ("swapped", [s, r].concat()),
        ("one octet", vec![0]),
    ];
    for (name, octets) in cases {
        assert_eq!(with_signature(&octets), Err(Refused::Signature), "{name}");
    }
}

/// Of everything that differs from a good token in one character, nothing passes: not by luck of the encoding either.
#[test]
fn one_character_changed_or_appended() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for key in [&*KEY, &*RSA] {
        let good = key.sign(TYP_ACCESS, &claims()).unwrap();
        assert!(judge(&good).is_ok());
        let ends: Vec<usize> = good
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'.')
            .map(|(at, _)| at)
            .chain([good.len()])
            .collect();
        for position in 0..good.len() {
            // Where bits may hang over, every character; elsewhere a neighbour.
            let last = ends.contains(&(position + 1));
            for replacement in
                ALPHABET.iter().filter(|byte| last || (**byte ^ 1) == good.as_bytes()[position])
            {
                let mut changed = good.clone().into_bytes();
                if changed[position] != *replacement && changed[position] != b'.' {
                    changed[position] = *replacement;
                    let changed = String::from_utf8(changed).unwrap();
                    assert!(judge(&changed).is_err(), "{position}");
                }
            }
        }
        for end in ends {
            for extra in ALPHABET {
                let mut longer = good.clone();
                longer.insert(end, char::from(*extra));
                assert!(judge(&longer).is_err());
            }
        }
    }
}

#[test]
fn a_stranger_with_our_kid() {
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let forged =
        stranger.sign_parts(header().to_string().as_bytes(), claims().to_string().as_bytes()).unwrap();
    assert_eq!(judge(&forged), Err(Refused::Signature));
    assert_eq!(judge(&stranger.sign(TYP_ACCESS, &claims()).unwrap()), Err(Refused::KeyUnknown));
}

#[test]
fn too_large_before_any_work() {
    let large =
        KEY.sign(TYP_ACCESS, &with(claims(), json!({ "pad": "x".repeat(crate::MAX_TOKEN_BYTES) }))).unwrap();
    assert_eq!(judge(&large), Err(Refused::TooLarge));
}

/// For logging out: only the time does not count.
#[test]
fn to_whom_a_token_was_issued_outlasts_it() {
    let told = |header: &Value, members: Value| {
        verify_issued(&signed(header, &with(claims(), members)), &KEYS, &expect())
    };
    let alice = |family: Option<&str>, expires_at| Issued {
        token: "j1".into(),
        subject: "usr_1".into(),
        client: "first-party".into(),
        family: family.map(str::to_owned),
        expires_at,
    };
    let yesterday = NOW - Duration::from_secs(86_400);
    let past = json!({ "exp": yesterday.unix_timestamp(), "fam": "fam_1" });
    assert_eq!(judge_claims(past.clone()), Err(Refused::Expired));
    assert_eq!(told(&header(), past), Ok(alice(Some("fam_1"), yesterday)));
    assert_eq!(told(&header(), json!({})), Ok(alice(None, NOW + Duration::from_secs(300))));
    for (members, refused) in [
        (json!({ "iss": "https://other.example" }), Refused::Issuer),
        (json!({ "aud": "other" }), Refused::Audience),
        (json!({ "exp": null }), Refused::Malformed),
        (json!({ "exp": "never" }), Refused::Malformed),
        (json!({ "sub": null }), Refused::Malformed),
    ] {
        assert_eq!(told(&header(), members.clone()), Err(refused), "{members}");
    }
    for (members, refused) in [
        (json!({ "typ": TYP_PROOF }), Refused::Type),
        (json!({ "alg": "none" }), Refused::Algorithm),
        (json!({ "kid": "unknown" }), Refused::KeyUnknown),
    ] {
        assert_eq!(told(&with(header(), members.clone()), json!({})), Err(refused), "{members}");
    }
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let forged =
        stranger.sign_parts(header().to_string().as_bytes(), claims().to_string().as_bytes()).unwrap();
    assert_eq!(verify_issued(&forged, &KEYS, &expect()), Err(Refused::Signature));
}
