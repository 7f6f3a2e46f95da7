//! Header and claims of a token whose signature is good: what a signer with our key could say. Whatever is believed
//! must, read by another JSON parser, say all that a verifier demands.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_fuzz::{AUDIENCE, ISSUER as ISS, Issuer, LEEWAY, NOW};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;

static ISSUER: LazyLock<(Issuer, Ed25519KeyPair)> = LazyLock::new(|| {
    let issuer = Issuer::new();
    let pair = Ed25519KeyPair::from_pkcs8(&issuer.key.to_pkcs8()).unwrap();
    (issuer, pair)
});

/// Members that change what a token says, in the shapes that JSON has for them.
#[derive(arbitrary::Arbitrary, Debug)]
struct Said {
    /// Without what a good token has. First, and false when the input is short: most inputs should get far.
    bare: bool,
    claims: Vec<(Member, Shape)>,
    header: Vec<(Member, Shape)>,
    /// Put behind the claims as it is.
    tail: Option<String>,
}

#[derive(arbitrary::Arbitrary, Debug)]
enum Member {
    Alg,
    Typ,
    Kid,
    Crit,
    B64,
    Jwk,
    Zip,
    Iss,
    Aud,
    Exp,
    Nbf,
    Iat,
    Sub,
    Epo,
    Roles,
    Fam,
    Other(String),
}

#[derive(arbitrary::Arbitrary, Debug)]
enum Shape {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Good,
    List(Vec<String>),
    Raw(String),
}

impl Member {
    fn name(&self) -> &str {
        match self {
            Self::Alg => "alg",
            Self::Typ => "typ",
            Self::Kid => "kid",
            Self::Crit => "crit",
            Self::B64 => "b64",
            Self::Jwk => "jwk",
            Self::Zip => "zip",
            Self::Iss => "iss",
            Self::Aud => "aud",
            Self::Exp => "exp",
            Self::Nbf => "nbf",
            Self::Iat => "iat",
            Self::Sub => "sub",
            Self::Epo => "epo",
            Self::Roles => "roles",
            Self::Fam => "fam",
            Self::Other(name) => name,
        }
    }

    fn good(&self, kid: &str) -> String {
        match self {
            Self::Alg => r#""EdDSA""#.into(),
            Self::Typ => r#""at+jwt""#.into(),
            Self::Kid => Value::from(kid).to_string(),
            Self::Iss => Value::from(ISS).to_string(),
            Self::Aud => Value::from(AUDIENCE).to_string(),
            Self::Exp => "300".into(),
            Self::Iat | Self::Nbf => "0".into(),
            Self::Epo => r#"{"subject":1,"client":0}"#.into(),
            Self::Roles => r#"["reader"]"#.into(),
            _ => r#""x""#.into(),
        }
    }
}

fn object(good: &[&str], members: &[(Member, Shape)], kid: &str, tail: Option<&str>) -> String {
    let mut said: Vec<String> = good.iter().map(|member| (*member).to_owned()).collect();
    said.extend(members.iter().map(|(member, shape)| {
        let value = match shape {
            Shape::Null => "null".into(),
            Shape::Bool(value) => value.to_string(),
            Shape::Integer(value) => value.to_string(),
            Shape::Float(value) => value.to_string(),
            Shape::Text(text) => Value::from(text.as_str()).to_string(),
            Shape::Good => member.good(kid),
            Shape::List(items) => Value::from(items.clone()).to_string(),
            Shape::Raw(raw) => raw.clone(),
        };
        format!("{}:{value}", Value::from(member.name()))
    }));
    format!("{{{}}}{}", said.join(","), tail.unwrap_or_default())
}

fuzz_target!(|said: Said| -> Corpus {
    let (issuer, pair) = &*ISSUER;
    let kid = issuer.key.kid();
    let kid_member = format!(r#""kid":"{kid}""#);
    let (iss, aud) = (format!(r#""iss":"{ISS}""#), format!(r#""aud":"{AUDIENCE}""#));
    let good_header = [r#""alg":"EdDSA""#, r#""typ":"at+jwt""#, &*kid_member];
    let good_claims = [
        &*iss,
        &*aud,
        r#""sub":"usr_1""#,
        r#""client_id":"c""#,
        r#""iat":0"#,
        r#""exp":300"#,
        r#""jti":"t""#,
        r#""kind":"user""#,
        r#""name":"a""#,
        r#""epo":{"subject":1,"client":0}"#,
        r#""pv":1"#,
    ];
    let header = object(if said.bare { &[] } else { &good_header }, &said.header, kid, None);
    let claims = object(if said.bare { &[] } else { &good_claims }, &said.claims, kid, said.tail.as_deref());
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()));
    let Ok(believed) =
        token::verify_access(&format!("{signed}.{signature}"), &issuer.keys, &issuer.expect, NOW)
    else {
        return Corpus::Keep;
    };

    // No member is named twice, whichever of the two a parser takes.
    let standing = if said.bare { 0 } else { good_claims.len() };
    let mut names: Vec<&str> = said.claims.iter().map(|(member, _)| member.name()).collect();
    names.extend(good_claims.iter().take(standing).filter_map(|member| member.split('"').nth(1)));
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));

    let header: Value = serde_json::from_str(&header).expect("a header that was believed is JSON");
    let said: Value = serde_json::from_str(&claims).expect("claims that were believed are JSON");
    assert_eq!(header["alg"], "EdDSA");
    assert!(header.get("crit").is_none() && header.get("b64").is_none());
    let typ = header["typ"].as_str().expect("a typ").to_ascii_lowercase();
    assert!(typ == "at+jwt" || typ == "application/at+jwt");
    assert_eq!(said["iss"], ISS);
    assert!(said["aud"] == AUDIENCE || said["aud"].as_array().unwrap().contains(&AUDIENCE.into()));
    assert!(said["exp"].as_i64().unwrap() + LEEWAY.as_secs() as i64 > 0);
    assert!(said.get("nbf").is_none_or(|nbf| nbf.as_i64().unwrap() <= LEEWAY.as_secs() as i64));
    assert_eq!(said["sub"], *believed.sub);
    assert_eq!(said["epo"]["subject"], believed.epo.subject);
    Corpus::Keep
});
