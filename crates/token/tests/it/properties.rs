use std::{sync::LazyLock, time::Duration};

use latchkey_token as token;
use proptest::{collection::vec, option, prelude::*};
use time::OffsetDateTime;
use token::{
    AccessClaims, Algorithm, Epochs, Expect, KeySet, PrincipalKind, RecipientKey, RecipientPublicKey,
    SigningKey, TYP_ACCESS,
};

static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
    Algorithm::ALL.into_iter().map(|algorithm| SigningKey::generate(algorithm).unwrap()).collect()
});
static SET: LazyLock<KeySet> =
    LazyLock::new(|| KeySet::new(KEYS.iter().map(SigningKey::public_jwk)).unwrap());
static RECIPIENT: LazyLock<[RecipientKey; 1]> = LazyLock::new(|| [RecipientKey::generate("r1").unwrap()]);

fn instant(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

prop_compose! {
    fn claims()(
        texts in vec("\\PC{0,20}", 6),
        mut aud in vec("[a-z]{1,8}", 0..3),
        (iat, life) in (0_i64..4_000_000_000, 1_i64..90_000),
        user in any::<bool>(),
        (fam, sid) in (option::of("[a-z]{1,9}"), option::of("[a-z]{1,9}")),
        roles in option::of(vec("[a-z]{1,9}", 0..4)),
        (subject, client, pv) in any::<(u64, u64, u64)>(),
        amr in vec("[a-z]{3}", 0..3),
    ) -> AccessClaims {
        aud.push("latchkey".to_owned());
        AccessClaims {
            iss: "https://issuer".to_owned(),
            aud,
            sub: texts[0].clone(),
            client_id: texts[1].clone(),
            iat: instant(iat),
            exp: instant(iat + life),
            jti: texts[2].clone(),
            kind: if user { PrincipalKind::User } else { PrincipalKind::Client },
            name: texts[3].clone(),
            fam,
            sid,
            scope: texts[4].clone(),
            roles,
            epo: Epochs { subject, client },
            pv,
            amr,
        }
    }
}

fn expect() -> Expect {
    Expect::new("https://issuer", "latchkey", Algorithm::ALL, Duration::ZERO).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is issued is read back as it was, plain and encrypted, under every algorithm, until it expires.
    #[test]
    fn issued_is_verified(claims in claims(), key in 0_usize..4) {
        let jws = KEYS[key].sign(TYP_ACCESS, &claims).unwrap();
        let sealed = token::seal(&jws, &RECIPIENT[0].public()).unwrap();
        prop_assert!(token::is_jwe(&sealed) && !token::is_jwe(&jws));
        let opened = token::open(&sealed, &*RECIPIENT).unwrap();
        prop_assert_eq!(&opened, &jws);
        let (last, end) = (claims.exp - time::Duration::NANOSECOND, claims.exp);
        prop_assert_eq!(token::verify_access(&opened, &SET, &expect(), last).unwrap(), claims);
        prop_assert_eq!(token::verify_access(&opened, &SET, &expect(), end), Err(token::Refused::Expired));
    }

    /// No text is a token by accident, and none makes a parser panic.
    #[test]
    fn garbage_is_refused(text in "\\PC{0,200}|[A-Za-z0-9_.-]{0,200}|([A-Za-z0-9_-]{0,40}\\.){2,5}[A-Za-z0-9_-]{0,40}") {
        prop_assert!(token::verify_access(&text, &SET, &expect(), instant(0)).is_err());
        prop_assert!(token::verify_proof(&text, &SET, &expect(), instant(0)).is_err());
        prop_assert!(token::open(&text, &*RECIPIENT).is_err());
        prop_assert!(KeySet::from_json(&text).is_err());
        prop_assert!(token::Jwk::from_json(&text).is_err());
        prop_assert!(RecipientKey::from_jwk_json(&text).is_err());
        prop_assert!(RecipientPublicKey::from_jwk_json(&text).is_err());
    }

    /// Any one octet of the signed text changed is a wrong signature, or not a token.
    #[test]
    fn tampering_is_refused(claims in claims(), key in 0_usize..4, at in any::<prop::sample::Index>(), mask in 1_u8..) {
        let mut jws = KEYS[key].sign(TYP_ACCESS, &claims).unwrap().into_bytes();
        let at = at.index(jws.len());
        jws[at] ^= mask;
        if let Ok(jws) = String::from_utf8(jws) {
            prop_assert!(token::verify_access(&jws, &SET, &expect(), claims.iat).is_err());
        }
    }
}

/// J20: the members of RFC 9068 §2.2, and an audience of one as a string.
#[test]
fn j20_members_of_an_access_token() {
    let claims = AccessClaims {
        iss: "https://issuer".to_owned(),
        aud: vec!["latchkey".to_owned()],
        sub: "usr_1".to_owned(),
        client_id: "first-party".to_owned(),
        iat: instant(1_000) + time::Duration::milliseconds(900),
        exp: instant(1_300) + time::Duration::milliseconds(900),
        jti: "j1".to_owned(),
        kind: PrincipalKind::User,
        name: "alice".to_owned(),
        fam: Some("fam_1".to_owned()),
        sid: None,
        scope: String::new(),
        roles: Some(vec![]),
        epo: Epochs { subject: 2, client: 1 },
        pv: 9,
        amr: vec!["pwd".to_owned()],
    };
    let written = serde_json::to_value(&claims).unwrap();
    let expected = serde_json::json!({
        "iss": "https://issuer", "aud": "latchkey", "sub": "usr_1", "client_id": "first-party", "iat": 1000,
        "exp": 1300, "jti": "j1", "kind": "user", "name": "alice", "fam": "fam_1", "roles": [],
        "epo": { "subject": 2, "client": 1 }, "pv": 9, "amr": ["pwd"],
    });
    assert_eq!(written, expected);
}

#[test]
fn reasons_are_stable() {
    use token::Refused::*;
    let reasons = [
        TooLarge,
        Malformed,
        Undecryptable,
        Algorithm,
        Critical,
        Type,
        KeyUnknown,
        Signature,
        Issuer,
        Audience,
        Expired,
        NotYetValid,
        TooLong,
    ]
    .map(token::Refused::reason);
    assert_eq!(
        reasons.join(" "),
        "too_large malformed undecryptable algorithm critical type key_unknown signature issuer audience expired \
         not_yet_valid too_long"
    );
}
