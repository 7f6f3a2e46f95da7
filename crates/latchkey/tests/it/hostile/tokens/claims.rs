//! J07, J08, J09, J12: issuer, audience, times, and claims that are there twice.

use serde_json::json;
use toml::Table;

use super::super::forge::encode;
use super::super::scene::{Scene, now};

#[tokio::test]
async fn j07_the_issuer_is_compared_byte_for_byte() {
    let scene = Scene::begin().await;
    let issuer = scene.stack.url().to_owned();
    assert_eq!(scene.claims["iss"], issuer);
    let port = issuer.rsplit_once(':').unwrap().1;
    let mut bad = Vec::new();
    for other in [
        format!("{issuer}/"),
        format!("{issuer}//"),
        format!("{issuer}?"),
        format!("{issuer}#"),
        format!("{issuer}/x"),
        format!(" {issuer}"),
        format!("{issuer}\n"),
        format!("{issuer}\0"),
        issuer.replace("http", "HTTP"),
        issuer.replace("http", "https"),
        format!("http://localhost:{port}"),
        format!("http://127.0.0.1:0{port}"),
        format!("http://127.1:{port}"),
        "http://127.0.0.1".to_owned(),
        "http://127.0.0.1:80".to_owned(),
        issuer[..issuer.len() - 1].to_owned(),
        "https://issuer.example".to_owned(),
        String::new(),
    ] {
        assert_ne!(other, issuer);
        bad.push((format!("iss {other:?}"), scene.signed(json!({}), json!({ "iss": other }))));
    }
    bad.push(("no iss".into(), scene.signed(json!({}), json!({ "iss": null }))));
    bad.push(("iss in a list".into(), scene.signed(json!({}), json!({ "iss": [issuer] }))));
    scene.refuse_signed(bad).await;
}

#[tokio::test]
async fn j08_the_audience_must_be_ours() {
    let scene = Scene::begin().await;
    let mut bad = Vec::new();
    for aud in [
        json!("other"),
        json!(""),
        json!("Latchkey"),
        json!("latchkey "),
        json!("latchkey,other"),
        json!("latch"),
        json!("session"),
        json!(scene.stack.url()),
        json!([]),
        json!(["other"]),
        json!(["other", "LATCHKEY"]),
        json!([["latchkey"]]),
        json!({ "aud": "latchkey" }),
        json!(1),
        json!(true),
    ] {
        bad.push((format!("aud {aud}"), scene.signed(json!({}), json!({ "aud": aud }))));
    }
    bad.push(("no aud".into(), scene.signed(json!({}), json!({ "aud": null }))));
    scene.refuse_signed(bad).await;
    for aud in [json!("latchkey"), json!(["latchkey"]), json!(["other", "latchkey"])] {
        scene.accept(&scene.forged(json!({}), json!({ "aud": aud })), &aud.to_string()).await;
    }
}

#[tokio::test]
async fn j09_times() {
    let scene = Scene::begin().await;
    // session-service judges login proofs.
    assert!((0..=60).contains(&printed_leeway(&scene, "session", "proof")));
    let leeway = printed_leeway(&scene, "gateway", "token");
    assert!((2..=60).contains(&leeway), "{leeway} s");

    let claims = |claims| scene.signed(json!({}), claims);
    scene
        .refuse_signed([
            ("no exp", claims(json!({ "exp": null }))),
            ("exp in words", claims(json!({ "exp": "tomorrow" }))),
            ("exp in a string", claims(json!({ "exp": (now() + 60).to_string() }))),
            ("exp in a list", claims(json!({ "exp": [now() + 60] }))),
            ("exp beyond all numbers", claims(json!({ "exp": 1e300 }))),
            ("nbf in the future", claims(json!({ "nbf": now() + leeway + 60 }))),
            ("nbf far in the future", claims(json!({ "nbf": now() + 86_400 }))),
            ("nbf in a string", claims(json!({ "nbf": "0" }))),
        ])
        .await;
    let expired = |seconds: i64| scene.forged(json!({}), json!({ "exp": now() - leeway - seconds }));
    scene
        .refuse_as("token_expired", [("exp past the leeway", expired(1)), ("exp long past", expired(86_400))])
        .await;
    let first = scene.forged(json!({}), json!({ "exp": 0 }));
    scene.refuse_as("token_expired", [("exp in 1970", first)]).await;

    let inside = leeway / 2;
    scene.accept(&scene.forged(json!({}), json!({ "exp": now() - inside })), "exp within the leeway").await;
    scene.accept(&scene.forged(json!({}), json!({ "nbf": now() + inside })), "nbf within the leeway").await;
    scene.accept(&scene.forged(json!({}), json!({ "nbf": now() - 60 })), "nbf in the past").await;
}

/// Seconds, from what `latchkey config print` says of a service.
fn printed_leeway(scene: &Scene, service: &str, section: &str) -> i64 {
    let file = scene.stack.state_dir().join(format!("config/{service}-0.toml"));
    let printed = scene.stack.cli(&["config", "print", service, "--config", file.to_str().unwrap()]);
    let printed: Table = printed.parse().unwrap();
    let leeway = printed[section]["leeway"].as_str().expect("the dump has the leeway");
    i64::try_from(humantime::parse_duration(leeway).unwrap().as_secs()).unwrap()
}

#[tokio::test]
async fn j12_members_that_are_there_twice() {
    let scene = Scene::begin().await;
    let (header, claims) = (scene.issuer.header().to_string(), scene.claims.to_string());
    // In front, and behind: whichever a careless reader keeps, the other is good.
    let twice = |text: &str, member: &str| {
        [
            text.replacen('{', &format!("{{{member},"), 1),
            format!("{},{member}}}", text.strip_suffix('}').unwrap()),
        ]
    };
    let mut bad = Vec::new();
    for member in [r#""alg":"none""#, r#""alg":"ES256""#, r#""typ":"JWT""#, r#""\u0061lg":"none""#] {
        for header in twice(&header, member) {
            bad.push((header.clone(), scene.issuer.text(&header, &claims)));
        }
    }
    let sub = format!(r#""sub":{}"#, scene.claims["sub"]);
    for member in
        [r#""sub":"usr_other""#, &sub, r#""exp":9999999999"#, r#""roles":["app-admin"]"#, r#""s\u0075b":"x""#]
    {
        for claims in twice(&claims, member) {
            bad.push((claims.clone(), scene.issuer.text(&header, &claims)));
        }
    }
    for member in [r#""x":{"a":1,"a":2}"#, r#""x":[{"a":1,"a":2}]"#] {
        let [claims, _] = twice(&claims, member);
        bad.push((claims.clone(), scene.issuer.text(&header, &claims)));
    }
    scene.refuse_signed(bad).await;

    let [once, _] = twice(&claims, r#""x":{"a":1,"b":[{"a":1},{"a":1}]}"#);
    scene
        .accept(&scene.recipient.seal(scene.issuer.text(&header, &once)), "the same name in two objects")
        .await;
    let not_json = [
        claims.replace(':', "="),
        format!("[{claims}]"),
        format!("{claims}x"),
        String::new(),
        "\u{feff}{}".into(),
    ];
    let bad = not_json.map(|text| (text.clone(), format!("{}.{}", encode(&header), encode(text))));
    scene
        .refuse_signed(
            bad.map(|(text, signed)| (text, format!("{signed}.{}", encode(scene.issuer.signature(&signed))))),
        )
        .await;
}
