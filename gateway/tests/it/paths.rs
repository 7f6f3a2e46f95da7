//! Z02 and O21: the path that was decided on is the path that is sent, and no token travels in a URL.

use super::client::{get, once, request};
use super::gateway::{ALICE, Gateway};

#[tokio::test]
async fn z02_ambiguous_paths() {
    let gateway = Gateway::start().await;
    for path in [
        "/open//x",
        "//open/x",
        "/open/./x",
        "/open/../admin/x",
        "/open/x/..",
        "/open/%2e%2e/admin/x",
        "/open/%2E/x",
        "/open%2fx",
        "/open/x%2Fy",
        "/open/x;a=b",
        "/open;/x",
        "/open/x%3b",
        "/open/\\x",
        "/open/%5cx",
        "/open/%00",
        "/open/x%0d%0a",
        "/open/%c0%ae",
        "/open/%C0%AF",
        "/open/%",
        "/open/%4",
        "/open/%zz",
        "/%6fpen/x",
        "/open/%252e",
        "/open/x\u{e9}",
    ] {
        let answer = get(gateway.address, path, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "path_ambiguous"), "{path}");
    }
    assert!(gateway.upstream.requests().is_empty());
}

#[tokio::test]
async fn z02_what_is_decided_on_is_sent() {
    let gateway = Gateway::start().await;
    for path in [
        "/open/",
        "/open/x/",
        "/open/caf%C3%A9",
        "/open/a%20b",
        "/open/100%25",
        "/open/x?a=%2e%2e/..//&b=%zz",
        "/open/X",
        "/open/a%3Ab@c",
        "/open/...",
        "/open/x?",
    ] {
        let answer = get(gateway.address, path, &[]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(gateway.upstream.last().target(), path);
    }
    // In absolute form, the same path.
    let answer =
        once(gateway.address, "GET http://A.example/open/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(gateway.upstream.last().target(), "/open/x?y");
    // Case is the application's to judge, so it is the route's too.
    assert_eq!(get(gateway.address, "/OPEN/x", &[]).await.status, 404);
}

#[tokio::test]
async fn z02_a_parameter_is_what_it_decodes_to_and_the_prefix_is_taken_off() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    let allow = (ALICE.to_owned(), "document:read".to_owned(), "document/a/b c".to_owned());
    gateway.world.with(|held| held.allowed.insert(allow));
    let answer = get(gateway.address, "/app/documents/a%2Fb%20c?v=1", &[&bearer]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(gateway.upstream.last().target(), "/documents/a%2Fb%20c?v=1");
    for path in ["/app/documents/a%2fb%20d", "/app/documents/a"] {
        assert_eq!(get(gateway.address, path, &[&bearer]).await.code(), "permission_denied", "{path}");
    }
    let long = format!("/app/documents/{}", "a".repeat(257));
    assert_eq!(get(gateway.address, &long, &[&bearer]).await.code(), "resource_invalid");
    assert_eq!(get(gateway.address, "/app/documents/a/", &[&bearer]).await.code(), "not_found");
    assert_eq!(gateway.upstream.requests().len(), 1);
}

#[tokio::test]
async fn o21_no_tokens_in_queries() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    for query in ["access_token=x", "a=b&access_token=x", "access%5ftoken=x"] {
        let answer = get(gateway.address, &format!("/token/x?{query}"), &[&bearer]).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "token_in_query"), "{query}");
    }
    assert!(gateway.upstream.requests().is_empty());
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let gateway = Gateway::start().await;
    assert_eq!(get(gateway.address, "/", &[]).await.code(), "not_found");
    assert_eq!(get(gateway.address, "/elsewhere", &[]).await.code(), "not_found");
    let answer = once(gateway.address, request("DELETE", "/app/documents/1", &[])).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    assert_eq!(get(gateway.address, "/v1/nothing", &[]).await.status, 404);
}
