//! Other web sites that make a victim's browser send requests with the victim's cookie.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::stack::{Browser, PASSWORD, Stack, client};

struct Victim {
    stack: Stack,
    browser: Browser,
    /// The cookies of a login by token.
    token: String,
    refresh: String,
}

impl Victim {
    async fn begin() -> Self {
        let stack = Stack::start().await;
        stack.register("alice").await;
        let browser = stack.session("alice", PASSWORD).await;
        let login =
            json!({ "identifier": "alice", "password": PASSWORD, "mode": "token", "deliver": "cookie" });
        let answer = stack.post("/v1/login", &login).send().await.unwrap();
        let set: Vec<String> = answer
            .headers()
            .get_all("set-cookie")
            .iter()
            .map(|line| line.to_str().unwrap().split(';').next().unwrap().to_owned())
            .collect();
        let find = |name: &str| set.iter().find(|cookie| cookie.starts_with(name)).unwrap().clone();
        let (token, refresh) = (find("latchkey-token="), find("latchkey-refresh="));
        Self { stack, browser, token, refresh }
    }

    /// Everything that changes something and takes a cookie for it: with the cookie, and without saying where it comes from.
    fn unsafe_requests(&self) -> Vec<(String, RequestBuilder)> {
        let (session, token) = (&self.browser.cookie, &self.token);
        let mut all = Vec::new();
        let mut add = |method: Method, path: &str, cookie: &str, body: Option<&Value>| {
            let what = format!("{method} {path} with {}", cookie.split('=').next().unwrap());
            let mut request = self.stack.request(method, path).header("cookie", cookie);
            if let Some(body) = body {
                request = request.json(body);
            }
            all.push((what, request));
        };
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            add(method.clone(), "/app/session/x", session, None);
            add(method.clone(), "/app/any/x", session, None);
            add(method.clone(), "/app/any/x", token, None);
            add(method, "/app/token/x", token, None);
        }
        let change = json!({ "current_password": PASSWORD, "new_password": "granite lemon window cello" });
        for cookie in [session, token] {
            add(Method::POST, "/v1/logout", cookie, None);
            add(Method::POST, "/v1/sessions/end-others", cookie, None);
            add(Method::POST, "/v1/sessions/end-all", cookie, None);
            add(Method::DELETE, &format!("/v1/sessions/{}", self.browser.session_id), cookie, None);
            add(Method::POST, "/v1/password", cookie, Some(&change));
        }
        add(Method::POST, "/v1/refresh", &self.refresh, None);
        all
    }

    /// A channel is opened by a GET, and is more than a read.
    fn upgrade(&self) -> RequestBuilder {
        let request = self.stack.get("/app/session/x").header("cookie", &self.browser.cookie);
        request.header("connection", "upgrade").header("upgrade", "websocket")
    }

    async fn still_logged_in(&self) {
        for (path, cookie) in [("/app/session/x", &self.browser.cookie), ("/app/token/x", &self.token)] {
            let answer = self.stack.get(path).header("cookie", cookie).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
        }
        self.stack.session("alice", PASSWORD).await;
    }
}

async fn refused(request: RequestBuilder, code: &str, what: &str) {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 403, "{what}");
    assert!(!answer.headers().contains_key("set-cookie"), "{what}");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], code, "{what}");
}

#[tokio::test]
async fn c01_another_site_changes_nothing() {
    let victim = Victim::begin().await;
    let hits = victim.stack.upstream_hits().await;
    // Whatever else it claims.
    let own = victim.stack.url().to_owned();
    for site in ["cross-site", "same-site", "nonsense"] {
        for (what, request) in victim.unsafe_requests() {
            let request = request.header("sec-fetch-site", site).header("origin", &own);
            refused(request, "cross_site", &format!("{what}, {site}")).await;
        }
        refused(victim.upgrade().header("sec-fetch-site", site), "cross_site", "an upgrade").await;
    }
    // Nor does it log the victim in as somebody else.
    let login = json!({ "identifier": "alice", "password": PASSWORD });
    let forged = victim.stack.post("/v1/login", &login).header("sec-fetch-site", "cross-site");
    refused(forged, "cross_site", "a login").await;
    assert_eq!(victim.stack.upstream_hits().await, hits);
    victim.still_logged_in().await;
    // The same requests from the own site are fine, and so is reading after a link from elsewhere.
    let (_, post) = victim.unsafe_requests().swap_remove(0);
    assert_eq!(post.header("sec-fetch-site", "same-origin").send().await.unwrap().status(), 200);
    let link = victim.stack.get("/app/session/x").header("cookie", &victim.browser.cookie);
    assert_eq!(link.header("sec-fetch-site", "cross-site").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn c02_without_fetch_metadata_the_origin_decides() {
    let victim = Victim::begin().await;
    let hits = victim.stack.upstream_hits().await;
    let own = victim.stack.url().to_owned();
    let lookalike = format!("{own}.evil.example");
    let in_path = format!("https://evil.example/{own}/");
    let own_page = format!("{own}/form?x=1");
    let foreign: [&[(&str, &str)]; 9] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "null"), ("referer", &own_page)],
        &[("origin", "")],
        &[("origin", &lookalike)],
        &[("origin", "http://127.0.0.1:1")],
        &[("origin", &own), ("origin", "https://evil.example")],
        &[("referer", &in_path)],
        &[("referer", "about:blank")],
    ];
    let with = |request: RequestBuilder, headers: &[(&str, &str)]| {
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    for headers in foreign {
        for (what, request) in victim.unsafe_requests() {
            refused(with(request, headers), "cross_site", &format!("{what}, {headers:?}")).await;
        }
        refused(with(victim.upgrade(), headers), "cross_site", "an upgrade").await;
    }
    for (what, request) in victim.unsafe_requests() {
        // A change of password proves itself by the present one; but a cookie is not believed for it either.
        refused(request, "origin_required", &what).await;
    }
    refused(victim.upgrade(), "origin_required", "an upgrade").await;
    assert_eq!(victim.stack.upstream_hits().await, hits);
    victim.still_logged_in().await;
    for header in [("origin", own.as_str()), ("referer", own_page.as_str())] {
        let (what, request) = victim.unsafe_requests().swap_remove(0);
        assert_eq!(with(request, &[header]).send().await.unwrap().status(), 200, "{what} {header:?}");
    }
}

/// What the listener at `url` says it has: path, methods, and whether JSON is taken by each.
async fn described(url: &str) -> Vec<(String, Vec<(Method, Option<String>)>)> {
    let document: Value =
        client().get(format!("{url}/openapi.json")).send().await.unwrap().json().await.unwrap();
    let methods = |item: &Value| {
        let operations = item.as_object().unwrap().iter();
        operations
            .filter_map(|(name, operation)| {
                let method: Method = name.to_ascii_uppercase().parse().ok()?;
                let types = operation["requestBody"]["content"].as_object();
                Some((method, types.map(|types| types.keys().next().unwrap().clone())))
            })
            .collect()
    };
    document["paths"].as_object().unwrap().iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// `{name}` becomes something that could be there.
fn concrete(path: &str) -> String {
    let part = |part: &str| match part {
        "{kind}" => "user".to_owned(),
        named if named.starts_with('{') => "alice".to_owned(),
        other => other.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn c04_json_endpoints_take_nothing_that_a_form_can_send() {
    let victim = Victim::begin().await;
    let token = victim.stack.token("admin", &victim.stack.admin_password()).await.access_token;
    let body = json!({ "username": "mallory", "password": PASSWORD, "identifier": "alice" }).to_string();
    let mut tried = BTreeSet::new();
    for url in [victim.stack.url(), victim.stack.internal()] {
        for (path, methods) in described(url).await {
            for (method, takes) in methods {
                let takes_json = takes.as_deref() == Some("application/json");
                if !takes_json && (method != Method::POST || takes.is_some()) {
                    continue;
                }
                for kind in [
                    Some("text/plain"),
                    Some("text/plain; charset=application/json"),
                    Some("application/x-www-form-urlencoded"),
                    Some("multipart/form-data; boundary=x"),
                    None,
                ] {
                    // A request without a body has no type: that is how these are called.
                    if !takes_json && kind.is_none() {
                        continue;
                    }
                    let request = client().request(method.clone(), format!("{url}{}", concrete(&path)));
                    let request = request.header("sec-fetch-site", "same-origin").body(body.clone());
                    let request = match path.as_str() {
                        "/v1/refresh" => request.header("cookie", &victim.refresh),
                        _ => request.bearer_auth(&token),
                    };
                    let request =
                        kind.into_iter().fold(request, |request, kind| request.header("content-type", kind));
                    let answer = request.send().await.unwrap();
                    assert_eq!(answer.status(), 415, "{method} {path} {kind:?}");
                    let problem: Value = answer.json().await.unwrap();
                    assert_eq!(problem["code"], "unsupported_media_type");
                    tried.insert(format!("{method} {path}"));
                }
            }
        }
    }
    for known in
        ["POST /v1/login", "POST /v1/logout", "PUT /v1/admin/roles/{role}", "PATCH /v1/admin/users/{user}"]
    {
        assert!(tried.contains(known), "{known} is not in {tried:?}");
    }
    victim.still_logged_in().await;
}

#[tokio::test]
async fn c04_reading_changes_nothing() {
    let victim = Victim::begin().await;
    let stack = &victim.stack;
    stack.cli(&["role", "add", "reader", "document:read"]);
    stack.cli(&["grant", "add", "alice", "reader"]);
    stack.cli(&["group", "add", "staff"]);
    let token = stack.token("admin", &stack.admin_password()).await.access_token;
    let state = || {
        let nouns = ["user", "client", "role", "group"].map(|noun| stack.cli_json(&[noun, "list"]));
        let grants = stack.cli_json(&["grant", "list", "alice"]);
        let mut sessions = stack.cli_json(&["session", "list", "alice"]);
        for session in sessions.as_array_mut().unwrap() {
            // Using one moves it.
            session.as_object_mut().unwrap().retain(|name, _| name == "id");
        }
        (nouns, grants, sessions)
    };
    let before = state();
    let send = async |request: RequestBuilder| -> Response { request.send().await.unwrap() };
    let mut not_for_reading = BTreeSet::new();
    for url in [stack.url(), stack.internal()] {
        for (path, methods) in described(url).await {
            let readable = methods.iter().any(|(method, _)| *method == Method::GET);
            for method in [Method::GET, Method::HEAD] {
                for credential in ["token", "cookie"] {
                    let target = format!("{url}{}?_method=DELETE", concrete(&path));
                    let request = client().request(method.clone(), target);
                    let request = request.header("x-http-method-override", "DELETE");
                    let answer = send(match credential {
                        "token" => request.bearer_auth(&token),
                        _ => {
                            request.header("cookie", format!("{}; {}", victim.browser.cookie, victim.refresh))
                        }
                    })
                    .await;
                    if !readable {
                        assert_eq!(answer.status(), 405, "{method} {path}");
                        not_for_reading.insert(path.clone());
                    }
                }
            }
        }
    }
    assert!(
        not_for_reading.contains("/v1/logout") && not_for_reading.contains("/v1/login"),
        "{not_for_reading:?}"
    );
    assert_eq!(state(), before);
    victim.still_logged_in().await;
}
