//! C01 and C02: a cookie alone does not prove that the user meant it.

use super::client::{Client, once, request};
use super::gateway::Gateway;

async fn post(gateway: &Gateway, headers: &[&str]) -> (u16, String) {
    let cookie = gateway.cookie();
    let mut all = vec![cookie.as_str(), "Content-Length: 0"];
    all.extend(headers);
    let answer = once(gateway.address, request("POST", "/session/x", &all)).await;
    (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
}

#[tokio::test]
async fn c01_sec_fetch_site() {
    let gateway = Gateway::start().await;
    for site in ["cross-site", "same-site", "nonsense"] {
        let forged = &[&*format!("Sec-Fetch-Site: {site}"), "Origin: http://127.0.0.1:8080"];
        assert_eq!(post(&gateway, forged).await, (403, "cross_site".to_owned()), "{site}");
    }
    assert!(gateway.upstream.requests().is_empty());
    for site in ["same-origin", "none"] {
        assert_eq!(post(&gateway, &[&*format!("Sec-Fetch-Site: {site}")]).await.0, 200, "{site}");
    }
    assert_eq!(gateway.upstream.requests().len(), 2);
}

#[tokio::test]
async fn c02_origin_then_referer_then_nobody() {
    let gateway = Gateway::start().await;
    for (headers, expected) in [
        (&["Origin: https://evil.example"][..], "cross_site"),
        (&["Origin: null"], "cross_site"),
        (&["Origin: null", "Referer: http://127.0.0.1:8080/"], "cross_site"),
        (&["Origin: http://127.0.0.1:8081"], "cross_site"),
        (&["Referer: https://evil.example/http://127.0.0.1:8080/"], "cross_site"),
        (&[], "origin_required"),
    ] {
        assert_eq!(post(&gateway, headers).await, (403, expected.to_owned()), "{headers:?}");
    }
    assert!(gateway.upstream.requests().is_empty());
    for headers in [
        &["Origin: http://127.0.0.1:8080"],
        &["Referer: http://127.0.0.1:8080/form"],
        // The host that the browser itself named.
        &["Origin: http://app.example"],
    ] {
        assert_eq!(post(&gateway, headers).await.0, 200, "{headers:?}");
    }
}

#[tokio::test]
async fn tokens_in_a_header_need_no_origin_and_reads_neither() {
    let gateway = Gateway::start().await;
    let (bearer, cookie) = (gateway.bearer(), gateway.cookie());
    let post = request("POST", "/any/x", &[&bearer, "Content-Length: 0", "Sec-Fetch-Site: cross-site"]);
    assert_eq!(once(gateway.address, post).await.status, 200);
    let get = request("GET", "/session/x", &[&cookie, "Sec-Fetch-Site: cross-site"]);
    assert_eq!(once(gateway.address, get).await.status, 200);
    // A cookie that holds a token is a cookie.
    let cookie = format!("Cookie: latchkey-token={}", gateway.token(&gateway.claims()));
    let post = request("POST", "/any/x", &[&cookie, "Content-Length: 0"]);
    assert_eq!(once(gateway.address, post).await.code(), "origin_required");
}

#[tokio::test]
async fn upgrades_with_a_cookie_must_say_where_from() {
    let gateway = Gateway::start().await;
    let cookie = gateway.cookie();
    let upgrade = ["Connection: Upgrade", "Upgrade: websocket", &cookie];
    for (more, expected) in [(None, "origin_required"), (Some("Origin: https://evil.example"), "cross_site")]
    {
        let headers: Vec<&str> = upgrade.into_iter().chain(more).collect();
        let answer = once(gateway.address, request("GET", "/session/switch", &headers)).await;
        assert_eq!(answer.code(), expected);
    }
    assert!(gateway.upstream.requests().is_empty());
    let mut client = Client::connect(gateway.address).await;
    let headers: Vec<&str> = upgrade.into_iter().chain(["Origin: http://127.0.0.1:8080"]).collect();
    client.send(request("GET", "/session/switch", &headers)).await;
    assert_eq!(client.head().await.status, 101);
}

#[tokio::test]
async fn listed_origins_write_and_read() {
    let gateway = Gateway::with("origins = [\"https://friend.example\"]").await;
    let cookie = gateway.cookie();
    let friend = "Origin: https://friend.example";
    let headers = &[&*cookie, "Content-Length: 0", friend, "Sec-Fetch-Site: cross-site"];
    let answer = once(gateway.address, request("POST", "/session/headers", headers)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://friend.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));

    let preflight = ["Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: content-type"];
    let asked: Vec<&str> = preflight.into_iter().chain([friend]).collect();
    let seen = gateway.upstream.requests().len();
    let answer = once(gateway.address, request("OPTIONS", "/session/x", &asked)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://friend.example"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("PUT"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("content-type"));
    let asked: Vec<&str> = preflight.into_iter().chain(["Origin: https://evil.example"]).collect();
    let answer = once(gateway.address, request("OPTIONS", "/session/x", &asked)).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(gateway.upstream.requests().len(), seen);
}
