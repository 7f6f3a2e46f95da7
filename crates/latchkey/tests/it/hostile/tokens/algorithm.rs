//! J01, J02, J05, J19: which algorithm, with which key, and what a signature looks like.

use aws_lc_rs::rand;
use serde_json::{Value, json};
use token::{Algorithm, SigningKey, TYP_ACCESS};

use super::super::forge::{decode, encode, hmac_jws, part, with};
use super::super::scene::{Scene, opener, stolen_key};
use crate::stack::{Builder, PASSWORD, client};

#[tokio::test]
async fn j01_algorithms_off_the_list() {
    let scene = Scene::begin().await;
    let mut bad = Vec::new();
    for name in ["none", "None", "nOnE", "NONE"] {
        let jws = scene.signed(json!({ "alg": name }), json!({}));
        let (signed, _) = jws.rsplit_once('.').unwrap();
        bad.push((format!("{name} without a signature"), format!("{signed}.")));
        bad.push((format!("{name} without its last part"), signed.to_owned()));
        bad.push((format!("{name} with a good signature"), jws));
    }
    for name in ["ES256K", "es256", "ES384", "ES512", "RS256", "PS256", "EdDSA", "HS256", "ECDH-ES", ""] {
        bad.push((
            format!("alg {name:?} over a good ES256"),
            scene.signed(json!({ "alg": name }), json!({})),
        ));
    }
    bad.push(("no alg".into(), scene.signed(json!({ "alg": null }), json!({}))));
    for value in [json!(["ES256"]), json!(256), json!({ "name": "ES256" })] {
        bad.push((format!("alg {value}"), scene.signed(json!({ "alg": value }), json!({}))));
    }
    for algorithm in ["HS256", "HS384", "HS512"] {
        for secret in ["", "secret", "latchkey"] {
            let jws = hmac_jws(algorithm, secret.as_bytes(), &scene.issuer.header(), &scene.claims);
            bad.push((format!("{algorithm} with {secret:?}"), jws));
        }
    }
    scene.refuse_signed(bad).await;
}

#[tokio::test]
async fn j02_hmac_with_the_public_key() {
    let scene = Scene::begin().await;
    let published = scene.stack.get("/.well-known/jwks.json").send().await.unwrap().text().await.unwrap();
    let key: Value = serde_json::from_str::<Value>(&published).unwrap()["keys"][0].take();
    assert_eq!(key["x"], scene.issuer.public_jwk()["x"], "the key that is used as a secret is the issuer's");
    let pem = scene.issuer.public_pem();
    let point = scene.issuer.point().to_vec();
    let secrets: Vec<(&str, Vec<u8>)> = vec![
        ("PEM", pem.clone().into_bytes()),
        ("PEM without the last line end", pem.trim_end().into()),
        ("PEM with CRLF", pem.replace('\n', "\r\n").into_bytes()),
        ("DER", scene.issuer.public_der()),
        ("JWK as published", key.to_string().into_bytes()),
        ("JWK of its own members", scene.issuer.public_jwk().to_string().into_bytes()),
        ("JWK Set as published", published.into_bytes()),
        ("point, uncompressed", point.clone()),
        ("point, its coordinates", point[1..].to_vec()),
        ("point, its x", point[1..33].to_vec()),
        ("point, compressed", [&[2 + (point[64] & 1)], &point[1..33]].concat()),
        ("kid", scene.issuer.kid.clone().into_bytes()),
    ];
    let mut bad = Vec::new();
    for (name, secret) in secrets {
        for algorithm in ["HS256", "HS384", "HS512"] {
            for header in [scene.issuer.header(), with(scene.issuer.header(), json!({ "kid": null }))] {
                let jws = hmac_jws(algorithm, &secret, &header, &scene.claims);
                bad.push((format!("{algorithm} with the {name}"), jws));
            }
        }
    }
    scene.refuse_signed(bad).await;
}

/// The gateway would believe each of these algorithms; the key is registered for one.
#[tokio::test]
async fn j05_a_key_is_for_one_algorithm() {
    let stack = Builder::new()
        .settings("auth", "[signing]\nalgorithm = \"RS256\"\n")
        .settings("gateway", "[token]\nalgorithms = [\"ES256\", \"EdDSA\", \"RS256\", \"PS256\"]\n")
        .start()
        .await;
    stack.register("alice").await;
    let token = stack.token("alice", PASSWORD).await.access_token;
    let opener = [opener(&stack)];
    let recipient = opener[0].public();
    let claims = part(&token::open(&token, &opener).unwrap(), 1);
    let (kid, algorithm, pkcs8) = stolen_key(&stack).await;
    assert_eq!(algorithm, Algorithm::Rs256);
    let http = client();
    let send = async |jws: &str| {
        let jwe = token::seal(jws, &recipient).unwrap();
        let request = http.get(format!("{}/app/token/x", stack.url()));
        request.bearer_auth(jwe).send().await.unwrap().status().as_u16()
    };
    let signed = |algorithm| {
        let key = SigningKey::from_pkcs8(&kid, algorithm, &pkcs8).unwrap();
        key.sign(TYP_ACCESS, &claims).unwrap()
    };
    assert_eq!(send(&signed(Algorithm::Rs256)).await, 200);
    let hits = stack.upstream_hits().await;
    let ps256 = signed(Algorithm::Ps256);
    assert_eq!(part(&ps256, 0)["alg"], "PS256");
    assert_eq!(send(&ps256).await, 401, "a good PS256 signature of a key for RS256");
    // The signature of the one under the name of the other.
    let rs256 = signed(Algorithm::Rs256);
    for name in ["PS256", "RS384", "RS512", "PS384", "ES256"] {
        let (_, rest) = rs256.split_once('.').unwrap();
        let header = json!({ "alg": name, "typ": "at+jwt", "kid": kid }).to_string();
        assert_eq!(send(&format!("{}.{rest}", encode(header))).await, 401, "{name}");
    }
    assert_eq!(stack.upstream_hits().await, hits);
}

/// The other pair of the line: a P-256 key and ES384, with a signature as long as either has it.
#[tokio::test]
async fn j05_a_p256_key_with_es384() {
    let stack = Builder::new()
        .settings("gateway", "[token]\nalgorithms = [\"ES256\", \"EdDSA\", \"RS256\", \"PS256\"]\n")
        .start()
        .await;
    let scene = Scene::on(stack).await;
    let mut bad = Vec::new();
    for name in ["ES384", "ES512", "ES256K", "EdDSA", "RS256", "PS256"] {
        let jws = scene.signed(json!({ "alg": name }), json!({}));
        let (signed, _) = jws.rsplit_once('.').unwrap();
        let padded = [scene.issuer.signature(signed).as_slice(), &[0; 32]].concat();
        bad.push((format!("{name}, 96 octets"), format!("{signed}.{}", encode(padded))));
        bad.push((format!("{name}, 64 octets"), jws));
    }
    scene.refuse_signed(bad).await;
}

#[tokio::test]
async fn j19_es256_signatures_that_are_none() {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    const ZERO: [u8; 32] = [0; 32];
    const ONE: [u8; 32] = {
        let mut one = ZERO;
        one[31] = 1;
        one
    };
    let scene = Scene::begin().await;
    let jws = scene.signed(json!({}), json!({}));
    scene.accept(&scene.recipient.seal(&jws), "the untouched signature").await;
    let (signed, signature) = jws.rsplit_once('.').unwrap();
    let good = decode(signature);
    let (r, s) = good.split_at(32);
    let mut above = N;
    above[31] += 1;
    let mut random = [0; 64];
    rand::fill(&mut random).unwrap();
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("(0, 0)", [ZERO, ZERO].concat()),
        ("(0, 1)", [ZERO, ONE].concat()),
        ("(1, 0)", [ONE, ZERO].concat()),
        ("(1, 1)", [ONE, ONE].concat()),
        ("(0, s)", [&ZERO, s].concat()),
        ("(r, 0)", [r, &ZERO].concat()),
        ("(n, s)", [&N, s].concat()),
        ("(r, n)", [r, &N].concat()),
        ("(n, n)", [N, N].concat()),
        ("(n, 0)", [N, ZERO].concat()),
        ("(0, n)", [ZERO, N].concat()),
        ("(n + 1, s)", [&above, s].concat()),
        ("(r, n + 1)", [r, &above].concat()),
        ("the largest numbers", vec![0xff; 64]),
        ("(s, r)", [s, r].concat()),
        ("noise", random.to_vec()),
        ("DER", scene.issuer.der_signature(signed)),
        ("one octet short", good[..63].to_vec()),
        ("one octet short, in front", good[1..].to_vec()),
        ("one octet long", [&good, &[0][..]].concat()),
        ("one octet long, in front", [&[0][..], &good].concat()),
        ("r with a leading zero, s with one", [&[0], r, &[0], s].concat()),
        ("r alone", r.to_vec()),
        ("twice", [good.as_slice(), &good].concat()),
        ("one octet", vec![0]),
        ("none", Vec::new()),
    ];
    let bad = table.into_iter().map(|(what, octets)| (what, format!("{signed}.{}", encode(octets))));
    scene.refuse_signed(bad).await;
}
