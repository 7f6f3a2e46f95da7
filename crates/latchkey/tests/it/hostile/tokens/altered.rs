//! J11, J17, and tokens of which something was changed, added or taken away.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::forge::{decode, encode, part};
use super::super::scene::Scene;

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// `token` with the character at `at` of part `number` replaced by another one.
fn changed(token: &str, number: usize, at: usize) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let other = if &parts[number][at..=at] == "A" { "B" } else { "A" };
    parts[number].replace_range(at..=at, other);
    parts.join(".")
}

/// First, middle and last character of each part changed, and one added to each.
fn changes(token: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (number, part) in token.split('.').enumerate() {
        for at in [0, part.len() / 2, part.len().saturating_sub(1)] {
            if at < part.len() {
                all.push((format!("part {number}, character {at}"), changed(token, number, at)));
            }
        }
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        parts[number].push('A');
        all.push((format!("a character added to part {number}"), parts.join(".")));
    }
    all
}

#[tokio::test]
async fn a_token_with_one_character_changed_or_added_is_none() {
    let scene = Scene::begin().await;
    let token = scene.tokens.access_token.clone();
    assert_eq!(token.split('.').count(), 5, "a first-party token is encrypted");
    scene.refuse(changes(&token)).await;
    // The last character has bits that carry nothing: no other one stands for the same octets.
    let (rest, last) = token.split_at(token.len() - 1);
    let others = ALPHABET.chars().filter(|other| !last.starts_with(*other));
    scene.refuse(others.map(|other| (format!("{other} as the last"), format!("{rest}{other}")))).await;
    scene.refuse(ALPHABET.chars().map(|more| (format!("{more} appended"), format!("{token}{more}")))).await;

    let jws = scene.opened(&token);
    scene.accept(&scene.recipient.seal(&jws), "what is inside, encrypted anew").await;
    scene.refuse_signed(changes(&jws)).await;
    let (rest, last) = jws.split_at(jws.len() - 1);
    let others = ALPHABET.chars().filter(|other| !last.starts_with(*other));
    let others =
        others.map(|other| (format!("{other} as the last"), scene.recipient.seal(format!("{rest}{other}"))));
    scene.refuse(others).await;
    scene.accept(&token, "the token itself").await;
}

#[tokio::test]
async fn a_token_without_its_signature_or_with_another_algorithm_is_none() {
    let scene = Scene::begin().await;
    let jws = scene.opened(&scene.tokens.access_token);
    let parts: Vec<&str> = jws.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let mut bad = vec![
        ("no signature".to_owned(), format!("{header}.{claims}.")),
        ("no last part".into(), format!("{header}.{claims}")),
        ("no header".into(), format!(".{claims}.{signature}")),
        ("no claims".into(), format!("{header}..{signature}")),
        ("claims alone".into(), claims.to_owned()),
        ("nothing but dots".into(), "..".into()),
        ("another signature".into(), {
            let other = scene.signed(json!({}), json!({ "jti": "other" }));
            format!("{header}.{claims}.{}", other.rsplit_once('.').unwrap().1)
        }),
        ("other claims".into(), {
            let mut other = part(&jws, 1);
            other["sub"] = json!("usr_00000000000000000000000000");
            format!("{header}.{}.{signature}", encode(other.to_string()))
        }),
    ];
    for name in ["none", "HS256", "ES384", "RS256", "PS256", "EdDSA"] {
        let mut swapped = part(&jws, 0);
        swapped["alg"] = json!(name);
        bad.push((format!("alg {name}"), format!("{}.{claims}.{signature}", encode(swapped.to_string()))));
    }
    scene.refuse_signed(bad).await;

    let token = &scene.tokens.access_token;
    let parts: Vec<&str> = token.split('.').collect();
    let mut bad = vec![
        ("no tag".to_owned(), format!("{}....", parts[0])),
        ("four parts".into(), parts[..4].join(".")),
        ("six parts".into(), format!("{token}.{}", parts[4])),
        ("the envelope as a signed token".into(), format!("{}.{}.{}", parts[0], parts[3], parts[4])),
    ];
    for (member, value) in
        [("alg", "dir"), ("alg", "RSA-OAEP"), ("enc", "A128GCM"), ("enc", "A128CBC-HS256"), ("kid", "x")]
    {
        let mut swapped = part(token, 0);
        swapped[member] = json!(value);
        let swapped = encode(swapped.to_string());
        bad.push((format!("{member} {value}"), format!("{swapped}.{}", parts[1..].join("."))));
    }
    scene.refuse(bad).await;
}

#[tokio::test]
async fn j11_characters_outside_the_alphabet() {
    let scene = Scene::begin().await;
    let jws = scene.opened(&scene.tokens.access_token);
    let mut bad = Vec::new();
    for (form, token) in [("encrypted", scene.tokens.access_token.clone()), ("signed", jws.clone())] {
        for odd in [" ", "=", "==", "?", "+", "/", "\t", ",", "%2e", "~", "\"", "*", "\u{e9}"] {
            let middle = token.len() / 2;
            bad.push((format!("{form}, {odd:?} at the end"), format!("{token}{odd}")));
            bad.push((format!("{form}, {odd:?} in front"), format!("{odd}{token}")));
            bad.push((
                format!("{form}, {odd:?} inside"),
                format!("{}{odd}{}", &token[..middle], &token[middle..]),
            ));
            bad.push((format!("{form}, {odd:?} at a dot"), token.replacen('.', &format!("{odd}."), 1)));
        }
        // The same octets, spelled as ordinary base64 or padded.
        bad.push((format!("{form}, another base64"), token.replace('-', "+").replace('_', "/") + "="));
    }
    // HTTP takes white space at the end of a line away, and a token that ends there is not another one.
    bad.retain(|(_, token)| !token.ends_with([' ', '\t']));
    let part = |number: usize| jws.split('.').nth(number).unwrap();
    let flat = json!({ "protected": part(0), "payload": part(1), "signature": part(2) });
    let general = json!({
        "payload": part(1), "signatures": [{ "protected": part(0), "signature": part(2) }],
    });
    bad.push(("JSON, flattened".into(), flat.to_string()));
    bad.push(("JSON, general".into(), general.to_string()));
    let part = |number: usize| scene.tokens.access_token.split('.').nth(number).unwrap();
    let flat = json!({ "protected": part(0), "iv": part(2), "ciphertext": part(3), "tag": part(4) });
    bad.push(("JSON, encrypted".into(), flat.to_string()));
    bad.push(("JSON in base64".into(), encode(flat.to_string())));
    scene.refuse(bad).await;

    // Inside the envelope every character can stand.
    let mut inside = Vec::new();
    for odd in [" ", "\n", "\r\n", "=", "?", "\0", "\u{feff}"] {
        inside.push((format!("{odd:?} at the end"), scene.recipient.seal(format!("{jws}{odd}"))));
        inside.push((format!("{odd:?} in front"), scene.recipient.seal(format!("{odd}{jws}"))));
        inside.push((
            format!("{odd:?} at a dot"),
            scene.recipient.seal(jws.replacen('.', &format!(".{odd}"), 1)),
        ));
    }
    scene.refuse(inside).await;

    // A line feed can only be sent by hand; whoever reads heads must not let it become another header.
    let hits = scene.stack.upstream_hits().await;
    let token = &scene.tokens.access_token;
    for broken in
        [token.replacen('.', "\n.", 1), token.replacen('.', "\r.", 1), token.replacen('.', "\0.", 1)]
    {
        let status = by_hand(&scene, &broken).await;
        assert!([400, 401].contains(&status), "{status}");
    }
    assert_eq!(scene.stack.upstream_hits().await, hits);
    assert_eq!(by_hand(&scene, token).await, 200);
}

/// The status of a request with these octets in its `Authorization`.
async fn by_hand(scene: &Scene, token: &str) -> u16 {
    let address = scene.stack.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /app/token/x HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Who refuses a head may close before it has read all of it.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap()
}

/// Everything that a caller can see, but for what is new in every answer.
async fn seen(scene: &Scene, token: &str) -> (StatusCode, BTreeMap<String, String>, Value) {
    let answer = scene.send(token).await;
    let status = answer.status();
    let headers =
        answer.headers().iter().filter(|(name, _)| !matches!(name.as_str(), "date" | "x-request-id"));
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let mut body: Value = answer.json().await.unwrap();
    assert!(body.as_object_mut().unwrap().remove("request_id").is_some());
    (status, headers, body)
}

/// How many operations each costs is counted in the token crate.
#[tokio::test]
async fn j17_whatever_part_is_altered_looks_the_same() {
    let scene = Scene::begin().await;
    let token = scene.tokens.access_token.clone();
    let parts: Vec<&str> = token.split('.').collect();
    let mut altered = changes(&token);
    altered.push((
        "an encrypted key".into(),
        format!("{}.{}.{}", parts[0], encode([0; 40]), parts[2..].join(".")),
    ));
    for (what, header) in [
        ("header: nonsense", encode("nonsense")),
        ("header: no JSON object", encode("[]")),
        ("header: another kid", {
            let mut header = part(&token, 0);
            header["kid"] = json!("other");
            encode(header.to_string())
        }),
        ("header: off the curve", {
            let mut header = part(&token, 0);
            let mut y = decode(header["epk"]["y"].as_str().unwrap());
            y[31] ^= 1;
            header["epk"]["y"] = json!(encode(y));
            encode(header.to_string())
        }),
    ] {
        altered.push((what.into(), format!("{header}.{}", parts[1..].join("."))));
    }
    for (number, octets) in [
        (2, vec![0; 12]),
        (2, vec![0; 16]),
        (3, vec![0; 8]),
        (3, Vec::new()),
        (4, vec![0; 16]),
        (4, vec![0; 8]),
    ] {
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        parts[number] = encode(&octets);
        altered.push((format!("part {number}: {} zeros", octets.len()), parts.join(".")));
    }
    altered.push(("good envelope, bad signature".into(), {
        scene.recipient.seal(changed(&scene.opened(&token), 2, 5))
    }));
    let hits = scene.stack.upstream_hits().await;
    let first = seen(&scene, &altered[0].1).await;
    assert_eq!(first.0, StatusCode::UNAUTHORIZED);
    assert_eq!(first.2["code"], "token_invalid");
    for (what, token) in &altered {
        assert_eq!(seen(&scene, token).await, first, "{what}");
    }
    assert_eq!(scene.stack.upstream_hits().await, hits);
    scene.accept(&token, "the token itself").await;
}
