//! Session cookies: how they look, what they are worth, and when they end.

mod secrets;
mod timeouts;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::stack::{Builder, PASSWORD, Stack};

const OTHER_PASSWORD: &str = "granite lemon window cello";

/// Status of a call that needs a session.
async fn status(stack: &Stack, cookie: &str) -> u16 {
    stack.get("/app/session/x").header("cookie", cookie).send().await.unwrap().status().as_u16()
}

/// One `Set-Cookie`.
#[derive(Debug)]
struct SetCookie {
    value: String,
    /// In lower case.
    attributes: Vec<String>,
}

/// The cookies that an answer sets, by name.
fn cookies(answer: &Response) -> BTreeMap<String, SetCookie> {
    let mut all = BTreeMap::new();
    for line in answer.headers().get_all("set-cookie") {
        let mut parts = line.to_str().unwrap().split(';').map(str::trim);
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        assert!(name.len() + value.len() <= 4_096, "{name} is too large for browsers");
        let mut attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        attributes.sort();
        let former = all.insert(name.to_owned(), SetCookie { value: value.to_owned(), attributes });
        assert!(former.is_none(), "{name} is set twice");
    }
    all
}

fn behind_proxy(request: RequestBuilder) -> RequestBuilder {
    let request = request.header("x-forwarded-proto", "https").header("x-forwarded-host", "app.example");
    request.header("x-forwarded-for", "203.0.113.7")
}

#[tokio::test]
async fn s01_the_cookie_is_for_this_host_and_https_alone() {
    let issuer = "issuer = \"https://app.example\"\n";
    let gateway = "public_url = \"https://app.example\"\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let builder = Builder::new().settings("auth", issuer).settings("session", issuer);
    let stack = builder.settings("gateway", gateway).start().await;
    stack.register("alice").await;
    let log_in = |more: Value| {
        let mut body = json!({ "identifier": "alice", "password": PASSWORD });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        stack.post("/v1/login", &body)
    };
    // Whatever a proxy says or fails to say.
    let plain = behind_proxy(log_in(json!({}))).header("x-forwarded-proto", "http");
    for request in [behind_proxy(log_in(json!({}))), log_in(json!({})), plain] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut set = cookies(&answer);
        let session = set.remove("__Host-latchkey-session").unwrap_or_else(|| panic!("{answer:?}"));
        assert_eq!(session.attributes, ["httponly", "path=/", "samesite=lax", "secure"]);
        assert!(set.is_empty(), "{set:?}");

        let used = stack.get("/app/session/x");
        let used = used.header("cookie", format!("__Host-latchkey-session={}", session.value));
        let echo: Value = behind_proxy(used).send().await.unwrap().json().await.unwrap();
        assert_eq!(echo["headers"]["x-forwarded-proto"], json!(["https"]), "{echo}");
        assert_eq!(echo["headers"]["x-forwarded-for"], json!(["203.0.113.7"]));
        // The name that a plain-HTTP neighbour could set is nobody's.
        assert_eq!(status(&stack, &format!("latchkey-session={}", session.value)).await, 401);
    }

    let answer = behind_proxy(log_in(json!({ "mode": "token", "deliver": "cookie" }))).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let set = cookies(&answer);
    assert_eq!(set.keys().collect::<Vec<_>>(), ["__Host-latchkey-token", "__Secure-latchkey-refresh"]);
    for (name, path) in
        [("__Host-latchkey-token", "path=/"), ("__Secure-latchkey-refresh", "path=/v1/refresh")]
    {
        // How long a browser keeps one says nothing about how long it is good.
        let (kept, attributes): (Vec<&str>, Vec<&str>) =
            set[name].attributes.iter().map(String::as_str).partition(|own| own.starts_with("max-age="));
        assert_eq!(attributes, ["httponly", path, "samesite=lax", "secure"], "{name}");
        assert!(kept.len() == 1 && kept[0] != "max-age=0", "{name}: {kept:?}");
    }
    let body: Value = answer.json().await.unwrap();
    assert!(body.get("access_token").is_none() && body.get("refresh_token").is_none(), "{body}");
}

#[tokio::test]
async fn s03_a_planted_secret_never_becomes_a_session() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let log_in = async |cookie: &str| {
        let body = json!({ "identifier": "alice", "password": PASSWORD });
        let answer = stack.post("/v1/login", &body).header("cookie", cookie).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let session = cookies(&answer).remove("latchkey-session").unwrap().value;
        let body: Value = answer.json().await.unwrap();
        (format!("latchkey-session={session}"), body["session"]["id"].as_str().unwrap().to_owned())
    };
    let planted = format!("latchkey-session={}", URL_SAFE_NO_PAD.encode([7; 32]));
    assert_eq!(status(&stack, &planted).await, 401);
    let (first, first_id) = log_in(&planted).await;
    assert_ne!(first, planted);
    assert_eq!(status(&stack, &planted).await, 401, "also after somebody logged in with it");
    assert_eq!(status(&stack, &first).await, 200);

    // Nor does a session that an attacker logged in and left in the browser: the next login has one of its own.
    let (second, second_id) = log_in(&first).await;
    assert!(second != first && second_id != first_id);
    assert_eq!(status(&stack, &first).await, 401, "the former one is dead");
    assert_eq!(status(&stack, &second).await, 200);
    // The public id opens nothing, wherever it is put.
    assert_eq!(status(&stack, &format!("latchkey-session={second_id}")).await, 401);
    let bearer = stack.get("/app/any/x").bearer_auth(&second_id).send().await.unwrap();
    assert_eq!(bearer.status(), 401);
}

#[tokio::test]
async fn s09_two_cookies_or_one_in_disguise_are_nobodys() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let good = stack.session("alice", PASSWORD).await.cookie;
    let value = good.split_once('=').unwrap().1;
    let hits = stack.upstream_hits().await;
    let table: [&[String]; 6] = [
        &[format!("{good}; {good}")],
        &[good.clone(), good.clone()],
        &[format!("{good}; latchkey-session=other")],
        &[format!("Latchkey-Session={value}")],
        &[format!("{good}; LATCHKEY-SESSION=x")],
        &[format!("latchkey-session=x; a=b; {good}")],
    ];
    for lines in table {
        for path in ["/app/session/x", "/app/any/x", "/v1/me"] {
            let request = lines.iter().fold(stack.get(path), |request, line| request.header("cookie", line));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 400, "{path} {lines:?}");
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["code"], "cookie_ambiguous");
        }
    }
    assert_eq!(stack.upstream_hits().await, hits);
    assert_eq!(status(&stack, &format!("a=b; {good}; c=d")).await, 200, "others do no harm");
}

#[tokio::test]
async fn s10_answers_with_cookies_are_kept_by_nobody_and_logout_clears() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let session = stack.session("alice", PASSWORD).await;
    let third = stack.session("alice", PASSWORD).await;
    let login = |more: Value| {
        let mut body = json!({ "identifier": "alice", "password": PASSWORD });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        stack.post("/v1/login", &body)
    };
    let by = |request: RequestBuilder, cookie: &str| {
        request.header("cookie", cookie).header("sec-fetch-site", "same-origin")
    };
    let in_cookies = login(json!({ "mode": "token", "deliver": "cookie" })).send().await.unwrap();
    let refresh = format!("latchkey-refresh={}", cookies(&in_cookies)["latchkey-refresh"].value);
    let change = json!({ "current_password": PASSWORD, "new_password": OTHER_PASSWORD });
    let own = format!("/v1/sessions/{}", third.session_id);
    let delete = stack.request(reqwest::Method::DELETE, &own);
    let post = |path: &str| stack.request(reqwest::Method::POST, path);
    let requests = [
        ("a login by session", login(json!({})), 200),
        ("a login by token", login(json!({ "mode": "token", "deliver": "cookie" })), 200),
        ("a refresh", by(post("/v1/refresh"), &refresh), 200),
        ("a refused refresh", by(post("/v1/refresh"), "latchkey-refresh=lkr_x"), 401),
        ("ending this one", by(delete, &third.cookie), 204),
        ("a change of password", by(stack.post("/v1/password", &change), &session.cookie), 200),
        ("logout", by(post("/v1/logout"), &session.cookie), 204),
    ];
    for (what, request, expected) in requests {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), expected, "{what}");
        assert!(!cookies(&answer).is_empty(), "{what} sets a cookie");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{what}");
        if what == "logout" {
            assert_eq!(answer.headers()["clear-site-data"], "\"cache\"");
            let gone = cookies(&answer);
            let names: Vec<&String> = gone.keys().collect();
            assert_eq!(names, ["latchkey-refresh", "latchkey-session", "latchkey-token"]);
            for (name, cookie) in &gone {
                assert_eq!(cookie.value, "", "{name}");
                assert!(cookie.attributes.iter().any(|own| own == "max-age=0"), "{name}: {cookie:?}");
            }
        }
    }
}
