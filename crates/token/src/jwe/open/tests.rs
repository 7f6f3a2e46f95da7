use std::{cell::RefCell, sync::LazyLock};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree},
};
use serde_json::{Value, json};

use super::{
    super::{concat_kdf, primitives::Secret},
    *,
};
use crate::{Algorithm, SigningKey, jwk::coordinates, seal};

const ALL: [&str; 4] = ["point", "agree", "derive", "decrypt"];

static KEYS: LazyLock<[RecipientKey; 2]> =
    LazyLock::new(|| ["new", "old"].map(|kid| RecipientKey::generate(kid).unwrap()));
static JWS: LazyLock<String> = LazyLock::new(|| {
    SigningKey::generate(Algorithm::Es256).unwrap().sign("at+jwt", &json!({ "sub": "usr_1" })).unwrap()
});

/// Does what `AwsLc` does and writes down what was asked.
#[derive(Default)]
struct Counting(RefCell<Vec<&'static str>>);

impl Primitives for Counting {
    fn point(&self, octets: &[u8; 65]) -> Option<ParsedPublicKey> {
        self.0.borrow_mut().push("point");
        AwsLc.point(octets)
    }

    fn agree(&self, key: &RecipientKey, with: ParsedPublicKey) -> Option<Secret> {
        self.0.borrow_mut().push("agree");
        AwsLc.agree(key, with)
    }

    fn derive(&self, z: &Secret, apu: &[u8], apv: &[u8]) -> Secret {
        self.0.borrow_mut().push("derive");
        AwsLc.derive(z, apu, apv)
    }

    fn decrypt(
        &self,
        key: &Secret,
        iv: &[u8; 12],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; 16],
    ) -> Option<Vec<u8>> {
        self.0.borrow_mut().push("decrypt");
        AwsLc.decrypt(key, iv, aad, ciphertext, tag)
    }
}

fn counted(jwe: &str) -> (Result<String, Refused>, Vec<&'static str>) {
    let counting = Counting::default();
    let outcome = open_with(&counting, jwe, &*KEYS);
    (outcome, counting.0.into_inner())
}

fn assert_fails_at_full_cost(jwe: &str, what: &str) {
    let (outcome, operations) = counted(jwe);
    assert_eq!(outcome, Err(Refused::Undecryptable), "{what}");
    assert_eq!(operations, ALL, "{what}");
}

/// Encrypted by the book to the newest key, with a header that `edit` had its way with: it is what is authenticated,
/// so nothing but the header itself is a reason to refuse.
fn sealed(edit: impl FnOnce(&mut Value), plaintext: &[u8]) -> String {
    let ephemeral = PrivateKey::generate(&ECDH_P256).unwrap();
    let public = ephemeral.compute_public_key().unwrap();
    let (x, y) = coordinates(public.as_ref().try_into().unwrap());
    let mut header = json!({
        "alg": "ECDH-ES", "enc": "A256GCM", "kid": "new", "cty": "JWT",
        "epk": { "kty": "EC", "crv": "P-256", "x": compact::encode(x), "y": compact::encode(y) },
    });
    edit(&mut header);
    let party =
        |name: &str| header.get(name).and_then(Value::as_str).and_then(compact::decode).unwrap_or_default();
    let recipient = KEYS[0].public();
    let peer = UnparsedPublicKey::new(&ECDH_P256, recipient.point());
    let key = agree(&ephemeral, peer, (), |z| {
        Ok(concat_kdf::derive(z.try_into().unwrap(), "A256GCM", &party("apu"), &party("apv"), 256))
    });
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.unwrap().as_ref()).unwrap());
    let protected = compact::encode(header.to_string());
    let mut content = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key([9; 12]);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&protected), &mut content).unwrap();
    format!("{protected}..{}.{}.{}", compact::encode([9; 12]), compact::encode(content), compact::encode(tag))
}

fn sealed_with(name: &str, value: Value) -> String {
    sealed(|header| header[name] = value, JWS.as_bytes())
}

fn sealed_without(name: &str) -> String {
    sealed(|header| drop(header.as_object_mut().unwrap().remove(name)), JWS.as_bytes())
}

#[test]
fn what_was_sealed_opens() {
    for key in &*KEYS {
        let jwe = seal(&JWS, &key.public()).unwrap();
        assert!(crate::is_jwe(&jwe));
        assert_eq!(counted(&jwe), (Ok(JWS.clone()), ALL.to_vec()));
        assert_ne!(jwe, seal(&JWS, &key.public()).unwrap());
    }
    assert_eq!(counted(&sealed(|_| {}, JWS.as_bytes())).0.as_ref(), Ok(&*JWS));
    assert_eq!(counted(&sealed_with("cty", json!("jwt"))).0.as_ref(), Ok(&*JWS));
}

#[test]
fn header_and_parts_are_as_rfc_7516_says() {
    let jwe = seal(&JWS, &KEYS[0].public()).unwrap();
    let parts: Vec<&str> = jwe.split('.').collect();
    let header: Value = serde_json::from_slice(&compact::decode(parts[0]).unwrap()).unwrap();
    let (x, y) = (&header["epk"]["x"], &header["epk"]["y"]);
    let epk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
    let expected = json!({ "alg": "ECDH-ES", "enc": "A256GCM", "kid": "new", "cty": "JWT", "epk": epk });
    assert_eq!(header, expected);
    assert_eq!(parts[1], "");
    assert_eq!(
        (compact::decode(parts[2]).unwrap().len(), compact::decode(parts[4]).unwrap().len()),
        (12, 16)
    );
    assert_eq!(compact::decode(parts[3]).unwrap().len(), JWS.len());
}

#[test]
fn parties_of_the_key_derivation() {
    let named = |header: &mut Value| {
        header["apu"] = json!("QWxpY2U");
        header["apv"] = json!("Qm9i");
    };
    assert_eq!(counted(&sealed(named, JWS.as_bytes())).0.as_ref(), Ok(&*JWS));
    for party in [json!("QWxpY2U="), json!("A"), json!(1)] {
        assert_fails_at_full_cost(&sealed_with("apu", party.clone()), &format!("apu {party}"));
    }
}

/// J17: every single character of every part, and characters put in and taken out.
#[test]
fn j17_any_part_altered() {
    let good = seal(&JWS, &KEYS[0].public()).unwrap();
    let parts: Vec<String> = good.split('.').map(str::to_owned).collect();
    let with_part = |index: usize, part: String| {
        let mut parts = parts.clone();
        parts[index] = part;
        parts.join(".")
    };
    let names_another_algorithm = |header: &str| {
        let header = compact::decode(header).and_then(|json| serde_json::from_slice::<Value>(&json).ok());
        header.is_some_and(|header| header["alg"] != "ECDH-ES" || header["enc"] != "A256GCM")
    };
    for (index, part) in parts.iter().enumerate() {
        let mut altered = vec![
            format!("{part}A"),
            format!("{part}_"),
            format!("A{part}"),
            format!("{part}="),
            format!("{part}\n"),
        ];
        if !part.is_empty() {
            altered.push(String::new());
            altered.push(part[..part.len() - 1].to_owned());
        }
        for position in 0..part.len() {
            for replacement in ['A', 'B', 'z', '-', '*'] {
                let mut changed = part.clone();
                changed.replace_range(position..=position, &replacement.to_string());
                if changed != *part {
                    altered.push(changed);
                }
            }
        }
        for altered in altered {
            let jwe = with_part(index, altered.clone());
            let (outcome, operations) = counted(&jwe);
            assert_eq!(outcome, Err(Refused::Undecryptable), "part {index}: {altered}");
            if !(index == 0 && operations.is_empty() && names_another_algorithm(&altered)) {
                assert_eq!(operations, ALL, "part {index}: {altered}");
            }
        }
    }
}

#[test]
fn j13_ephemeral_keys_off_the_curve() {
    let x = "mPUKT_bAWGHIhg0TpjjqVsP1rXWQu_vwVOHHtNkdYoA";
    let y = "8BQAsImGeAS46fyWw5MhYfGTT0IjBpFw2SS34Dv4Irs";
    let zeros = compact::encode([0; 32]);
    let ones = compact::encode([0xff; 32]);
    let wide = compact::encode([1; 48]);
    let epk = |kty: &str, crv: &str, x: &str, y: &str| json!({ "kty": kty, "crv": crv, "x": x, "y": y });
    for (name, epk) in [
        ("swapped", epk("EC", "P-256", y, x)),
        ("x twice", epk("EC", "P-256", x, x)),
        ("zeros", epk("EC", "P-256", &zeros, &zeros)),
        ("beyond the field", epk("EC", "P-256", &ones, &ones)),
        ("P-384", epk("EC", "P-384", &wide, &wide)),
        ("P-384 named, P-256 meant", epk("EC", "P-384", x, y)),
        ("P-384 meant, P-256 named", epk("EC", "P-256", &wide, &wide)),
        ("OKP", json!({ "kty": "OKP", "crv": "X25519", "x": x })),
        ("oct", json!({ "kty": "oct", "k": x })),
        ("no y", json!({ "kty": "EC", "crv": "P-256", "x": x })),
        ("empty", epk("EC", "P-256", "", "")),
        ("padded", epk("EC", "P-256", &format!("{x}="), y)),
        ("a list", json!([x, y])),
    ] {
        assert_fails_at_full_cost(&sealed_with("epk", epk), name);
    }
    assert_fails_at_full_cost(&sealed_without("epk"), "none");
}

#[test]
fn j15_algorithms_off_the_list() {
    for alg in [
        "RSA1_5",
        "RSA-OAEP",
        "RSA-OAEP-256",
        "dir",
        "ECDH-ES+A256KW",
        "A256KW",
        "PBES2-HS256+A128KW",
        "none",
        "ecdh-es",
    ] {
        assert_eq!(counted(&sealed_with("alg", json!(alg))), (Err(Refused::Undecryptable), vec![]), "{alg}");
    }
    for enc in ["A128CBC-HS256", "A128GCM", "A192GCM", "A256CBC-HS512", "a256gcm", ""] {
        assert_eq!(counted(&sealed_with("enc", json!(enc))), (Err(Refused::Undecryptable), vec![]), "{enc}");
    }
    for name in ["alg", "enc"] {
        assert_fails_at_full_cost(&sealed_without(name), name);
        assert_fails_at_full_cost(&sealed_with(name, json!(1)), name);
    }
}

#[test]
fn j16_compression_and_passwords() {
    assert_fails_at_full_cost(&sealed_with("zip", json!("DEF")), "zip");
    let pbes2 = |header: &mut Value| {
        header["alg"] = json!("PBES2-HS512+A256KW");
        header["p2c"] = json!(2_000_000_000);
        header["p2s"] = json!("AAAAAAAAAAA");
    };
    assert_eq!(counted(&sealed(pbes2, JWS.as_bytes())), (Err(Refused::Undecryptable), vec![]));
}

#[test]
fn headers_that_cannot_be_used() {
    assert_fails_at_full_cost(&sealed_with("crit", json!(["exp"])), "crit");
    assert_fails_at_full_cost(&sealed_with("kid", json!("old")), "the other key's id");
    assert_fails_at_full_cost(&sealed_with("kid", json!("unknown")), "an unknown id");
    assert_fails_at_full_cost(&sealed_with("kid", json!("../new")), "a path");
    assert_fails_at_full_cost(&sealed_without("kid"), "no id");
    assert_fails_at_full_cost(&sealed_without("cty"), "not nested");
    assert_fails_at_full_cost(&sealed_with("cty", json!("text/plain")), "not a token inside");
}

/// The secret shared with the stand-in is the recipient's public key, so anybody can work it out. It opens nothing.
#[test]
fn what_opens_with_the_stand_in_is_refused() {
    let recipient = KEYS[0].public();
    let (x, _) = coordinates(recipient.point());
    let z: [u8; 32] = x.try_into().unwrap();
    let key = concat_kdf::derive(&z, "A256GCM", &[], &[], 256);
    let stand_in = STAND_IN_POINT.clone().unwrap();
    assert_eq!(AwsLc.agree(&KEYS[0], stand_in).unwrap().as_ref(), &z);

    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
    for header in [json!({ "alg": "ECDH-ES", "enc": "A256GCM", "kid": "new", "cty": "JWT" }), json!([])] {
        let header = compact::encode(header.to_string());
        let mut content = JWS.as_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key([9; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&header), &mut content).unwrap();
        let parts =
            [header, String::new(), compact::encode([9; 12]), compact::encode(content), compact::encode(tag)];
        assert_fails_at_full_cost(&parts.join("."), "sealed to the stand-in");
    }
}

#[test]
fn j12_repeated_members_in_a_header() {
    // Authenticated as it stands: the header is spliced, so the text must be sealed by hand.
    let jwe = seal(&JWS, &KEYS[0].public()).unwrap();
    let (header, rest) = jwe.split_once('.').unwrap();
    let header = String::from_utf8(compact::decode(header).unwrap()).unwrap();
    let repeated = header.replacen('{', r#"{"alg":"ECDH-ES","#, 1);
    assert_fails_at_full_cost(&format!("{}.{rest}", compact::encode(repeated)), "alg twice");
    let repeated = header.replacen(r#""crv""#, r#""crv":"P-256","crv""#, 1);
    assert!(matches!(Header::read(&compact::encode(&repeated)), Read::Unusable));
    assert!(matches!(Header::read(&compact::encode(&header)), Read::Usable(_)));
}

#[test]
fn an_encrypted_key_has_no_place_in_direct_agreement() {
    let jwe = seal(&JWS, &KEYS[0].public()).unwrap();
    assert_fails_at_full_cost(&jwe.replacen("..", ".AAAA.", 1), "a key");
}

#[test]
fn form_and_size() {
    let jwe = seal(&JWS, &KEYS[0].public()).unwrap();
    for form in ["", "....", "a.b.c", &format!("{jwe}."), &format!("{jwe}.A"), &jwe.replacen("..", ".", 1)] {
        let (outcome, operations) = counted(form);
        assert!(outcome.is_err());
        assert_eq!(operations.is_empty(), form != "....", "{form}");
    }
    let large = sealed(|_| {}, &vec![b'a'; MAX_TOKEN_BYTES]);
    assert_eq!(counted(&large), (Err(Refused::TooLarge), vec![]));
    assert_eq!(open(&jwe, &[]), Err(Refused::Undecryptable));
    let stranger = [RecipientKey::generate("new").unwrap()];
    assert_eq!(open(&jwe, &stranger), Err(Refused::Undecryptable));
}

#[test]
fn j18_what_is_inside_must_be_a_signed_token() {
    use std::time::Duration;

    use time::OffsetDateTime;

    use crate::{Expect, KeySet, verify_access};

    assert_eq!(counted(&sealed(|_| {}, &[0xff, 0xfe])).0, Err(Refused::Malformed));
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let keys = KeySet::new([key.public_jwk()]).unwrap();
    let expect = Expect::new("i", "a", Algorithm::ALL, Duration::ZERO).unwrap();
    let claims = json!({ "iss": "i", "aud": "a", "sub": "usr_1", "exp": 1 });
    let unsigned = format!(
        "{}.{}.",
        compact::encode(json!({ "alg": "none", "typ": "at+jwt" }).to_string()),
        compact::encode(claims.to_string())
    );
    let forged = SigningKey::generate(Algorithm::Es256).unwrap().sign("at+jwt", &claims).unwrap();
    let nested = seal(&JWS, &KEYS[0].public()).unwrap();
    for plaintext in [claims.to_string().as_str(), "", &unsigned, &forged, &nested] {
        let jwe = seal(plaintext, &KEYS[0].public()).unwrap();
        let opened = open(&jwe, &*KEYS).unwrap();
        assert_eq!(opened, plaintext);
        assert!(verify_access(&opened, &keys, &expect, OffsetDateTime::UNIX_EPOCH).is_err(), "{plaintext}");
    }
}

#[test]
fn recipient_keys_as_jwk() {
    use crate::{KeyError, RecipientPublicKey};

    let key = &KEYS[0];
    let private = key.to_jwk_json().unwrap();
    let again = RecipientKey::from_jwk_json(&private).unwrap();
    assert_eq!(again.public(), key.public());
    assert_eq!(*again.to_jwk_json().unwrap(), *private);
    let public = key.public().to_jwk_json();
    assert_eq!(RecipientPublicKey::from_jwk_json(&public), Ok(key.public()));

    let tree: Value = serde_json::from_str(&private).unwrap();
    assert_eq!(
        tree.as_object().unwrap().keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
        ["alg", "crv", "d", "kid", "kty", "use", "x", "y"].into()
    );
    assert_eq!(RecipientPublicKey::from_jwk_json(&private), Err(KeyError::Private("d")));
    assert_eq!(RecipientKey::from_jwk_json(&public).unwrap_err(), KeyError::Member("d"));

    let edited = |name: &str, value: Value| {
        let mut tree = tree.clone();
        tree[name] = value;
        tree.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        RecipientKey::from_jwk_json(&tree.to_string()).map(|key| key.kid().as_str().to_owned())
    };
    let other: Value = serde_json::from_str(&KEYS[1].to_jwk_json().unwrap()).unwrap();
    assert_eq!(edited("d", other["d"].clone()), Err(KeyError::Pair));
    assert_eq!(edited("d", json!(compact::encode([0; 32]))), Err(KeyError::Rejected));
    assert_eq!(edited("d", json!(compact::encode([0xff; 32]))), Err(KeyError::Rejected));
    assert_eq!(edited("x", tree["y"].clone()), Err(KeyError::Point));
    assert_eq!(edited("crv", json!("P-384")), Err(KeyError::Mismatch));
    assert_eq!(edited("alg", json!("ECDH-ES+A128KW")), Err(KeyError::Mismatch));
    assert_eq!(edited("use", json!("sig")), Err(KeyError::Use));
    assert_eq!(edited("kty", json!("oct")), Err(KeyError::Symmetric));
    assert_eq!(edited("kid", json!("a/b")), Err(KeyError::Kid));
    assert_eq!(edited("kid", Value::Null).unwrap().len(), 43);
    assert_eq!(edited("alg", Value::Null).unwrap(), "new");
    assert!(!format!("{key:?}").contains(tree["d"].as_str().unwrap()));
}
