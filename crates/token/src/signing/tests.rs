use super::*;
use crate::KeySet;

#[test]
fn every_algorithm_signs_and_comes_back_from_pkcs8() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let again = SigningKey::from_pkcs8(key.kid(), algorithm, &key.to_pkcs8()).unwrap();
        assert_eq!(again.public_jwk(), key.public_jwk());
        let set = KeySet::from_json(&KeySet::new([key.public_jwk()]).unwrap().to_json()).unwrap();
        let jws = again.sign("x+jwt", &serde_json::json!({ "a": 1 })).unwrap();
        let (message, signature) = jws.rsplit_once('.').unwrap();
        let verifying = set.verifying(&KeyId::parse(key.kid()).unwrap()).unwrap();
        assert!(verifying.verifies(message.as_bytes(), signature));
        assert!(!verifying.verifies(b"something else", signature));
    }
}

#[test]
fn a_key_under_another_name_is_refused() {
    let (one, other) =
        (SigningKey::generate(Algorithm::Es256).unwrap(), SigningKey::generate(Algorithm::Es256).unwrap());
    let swapped = SigningKey::from_pkcs8(one.kid(), Algorithm::Es256, &other.to_pkcs8());
    assert_eq!(swapped.unwrap_err(), KeyError::Thumbprint);
    let wrong = SigningKey::from_pkcs8(one.kid(), Algorithm::EdDsa, &one.to_pkcs8());
    assert_eq!(wrong.unwrap_err(), KeyError::Rejected);
    assert_eq!(SigningKey::from_pkcs8("k", Algorithm::Rs256, b"junk").unwrap_err(), KeyError::Rejected);
}

#[test]
fn the_header_has_alg_typ_and_kid_only() {
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let jws = key.sign("at+jwt", &serde_json::json!({})).unwrap();
    let header = compact::decode(jws.split('.').next().unwrap()).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header, serde_json::json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": key.kid() }));
}

#[test]
fn debug_shows_no_key() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("SigningKey {{ kid: {:?}, algorithm: Es256, .. }}", key.kid()));
}

/// RFC 7638 §3.1.
#[test]
fn rfc_7638_thumbprint() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3\
             oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA\
             ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-\
             kEgU8awapJzKnqDKgw";
    let public = Public::rsa(compact::decode(n).unwrap(), compact::decode("AQAB").unwrap()).unwrap();
    assert_eq!(public.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}
