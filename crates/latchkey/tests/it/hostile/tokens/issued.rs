//! J20, J21: what is issued and published, and that nobody reads a first-party token on its way.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use token::{KeySet, is_jwe};

use super::super::forge::{decode, part};
use super::super::scene::{Application, Scene, application};
use crate::stack::{Builder, PASSWORD, eventually};

#[tokio::test]
async fn no_part_of_a_first_party_token_can_be_read() {
    let scene = Scene::begin().await;
    scene.stack.cli(&["role", "add", "ledger-clerk", "ledger:read"]);
    scene.stack.cli(&["grant", "add", "alice", "ledger-clerk"]);
    let token = scene.stack.token("alice", PASSWORD).await.access_token;
    let inside = part(&scene.opened(&token), 1);
    assert_eq!(inside["roles"], json!(["ledger-clerk"]), "the role is in it: {inside}");
    assert_eq!(inside["name"], "alice");

    let header = part(&token, 0);
    let names: BTreeSet<&str> = header.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        BTreeSet::from(["alg", "cty", "enc", "epk", "kid"]),
        "the header says how to open it and no more"
    );
    let mut readable = token.clone().into_bytes();
    for part in token.split('.') {
        readable.extend(decode(part));
    }
    let readable = String::from_utf8_lossy(&readable);
    let mut secrets: Vec<&str> =
        ["sub", "name", "jti", "fam", "client_id", "iss"].map(|name| inside[name].as_str().unwrap()).into();
    secrets.push("ledger-clerk");
    for secret in secrets {
        assert!(secret.len() >= 5 && !readable.contains(secret), "{secret}");
    }
    // Twice the same login are two tokens that have nothing in common but the recipient.
    let again = scene.stack.token("alice", PASSWORD).await.access_token;
    for number in [2, 3, 4] {
        assert_ne!(token.split('.').nth(number), again.split('.').nth(number), "part {number}");
    }
    assert_ne!(header["epk"], part(&again, 0)["epk"]);
}

#[tokio::test]
async fn j20_claims_of_access_tokens() {
    const AT_ONCE: usize = 4;
    const ROUNDS: usize = 80;
    let scene = Scene::begin().await;
    let reports = application(&scene.stack, "reports", &["--audience", "https://reports.example"]);
    let robot = application(&scene.stack, "robot", &["--audience", "latchkey", "--scope", "reports:read"]);
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "first-party"),
        ("refresh_token", &scene.tokens.refresh_token),
    ];
    let url = format!("{}/oauth2/token", scene.stack.url());
    let refreshed: Value = scene.http.post(url).form(&form).send().await.unwrap().json().await.unwrap();
    let by_robot = robot.token(&scene.stack, &scene.http).await;
    let by_reports = reports.token(&scene.stack, &scene.http).await;
    assert!(is_jwe(&by_robot), "a token for the gateway is encrypted, whoever asks for it");
    assert!(!is_jwe(&by_reports), "a token for another audience is signed");
    let refreshed = refreshed["access_token"].as_str().unwrap();
    let mut ids = BTreeSet::new();
    for (what, jws, audience, client) in [
        ("a login", scene.opened(&scene.tokens.access_token), "latchkey", "first-party"),
        ("a refresh", scene.opened(refreshed), "latchkey", "first-party"),
        ("a client", scene.opened(&by_robot), "latchkey", robot.id.as_str()),
        ("a client, elsewhere", by_reports, "https://reports.example", reports.id.as_str()),
    ] {
        let (header, claims) = (part(&jws, 0), part(&jws, 1));
        assert_eq!(header["typ"], "at+jwt", "{what}");
        assert_eq!(header["alg"], "ES256", "{what}");
        assert_eq!(claims["iss"], scene.stack.url(), "{what}");
        assert_eq!(claims["aud"], audience, "{what}");
        assert_eq!(claims["client_id"], client, "{what}");
        let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert_eq!(expires - issued, 300, "{what}");
        let kind = if client == "first-party" { "usr_" } else { "cli_" };
        assert!(claims["sub"].as_str().unwrap().starts_with(kind), "{what}: {claims}");
        assert!(ids.insert(claims["jti"].as_str().unwrap().to_owned()), "{what}: {claims}");
        assert!(claims["jti"].as_str().unwrap().len() >= 22, "128 bits: {claims}");
    }
    for _ in 0..ROUNDS {
        let tokens = join_all((0..AT_ONCE).map(|_| reports.token(&scene.stack, &scene.http))).await;
        ids.extend(tokens.iter().map(|token| part(token, 1)["jti"].as_str().unwrap().to_owned()));
    }
    assert_eq!(ids.len(), 4 + AT_ONCE * ROUNDS, "no two tokens have the same id");
}

/// Two keys: another algorithm than before is announced as soon as the database has said what time it is.
#[tokio::test]
async fn j21_published_keys() {
    let mut stack = Builder::new().start().await;
    let settings = stack.state_dir().join("settings/auth.toml");
    std::fs::write(settings, "[signing]\nalgorithm = \"RS256\"\njwks_max_age = \"7m\"\n").unwrap();
    stack.restart().await;
    let (headers, text) = eventually("both keys are published", async || {
        let answer = stack.get("/.well-known/jwks.json").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let headers = answer.headers().clone();
        let text = answer.text().await.unwrap();
        (text.matches("\"kid\"").count() > 1).then_some((headers, text))
    })
    .await;
    assert!(headers["content-type"].to_str().unwrap().starts_with("application/"));
    let caching = headers["cache-control"].to_str().unwrap();
    let max_age = caching.split(',').find_map(|part| part.trim().strip_prefix("max-age=")).expect("max-age");
    assert_eq!(max_age, "420", "{caching}");
    assert!(!caching.contains("no-store") && !caching.contains("private"), "{caching}");

    let set: Value = serde_json::from_str(&text).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2, "{text}");
    let mut ids = BTreeSet::new();
    let mut algorithms = BTreeSet::new();
    for key in keys {
        let members: BTreeSet<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(!members.contains(private), "{private}");
        }
        let kind: &[&str] = if key["kty"] == "RSA" { &["n", "e"] } else { &["crv", "x", "y"] };
        let all = ["kty", "kid", "alg", "use"].iter().chain(kind).copied().collect();
        assert_eq!(members, all, "and nothing else");
        assert_eq!(key["use"], "sig");
        assert!(ids.insert(key["kid"].as_str().unwrap()), "two keys are called {}", key["kid"]);
        algorithms.insert(key["alg"].as_str().expect("one algorithm"));
    }
    assert_eq!(algorithms, BTreeSet::from(["ES256", "RS256"]));
    KeySet::from_json(&text).expect("what we publish is what we would believe");
    // Introspection, metadata and logs show nothing of the private halves either.
    stack.register("alice").await;
    let Application { secret, .. } =
        application(&stack, "reports", &["--audience", "https://reports.example"]);
    assert!(!stack.logs().contains(&secret));
}
