//! Requests that are too much, too slow or make no sense: each told so by name, and none in anybody's way.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::raw::{answers, connect, head, one, read_to_end};
use crate::stack::{Builder, Stack};

#[tokio::test]
async fn what_is_too_much_is_refused_by_name() {
    let stack = Builder::new().settings("gateway", "[limits]\nbody_bytes = 100000\n").start().await;
    let hits = stack.upstream_hits().await;
    let large = format!("X-Large: {}", "a".repeat(40 * 1024));
    let many: Vec<String> = (0..110).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = format!("/app/public/{}", "a".repeat(40 * 1024));
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "a".repeat(60_000));
    let chunked = |path: &str| {
        let types = "Content-Type: application/json";
        format!("{}{chunk}{chunk}0\r\n\r\n", head("POST", path, &["Transfer-Encoding: chunked", types]))
    };
    let announced = head("POST", "/app/public/x", &["Content-Length: 100001"]);
    let login = format!("{{\"identifier\": \"{}\"}}", "a".repeat(99_000));
    let own = head("POST", "/v1/login", &["Content-Type: application/json", "Content-Length: 300000"]);
    for (what, request, status, code) in [
        ("a large header", head("GET", "/app/public/x", &[&large]), 431, "headers_too_large"),
        ("many headers", head("GET", "/app/public/x", &many), 431, "headers_too_large"),
        ("a long target", head("GET", &long, &[]), 431, "headers_too_large"),
        ("a large body, announced", announced, 413, "body_too_large"),
        ("a large body to an own path", format!("{own}{}", "a".repeat(300_000)), 413, "body_too_large"),
        ("a large body in chunks, to an own path", chunked("/v1/login"), 413, "body_too_large"),
    ] {
        let answer = one(&stack, request).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{what}");
    }
    assert_eq!(stack.upstream_hits().await, hits);
    // In chunks nobody knows beforehand: the application may have begun to read, but the caller is told.
    let answer = one(&stack, chunked("/app/public/x")).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    // A little less is fine.
    let fine = one(&stack, head("GET", "/app/public/x", &[&large[..30 * 1024]])).await;
    assert_eq!(fine.status, 200);
    let body = "a".repeat(100_000);
    let fine = one(&stack, head("POST", "/app/public/x", &["Content-Length: 100000"]) + &body).await;
    assert_eq!(fine.json()["body_bytes"], 100_000);
    let body = format!(
        "{}{login}",
        head(
            "POST",
            "/v1/login",
            &["Content-Type: application/json", &format!("Content-Length: {}", login.len())]
        )
    );
    assert_eq!(one(&stack, body).await.code(), "request_invalid", "large but readable: no password in it");
}

#[tokio::test]
async fn who_is_slow_is_told_and_holds_nobody_up() {
    let stack = Builder::new()
        .settings("gateway", "[limits]\nhead_timeout = \"300ms\"\nbody_timeout = \"300ms\"\n")
        .start()
        .await;
    let hits = stack.upstream_hits().await;
    let slow_head = "GET /app/public/x HTTP/1.1\r\nHost: app.example\r\nX-Slow: ";
    let slow_body = "POST /v1/login HTTP/1.1\r\nHost: app.example\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{";
    for (what, octets) in [("a head that does not end", slow_head), ("a body that does not come", slow_body)]
    {
        let mut slow = Vec::new();
        for _ in 0..50 {
            let mut stream = connect(&stack).await;
            stream.write_all(octets.as_bytes()).await.unwrap();
            slow.push(stream);
        }
        // They do not stand in anybody's way.
        let answer =
            tokio::time::timeout(Duration::from_secs(5), one(&stack, head("GET", "/app/public/y", &[])));
        assert_eq!(answer.await.expect("in time").status, 200, "{what}");
        for mut stream in slow {
            let told = answers(&read_to_end(&mut stream).await);
            assert_eq!(told.len(), 1, "{what}: {told:?}");
            assert_eq!((told[0].status, told[0].code().as_str()), (408, "request_timeout"), "{what}");
        }
    }
    assert_eq!(stack.upstream_hits().await - hits, 2, "the two that were asked in time");
}

#[tokio::test]
async fn what_makes_no_sense_is_said_without_repeating_it() {
    let stack = Stack::start().await;
    let post = |path: &str, kind: &str, body: &str| {
        let kind = format!("Content-Type: {kind}");
        head("POST", path, &[&kind, &format!("Content-Length: {}", body.len())]) + body
    };
    let json = "application/json";
    let secret = "hunter2-hunter2-hunter2";
    let twice = format!("{{\"identifier\": \"a\", \"password\": \"{secret}\", \"password\": \"b\"}}");
    let number = format!("{{\"identifier\": [\"{secret}\"], \"password\": \"b\"}}");
    let unknown = format!("{{\"identifier\": \"a\", \"password\": \"{secret}\", \"mdoe\": \"{secret}\"}}");
    let cut = format!("{{\"identifier\": \"{secret}");
    for (what, request, status, code) in [
        ("half a body", post("/v1/login", json, &cut), 400, "malformed_json"),
        ("no JSON", post("/v1/login", json, secret), 400, "malformed_json"),
        ("nothing", post("/v1/login", json, ""), 400, "malformed_json"),
        ("not UTF-8", post("/v1/login", json, "{\"identifier\": \"\u{0}\"}"), 400, "malformed_json"),
        ("deep", post("/v1/login", json, &"[".repeat(10_000)), 400, "request_invalid"),
        ("a member twice", post("/v1/login", json, &twice), 400, "request_invalid"),
        ("another type", post("/v1/login", json, &number), 400, "request_invalid"),
        ("a misspelled member", post("/v1/login", json, &unknown), 400, "request_invalid"),
        (
            "a form",
            post("/v1/login", "application/x-www-form-urlencoded", secret),
            415,
            "unsupported_media_type",
        ),
        ("XML", post("/v1/users", "application/xml", secret), 415, "unsupported_media_type"),
        ("no such path", head("GET", "/nowhere", &[]), 404, "not_found"),
        ("no such own path", head("GET", "/v1/nowhere", &[]), 404, "not_found"),
        ("administration on the public listener", head("GET", "/v1/admin/users", &[]), 404, "not_found"),
        ("another method", head("PATCH", "/app/documents/42", &[]), 405, "method_not_allowed"),
        (
            "another method of ours",
            head("PUT", "/v1/login", &["Content-Length: 0"]),
            405,
            "method_not_allowed",
        ),
    ] {
        let answer = one(&stack, request).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{what}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("hunter2"), "{what}: {answer:?}");
        assert!(status != 405 || answer.header("allow").is_some(), "{what}");
    }
}
