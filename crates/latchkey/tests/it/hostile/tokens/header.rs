//! J03, J04, J06, J10: what a header may not bring, name or claim to be.

use std::net::TcpListener;

use proto::auth::v1::login_service_client::LoginServiceClient;
use proto::auth::v1::{LoginMode, LoginRequest, login_response};
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use super::super::forge::{Signer, encode, part, with};
use super::super::scene::{Scene, channel};
use crate::stack::{PASSWORD, SOON};

#[tokio::test]
async fn j03_keys_that_a_token_brings_or_points_at() {
    let scene = Scene::begin().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    // Under our kid and under its own.
    let strangers = [Signer::stranger(&scene.issuer.kid), Signer::stranger("stranger")];
    let mut bad = Vec::new();
    for signer in strangers.iter().chain([&scene.issuer]) {
        let certificate = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, signer.public_der());
        for members in [
            json!({ "jwk": signer.public_jwk() }),
            json!({ "jku": url }),
            json!({ "x5u": url }),
            json!({ "x5c": [certificate] }),
            json!({ "jku": url, "x5u": url, "jwk": signer.public_jwk(), "x5c": [certificate] }),
            json!({ "jwk": signer.public_jwk(), "kid": null }),
            json!({ "jku": url, "kid": url }),
        ] {
            let jws = signer.jws(&with(signer.header(), members.clone()), &scene.claims);
            bad.push((format!("{members} by {}", signer.kid), jws));
        }
    }
    scene.refuse_signed(bad).await;
    // In the header of the envelope as well.
    let inner = scene.signed(json!({}), json!({}));
    let mine = scene.issuer.public_jwk();
    for members in [
        json!({ "jku": url }),
        json!({ "x5u": url }),
        json!({ "jwk": mine }),
        json!({ "epk": { "jku": url } }),
    ] {
        let sent = scene.send(&scene.recipient.seal_as(members.clone(), &inner)).await;
        assert!([200, 401].contains(&sent.status().as_u16()), "{members}: ignored or refused");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody came");
    // It would have been seen.
    let _connection = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(listener.accept().is_ok());
}

#[tokio::test]
async fn j04_key_ids_that_are_none_of_ours() {
    let scene = Scene::begin().await;
    let kid = scene.issuer.kid.clone();
    let mut bad = Vec::new();
    for other in [
        "unknown".to_owned(),
        String::new(),
        "../../../../dev/null".to_owned(),
        "/etc/passwd".to_owned(),
        "file:///dev/null".to_owned(),
        "x' UNION SELECT 'key' --".to_owned(),
        format!("{kid}' OR '1'='1"),
        format!("{kid}\0"),
        format!(" {kid}"),
        kid.to_uppercase(),
        kid[..kid.len() - 1].to_owned(),
        "k".repeat(4 * 1024),
    ] {
        bad.push((format!("kid {other:.40?}"), scene.signed(json!({ "kid": other }), json!({}))));
    }
    bad.push(("no kid".into(), scene.signed(json!({ "kid": null }), json!({}))));
    bad.push(("a number".into(), scene.signed(json!({ "kid": 7 }), json!({}))));
    bad.push(("a list".into(), scene.signed(json!({ "kid": [kid] }), json!({}))));
    let twice = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{kid}","kid":"{kid}"}}"#);
    bad.push(("kid twice, the same".into(), scene.issuer.text(&twice, &scene.claims.to_string())));
    for (first, second) in [("unknown", kid.as_str()), (&kid, "unknown")] {
        let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{first}","kid":"{second}"}}"#);
        bad.push(("kid twice".into(), scene.issuer.text(&header, &scene.claims.to_string())));
    }
    scene.refuse_signed(bad).await;
    let hits = scene.stack.upstream_hits().await;
    let huge = scene.signed(json!({ "kid": "k".repeat(64 * 1024) }), json!({}));
    for token in [scene.recipient.seal(&huge), huge] {
        let status = scene.send(&token).await.status();
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE];
        assert!(refused.contains(&status), "64 KB of kid: {status}");
    }
    assert_eq!(scene.stack.upstream_hits().await, hits);
}

/// The gateway asks for keys at most once in 5 s (docs/threat-model.md), and it does ask: a key may be new.
#[tokio::test]
async fn j04_unknown_keys_make_it_ask_again_but_seldom() {
    const PACE_SECONDS: f64 = 5.0;
    let scene = Scene::begin().await;
    let fetches = async || scene.stack.metric("gateway-0", "latchkey_gateway_key_fetches_total").await;
    // How many unknown keys it took, and a moment before that fetch.
    let wait_for_more_than = async |count: u64| {
        let (until, mut sent) = (Instant::now() + SOON, 0);
        loop {
            let before = Instant::now();
            for _ in 0..20 {
                let unknown = Signer::stranger(&format!("unknown-{sent}"));
                let token = unknown.jws(&unknown.header(), &scene.claims);
                assert_eq!(scene.send(&token).await.status(), StatusCode::UNAUTHORIZED);
                sent += 1;
            }
            if fetches().await > count {
                return (sent, before);
            }
            assert!(Instant::now() < until, "it never asked");
        }
    };
    let (_, began) = wait_for_more_than(fetches().await).await;
    let before = fetches().await;
    let (sent, _) = wait_for_more_than(before).await;
    let elapsed = began.elapsed().as_secs_f64();
    let asked = fetches().await - before;
    assert!(asked < sent, "{asked} fetches for {sent} unknown key ids");
    // The slower the machine the more there may be.
    assert!(asked as f64 <= elapsed / PACE_SECONDS, "{asked} fetches in {elapsed} s");
    scene.accept(&scene.tokens.access_token, "who has a good token").await;
}

#[tokio::test]
async fn j06_tokens_of_another_kind() {
    let scene = Scene::begin().await;
    let mut bad = Vec::new();
    for typ in [
        "JWT",
        "jwt",
        "id+jwt",
        "refresh+jwt",
        "rt+jwt",
        "logout+jwt",
        "dpop+jwt",
        "login-proof+jwt",
        "client-authentication+jwt",
        "secevent+jwt",
        "at+jwt ",
        "at jwt",
        "at+jwt;x=1",
        "text/at+jwt",
        "application/application/at+jwt",
        "at",
        "",
        "application/",
    ] {
        bad.push((format!("typ {typ:?}"), scene.signed(json!({ "typ": typ }), json!({}))));
    }
    bad.push(("no typ".into(), scene.signed(json!({ "typ": null }), json!({}))));
    bad.push(("typ in a list".into(), scene.signed(json!({ "typ": ["at+jwt"] }), json!({}))));
    let id_token = json!({ "nonce": "n", "auth_time": 1, "at_hash": "h", "acr": "0" });
    bad.push(("an ID token".into(), scene.signed(json!({ "typ": "JWT" }), id_token)));
    let logout = json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } });
    bad.push(("a logout token".into(), scene.signed(json!({ "typ": "logout+jwt" }), logout)));
    let assertion = json!({ "iss": "cli_1", "sub": "cli_1", "aud": scene.stack.url() });
    bad.push(("a client assertion".into(), scene.signed(json!({ "typ": "JWT" }), assertion)));
    let dpop = json!({ "htm": "GET", "htu": scene.stack.url(), "jwk": scene.issuer.public_jwk() });
    bad.push(("a DPoP proof".into(), scene.signed(json!({ "typ": "dpop+jwt" }), dpop)));
    bad.push(("a login proof".into(), login_proof(&scene).await));
    bad.push(("a refresh token".into(), scene.tokens.refresh_token.clone()));
    scene.refuse_signed(bad).await;
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        scene.accept(&scene.forged(json!({ "typ": typ }), json!({})), typ).await;
    }
}

/// A real one, as auth-service gives it to the gateway for session-service.
async fn login_proof(scene: &Scene) -> String {
    let answer = LoginServiceClient::new(channel(&scene.stack, "auth", "gateway"))
        .login(LoginRequest {
            identifier: "alice".into(),
            password: PASSWORD.into(),
            mode: LoginMode::Session.into(),
            client_address: "127.0.0.1".into(),
        })
        .await
        .unwrap();
    let Some(login_response::Result::LoginProof(proof)) = answer.into_inner().result else {
        panic!("a login by session is answered with a proof")
    };
    assert_eq!(part(&proof, 0)["typ"], "login-proof+jwt");
    assert_eq!(part(&proof, 1)["aud"], "session");
    proof
}

#[tokio::test]
async fn j10_extensions_that_must_be_understood() {
    let scene = Scene::begin().await;
    let claims = scene.claims.to_string();
    let mut bad = Vec::new();
    for members in [
        json!({ "crit": ["x-unknown"], "x-unknown": true }),
        json!({ "crit": ["x-unknown"] }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "crit": ["b64"], "b64": true }),
        json!({ "b64": false }),
        json!({ "crit": ["exp"], "exp": 9_999_999_999_u64 }),
        json!({ "crit": ["alg"] }),
        json!({ "crit": [] }),
        json!({ "crit": "b64" }),
        json!({ "crit": [null] }),
    ] {
        bad.push((members.to_string(), scene.signed(members, json!({}))));
    }
    let null = scene.issuer.header().to_string().replace('{', r#"{"crit":null,"#);
    bad.push(("crit null".into(), scene.issuer.text(&null, &claims)));
    // RFC 7797: what is signed is the payload itself. One that has no character outside the alphabet can be written so.
    let header = encode(with(scene.issuer.header(), json!({ "crit": ["b64"], "b64": false })).to_string());
    let signed = format!("{header}.payload");
    bad.push((
        "an unencoded payload".into(),
        format!("{signed}.{}", encode(scene.issuer.signature(&signed))),
    ));
    scene.refuse_signed(bad).await;
    // The envelope has a header too.
    let inner = scene.signed(json!({}), json!({}));
    let envelope = |members| scene.recipient.seal_as(members, &inner);
    scene
        .refuse([
            ("crit", envelope(json!({ "crit": ["x-unknown"], "x-unknown": 1 }))),
            ("crit of a known name", envelope(json!({ "crit": ["enc"] }))),
            ("an empty crit", envelope(json!({ "crit": [] }))),
        ])
        .await;
}
