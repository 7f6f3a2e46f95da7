use std::sync::LazyLock;

use super::*;
use crate::{SigningKey, compact};

static EC: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Es256).unwrap());
static ED: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::EdDsa).unwrap());
static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Rs256).unwrap());

fn jwk(key: &SigningKey) -> Value {
    serde_json::from_str(&key.public_jwk().to_json()).unwrap()
}

/// What loading says of `key` with `members` put in (null takes out), as the second of two.
fn load(key: &SigningKey, members: Value) -> Result<(), KeyError> {
    let mut jwk = jwk(key);
    for (name, value) in members.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let good = SigningKey::generate(Algorithm::EdDsa).unwrap();
    match KeySet::from_json(&json!({ "keys": [good.public_jwk(), jwk] }).to_string()) {
        Ok(set) => {
            assert_eq!(set.len(), 2);
            Ok(())
        }
        Err(KeySetError::Key { index: 1, source }) => Err(source),
        Err(other) => panic!("{other}"),
    }
}

fn octets(count: usize) -> String {
    compact::encode(vec![0xff; count])
}

#[test]
fn round_trip_and_j21_public_members_only() {
    let set = KeySet::new([EC.public_jwk(), ED.public_jwk(), RSA.public_jwk()]).unwrap();
    let json = set.to_json();
    let again = KeySet::from_json(&json).unwrap();
    assert_eq!(again.iter().collect::<Vec<_>>(), set.iter().collect::<Vec<_>>());
    assert_eq!(again.find(EC.kid()), Some(&EC.public_jwk()));
    assert_eq!(again.find("other"), None);

    let parsed: Value = serde_json::from_str(&json).unwrap();
    for (key, names) in parsed["keys"].as_array().unwrap().iter().zip([
        vec!["alg", "crv", "kid", "kty", "use", "x", "y"],
        vec!["alg", "crv", "kid", "kty", "use", "x"],
        vec!["alg", "e", "kid", "kty", "n", "use"],
    ]) {
        let mut have: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        have.sort_unstable();
        assert_eq!(have, names);
    }
    assert!(KeySet::from_json(r#"{"keys":[]}"#).unwrap().is_empty());
}

#[test]
fn j14_symmetric_and_private_members() {
    let oct = json!({ "kty": "oct", "k": octets(32), "kid": "h", "alg": "HS256" });
    let short = json!({ "kty": "oct", "k": octets(8), "kid": "h", "alg": "HS256" });
    for oct in [oct, short] {
        let mixed = json!({ "keys": [EC.public_jwk(), oct] }).to_string();
        let refused = KeySetError::Key { index: 1, source: KeyError::Symmetric };
        assert_eq!(KeySet::from_json(&mixed).unwrap_err(), refused);
    }
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert_eq!(load(&EC, json!({ name: "AA" })), Err(KeyError::Private(name)));
        assert_eq!(load(&RSA, json!({ name: "AA" })), Err(KeyError::Private(name)));
    }
}

#[test]
fn j14_rsa() {
    assert_eq!(load(&RSA, json!({})), Ok(()));
    assert_eq!(load(&RSA, json!({ "alg": "PS256" })), Ok(()));
    assert_eq!(load(&RSA, json!({ "n": octets(128) })), Err(KeyError::Modulus(1_024)));
    let bits_2047 = compact::encode([&[0x7f], vec![0xff; 255].as_slice()].concat());
    assert_eq!(load(&RSA, json!({ "n": bits_2047 })), Err(KeyError::Modulus(2_047)));
    assert_eq!(load(&RSA, json!({ "n": octets(1_025) })), Err(KeyError::Modulus(8_200)));
    let padded = compact::encode([&[0], vec![0xff; 256].as_slice()].concat());
    assert_eq!(load(&RSA, json!({ "n": padded })), Err(KeyError::Member("n")));
    assert_eq!(load(&RSA, json!({ "n": "" })), Err(KeyError::Member("n")));
    assert_eq!(load(&RSA, json!({ "n": null })), Err(KeyError::Member("n")));
    let even = compact::encode([vec![0xff; 255].as_slice(), &[0xfe]].concat());
    assert_eq!(load(&RSA, json!({ "n": even })), Err(KeyError::Member("n")));
    // 1, 3, 65536, and 33 bits.
    for e in ["AQ", "Aw", "AQAA", "AQAAAAE"] {
        assert_eq!(load(&RSA, json!({ "e": e })), Err(KeyError::Exponent), "{e}");
    }
    for e in ["", "AAEAAQ", "AQAB=", "A"] {
        assert_eq!(load(&RSA, json!({ "e": e })), Err(KeyError::Member("e")), "{e}");
    }
}

#[test]
fn j14_curves() {
    for crv in ["P-384", "P-521", "secp256k1", "Ed25519", "p-256"] {
        assert_eq!(load(&EC, json!({ "crv": crv })), Err(KeyError::Mismatch), "{crv}");
    }
    assert_eq!(load(&EC, json!({ "crv": null })), Err(KeyError::Member("crv")));
    assert_eq!(load(&ED, json!({ "crv": "X25519" })), Err(KeyError::Mismatch));
    assert_eq!(load(&ED, json!({ "crv": "Ed448" })), Err(KeyError::Mismatch));
    assert_eq!(load(&EC, json!({ "alg": "EdDSA" })), Err(KeyError::Mismatch));
    assert_eq!(load(&EC, json!({ "alg": "RS256" })), Err(KeyError::Mismatch));
    assert_eq!(load(&RSA, json!({ "alg": "ES256" })), Err(KeyError::Mismatch));
    assert_eq!(load(&EC, json!({ "kty": "RSA" })), Err(KeyError::Mismatch));

    let y = jwk(&EC)["y"].as_str().unwrap().to_owned();
    assert_eq!(load(&EC, json!({ "x": y })), Err(KeyError::Point));
    assert_eq!(load(&EC, json!({ "x": octets(32) })), Err(KeyError::Point));
    let zeros = compact::encode([0; 32]);
    assert_eq!(load(&EC, json!({ "x": zeros, "y": zeros })), Err(KeyError::Point));
    assert_eq!(load(&EC, json!({ "x": octets(31) })), Err(KeyError::Member("x")));
    assert_eq!(load(&ED, json!({ "x": octets(33) })), Err(KeyError::Member("x")));
}

#[test]
fn j14_alg_kid_and_use() {
    for alg in [Value::Null, json!("ES384"), json!("HS256"), json!("none"), json!("es256"), json!(["ES256"])]
    {
        assert_eq!(load(&EC, json!({ "alg": alg })), Err(KeyError::Algorithm), "{alg}");
    }
    for kid in [Value::Null, json!(""), json!("a/b"), json!(1), json!("k".repeat(129))] {
        assert_eq!(load(&EC, json!({ "kid": kid })), Err(KeyError::Kid), "{kid}");
    }
    assert_eq!(load(&EC, json!({ "use": "enc" })), Err(KeyError::Use));
    assert_eq!(load(&EC, json!({ "use": null })), Ok(()));
    assert_eq!(load(&EC, json!({ "key_ops": ["sign"] })), Err(KeyError::Use));
    assert_eq!(load(&EC, json!({ "key_ops": ["verify"] })), Ok(()));
    // What is not understood is let be (RFC 7517 §4).
    assert_eq!(load(&EC, json!({ "x5t": "AA", "nbf": 1 })), Ok(()));
}

#[test]
fn sets_that_are_none() {
    for json in ["", "[]", "null", "{", r#"{"keys":[],"keys":[]}"#] {
        assert_eq!(KeySet::from_json(json).unwrap_err(), KeySetError::NotAnObject, "{json}");
    }
    for json in ["{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#] {
        assert_eq!(KeySet::from_json(json).unwrap_err(), KeySetError::NoKeys, "{json}");
    }
    let twice = json!({ "keys": [EC.public_jwk(), EC.public_jwk()] }).to_string();
    assert_eq!(KeySet::from_json(&twice).unwrap_err(), KeySetError::KidRepeated { index: 1 });
    let many = json!({ "keys": vec![EC.public_jwk(); MAX_KEYS + 1] }).to_string();
    assert_eq!(KeySet::from_json(&many).unwrap_err(), KeySetError::TooMany);
    // A member twice inside one key.
    let key = EC.public_jwk().to_json().replacen('{', r#"{"alg":"RS256","#, 1);
    let set = format!(r#"{{"keys":[{key}]}}"#);
    assert_eq!(KeySet::from_json(&set).unwrap_err(), KeySetError::NotAnObject);
}

#[test]
fn errors_name_the_key_and_the_member() {
    let set = json!({ "keys": [EC.public_jwk(), { "kty": "oct", "k": "secret-value" }] }).to_string();
    let shown = KeySet::from_json(&set).unwrap_err().to_string();
    assert_eq!(shown, "key 1: kty `oct`: a symmetric key has no place here");
}

/// Any signature of such a key verifies for anybody who knows the key.
#[test]
fn j14_ed25519_points_of_small_order() {
    let of = |first: u8, middle: u8, last: u8| {
        let mut point = [middle; 32];
        (point[0], point[31]) = (first, last);
        compact::encode(point)
    };
    for x in [
        of(0, 0, 0),
        of(1, 0, 0),
        of(1, 0, 0x80),
        of(0xec, 0xff, 0x7f),
        of(0xed, 0xff, 0xff),
        of(0xee, 0xff, 0x7f),
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU".to_owned(),
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA_o".to_owned(),
    ] {
        assert_eq!(load(&ED, json!({ "x": x })), Err(KeyError::Point), "{x}");
    }
}
