//! What the claims must say: by whom, for whom, and until when.

use super::*;

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

    // Nobody issues for longer than a day, by a clock that is ten minutes ahead.
    const LONGEST: i64 = 86_400 + 600;
    assert!(judge_claims(json!({ "exp": at(LONGEST) })).is_ok());
    for exp in [LONGEST + 1, 365 * 86_400] {
        assert_eq!(judge_claims(json!({ "exp": at(exp) })), Err(Refused::TooLong), "{exp}");
    }

    let strict = Expect::new(ISSUER, "latchkey", [Algorithm::Es256], Duration::ZERO).unwrap();
    let jws = signed(&header(), &with(claims(), json!({ "exp": at(0) })));
    assert_eq!(verify_access(&jws, &KEYS, &strict, NOW), Err(Refused::Expired));
    assert!(verify_access(&jws, &KEYS, &strict, NOW - time::Duration::milliseconds(1)).is_ok());

    assert!(Expect::new(ISSUER, "latchkey", [Algorithm::Es256], Duration::from_secs(60)).is_ok());
    let long = Expect::new(ISSUER, "latchkey", [Algorithm::Es256], Duration::from_millis(60_001));
    assert_eq!(long, Err(crate::ExpectError::Leeway));
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
