//! J13, J15, J16, J18: encrypted tokens that are not to be opened, or hold what they must not. Each is put together so
//! that whoever overlooks what is wrong with it gets a good token out.

use std::time::Duration;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::forge::{Signer, encode, encrypted, hmac_jws, with};
use super::super::scene::Scene;

#[tokio::test]
async fn j13_ephemeral_keys_that_are_no_points_of_the_curve() {
    let scene = Scene::begin().await;
    let inner = scene.signed(json!({}), json!({}));
    let ephemeral = PrivateKey::generate(&ECDH_P256).unwrap().compute_public_key().unwrap();
    let (x, y) = ephemeral.as_ref()[1..].split_at(32);
    let mut bad = Vec::new();

    // Good coordinates under the name of another curve or kind: who ignores the name agrees on the right key.
    for (kty, crv) in [
        ("EC", "P-384"),
        ("EC", "P-521"),
        ("EC", "secp256k1"),
        ("EC", "BP-256"),
        ("EC", "p-256"),
        ("EC", ""),
        ("OKP", "P-256"),
        ("OKP", "X25519"),
        ("RSA", "P-256"),
        ("oct", "P-256"),
        ("", "P-256"),
    ] {
        let rename = |header: &mut Value| {
            header["epk"]["kty"] = json!(kty);
            header["epk"]["crv"] = json!(crv);
        };
        bad.push((format!("{kty} {crv}"), scene.recipient.seal_edited(rename, &inner)));
    }

    // (x, 0) lies on a curve that differs in `b` alone, which the formulas never use, and has order two there: an odd
    // private key times it is itself, so that the shared secret is known without any key.
    let zero = [0; 32];
    let order_two = scene.recipient.header(&[x, &zero].concat());
    bad.push(("a point of order two".into(), encrypted(&order_two.to_string(), x, inner.as_bytes())));
    bad.push((
        "a point of order two, agreed on nothing".into(),
        encrypted(&order_two.to_string(), &zero, inner.as_bytes()),
    ));
    let mut off = y.to_vec();
    off[31] ^= 1;
    for (what, x, y) in [
        ("off the curve", x, off.as_slice()),
        ("x and y exchanged", y, x),
        ("infinity", &zero, &zero),
        ("past the prime", &[0xff; 32], &[0xff; 32]),
        ("the same coordinate twice", x, x),
    ] {
        let header = scene.recipient.header(&[x, y].concat()).to_string();
        for z in [x, &zero] {
            bad.push((what.into(), encrypted(&header, z, inner.as_bytes())));
        }
    }

    // Coordinates that are no 32 octets, or none at all.
    let good = scene.recipient.header(&ephemeral.as_ref()[1..]);
    for (what, member, value) in [
        ("x too short", "x", json!(encode(&x[1..]))),
        ("x too long", "x", json!(encode([&[0], x].concat()))),
        ("y as a number", "y", json!(1)),
        ("y empty", "y", json!("")),
        ("y not base64url", "y", json!("====")),
    ] {
        let mut header = good.clone();
        header["epk"][member] = value;
        bad.push((what.into(), encrypted(&header.to_string(), x, inner.as_bytes())));
    }
    for (what, epk) in [
        ("no epk", Value::Null),
        ("epk in a list", json!([good["epk"]])),
        ("epk as text", json!(good["epk"].to_string())),
        ("epk empty", json!({})),
    ] {
        bad.push((
            what.into(),
            encrypted(&with(good.clone(), json!({ "epk": epk })).to_string(), x, inner.as_bytes()),
        ));
    }
    scene.refuse(bad).await;
}

/// That nothing is decrypted for them is counted in the token crate.
#[tokio::test]
async fn j15_algorithms_off_the_list() {
    let scene = Scene::begin().await;
    let inner = scene.signed(json!({}), json!({}));
    let mut bad = Vec::new();
    for alg in [
        "RSA1_5",
        "RSA-OAEP",
        "RSA-OAEP-256",
        "dir",
        "A128KW",
        "A256KW",
        "A256GCMKW",
        "ECDH-ES+A128KW",
        "ECDH-ES+A256KW",
        "ECDH-1PU",
        "PBES2-HS256+A128KW",
        "none",
        "ecdh-es",
        "ES256",
        "",
    ] {
        bad.push((format!("alg {alg:?}"), scene.recipient.seal_as(json!({ "alg": alg }), &inner)));
    }
    for enc in ["A128GCM", "A192GCM", "A128CBC-HS256", "A256CBC-HS512", "C20P", "a256gcm", "none", ""] {
        bad.push((format!("enc {enc:?}"), scene.recipient.seal_as(json!({ "enc": enc }), &inner)));
    }
    for members in [
        json!({ "alg": null }),
        json!({ "enc": null }),
        json!({ "alg": ["ECDH-ES"] }),
        json!({ "enc": ["A256GCM"] }),
    ] {
        bad.push((members.to_string(), scene.recipient.seal_as(members, &inner)));
    }
    scene.refuse(bad).await;
}

#[tokio::test]
async fn j16_compression_and_passwords() {
    let scene = Scene::begin().await;
    let inner = scene.signed(json!({}), json!({}));
    let deflated = stored(inner.as_bytes());
    let mut bad = Vec::new();
    for zip in [json!("DEF"), json!("def"), json!("GZIP"), json!(""), json!(["DEF"])] {
        let members = json!({ "zip": zip });
        bad.push((format!("zip {zip}, compressed"), scene.recipient.seal_as(members.clone(), &deflated)));
        bad.push((format!("zip {zip}, not compressed"), scene.recipient.seal_as(members, &inner)));
    }
    bad.push(("compressed and not said".into(), scene.recipient.seal(&deflated)));
    scene.refuse(bad).await;

    // Counting that far would take minutes, and a refusal takes none.
    for rounds in [1_200_001_u64, u64::from(u32::MAX), u64::MAX] {
        let members =
            json!({ "alg": "PBES2-HS256+A128KW", "p2s": encode([1; 16]), "p2c": rounds, "epk": null });
        let token = scene.recipient.seal_as(members, &inner);
        let (header, rest) = token.split_once("..").unwrap();
        let token = format!("{header}.{}.{rest}", encode([0; 40]));
        let answered =
            timeout(Duration::from_secs(10), scene.refuse([(format!("p2c {rounds}"), token)])).await;
        answered.expect("an answer before anything is counted");
    }
}

/// A DEFLATE stream of one stored block (RFC 1951 §3.2.4), which every inflater takes.
fn stored(octets: &[u8]) -> Vec<u8> {
    let length = u16::try_from(octets.len()).unwrap();
    [&[1], &length.to_le_bytes()[..], &(!length).to_le_bytes(), octets].concat()
}

#[tokio::test]
async fn j18_what_is_inside_must_be_signed() {
    let scene = Scene::begin().await;
    let inner = scene.signed(json!({}), json!({}));
    let claims = scene.claims.to_string();
    let header = scene.issuer.header();
    let none = with(header.clone(), json!({ "alg": "none" })).to_string();
    let seal = |inside: &str| scene.recipient.seal(inside);
    let mut bad = vec![
        ("nothing".to_owned(), seal("")),
        ("text".into(), seal("hello")),
        ("claims".into(), seal(&claims)),
        ("claims in base64".into(), seal(&encode(&claims))),
        ("unsigned".into(), seal(&format!("{}.{}.", encode(&none), encode(&claims)))),
        ("an HMAC".into(), seal(&hmac_jws("HS256", b"", &header, &scene.claims))),
        ("another envelope".into(), seal(&seal(&inner))),
        ("a real envelope".into(), seal(&scene.tokens.access_token)),
        ("two tokens".into(), seal(&format!("{inner}\n{inner}"))),
        ("a signed token in quotes".into(), seal(&format!("\"{inner}\""))),
        ("no UTF-8".into(), scene.recipient.seal([0xff, 0xfe])),
    ];
    for signer in [Signer::stranger(&scene.issuer.kid), Signer::stranger("stranger")] {
        let jws = signer.jws(&signer.header(), &scene.claims);
        bad.push((format!("signed by a stranger called {}", signer.kid), seal(&jws)));
    }
    // Where it does not say that it nests, it does not.
    for cty in [Value::Null, json!(""), json!("JOSE"), json!("application/json"), json!(["JWT"])] {
        bad.push((format!("cty {cty}"), scene.recipient.seal_as(json!({ "cty": cty }), &inner)));
    }
    // Claims beside the envelope's, as RFC 7519 §5.3 allows to replicate them, say nothing.
    let replicated = with(scene.claims.clone(), json!({ "roles": ["app-admin"] }));
    bad.push(("claims in its header".into(), scene.recipient.seal_as(replicated, "")));
    scene.refuse(bad).await;
    scene.accept(&scene.recipient.seal_as(json!({ "cty": "jwt" }), &inner), "cty in small letters").await;
}
