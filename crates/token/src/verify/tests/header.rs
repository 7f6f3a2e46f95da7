//! What the header may say: algorithm, key and type.

use super::*;

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
fn a_stranger_with_our_kid() {
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let forged =
        stranger.sign_parts(header().to_string().as_bytes(), claims().to_string().as_bytes()).unwrap();
    assert_eq!(judge(&forged), Err(Refused::Signature));
    assert_eq!(judge(&stranger.sign(TYP_ACCESS, &claims()).unwrap()), Err(Refused::KeyUnknown));
}
