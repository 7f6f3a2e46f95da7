//! Where a client wants to go and who it says it is: paths with two readings, headers that pretend.

use serde_json::{Value, json};

use super::raw::{Answer, head, one};
use crate::stack::{PASSWORD, Stack};

/// Somebody who may read one document, by token and by session.
struct Reader {
    stack: Stack,
    bearer: String,
    cookie: String,
}

impl Reader {
    async fn begin() -> Self {
        let stack = Stack::start().await;
        stack.register("alice").await;
        stack.cli(&["role", "add", "editor", "document:read", "document:write"]);
        stack.cli(&["grant", "add", "alice", "editor", "--within", "document/42"]);
        let bearer = format!("Authorization: Bearer {}", stack.token("alice", PASSWORD).await.access_token);
        let cookie = format!("Cookie: {}", stack.session("alice", PASSWORD).await.cookie);
        Self { stack, bearer, cookie }
    }

    async fn get(&self, target: &str, headers: &[&str]) -> Answer {
        one(&self.stack, head("GET", target, headers)).await
    }
}

#[tokio::test]
async fn z02_a_path_with_two_readings_goes_nowhere() {
    let reader = Reader::begin().await;
    let hits = reader.stack.upstream_hits().await;
    let spellings = [
        "/app/public//x",
        "//app/public/x",
        "/app//admin/x",
        "/app/public/./x",
        "/app/public/../admin/x",
        "/app/public/x/..",
        "/app/public/.",
        "/app/public/%2e%2e/admin/x",
        "/app/public/.%2E/admin/x",
        "/app/public%2f..%2fadmin/x",
        "/app/public/x%2Fy",
        "/app/documents/42%2f..%2f43",
        "/app/documents/42/../43",
        "/app/documents/4%32",
        "/app/documents/42;43",
        "/app/documents/42;v=1",
        "/app;/admin/x",
        "/app/public/x%3b",
        "/app/public/\\..\\admin",
        "/app/public/%5c",
        "/app/documents/42%00",
        "/app/documents/42%00.html",
        "/app/public/%0d%0aX:%20y",
        "/app/public/%c0%ae%c0%ae/admin/x",
        "/app/public/%C0%AF",
        "/app/public/%e0%80%af",
        "/app/public/%252e%252e/admin",
        "/app/public/%",
        "/app/public/%4",
        "/app/public/%zz",
        "/%61pp/public/x",
        "/app/%70ublic/x",
        "/app/public/x\u{e9}",
        "/v1//me",
        "/v1/./me",
        "/v1/%6de",
    ];
    for target in spellings {
        for credential in [&reader.bearer, &reader.cookie] {
            let answer = reader.get(target, &[credential]).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "path_ambiguous"), "{target}");
        }
    }
    assert_eq!(reader.stack.upstream_hits().await, hits);
}

#[tokio::test]
async fn z02_what_was_decided_on_is_what_the_application_sees() {
    let reader = Reader::begin().await;
    let targets = [
        "/app/public/",
        "/app/public/x/",
        "/app/public/caf%C3%A9",
        "/app/public/a%20b",
        "/app/public/100%25",
        "/app/public/a%3Ab@c",
        "/app/public/...",
        "/app/public/CamelCase",
        "/app/public/x?a=%2e%2e/..//&b=%zz",
        "/app/documents/42?v=/../43",
    ];
    for target in targets {
        let echo = reader.get(target, &[&reader.bearer]).await.json();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        assert_eq!((echo["path"].as_str(), echo["query"].as_str()), (Some(path), Some(query)), "{target}");
    }
    // Case is part of a path: what is spelled otherwise is another place, and no other document is this one.
    let hits = reader.stack.upstream_hits().await;
    for (target, status) in [
        ("/APP/documents/42", 404),
        ("/app/Documents/42", 404),
        ("/app/documents/42/", 404),
        ("/app/documents/", 404),
        ("/app/documents/43", 403),
        ("/app/documents/42%20", 403),
        ("/app/documents/042", 403),
        ("/app/documents/%EF%BC%94%EF%BC%92", 403),
    ] {
        assert_eq!(reader.get(target, &[&reader.bearer]).await.status, status, "{target}");
    }
    let long = format!("/app/documents/{}", "4".repeat(300));
    assert_eq!(reader.get(&long, &[&reader.bearer]).await.status, 400);
    assert_eq!(reader.stack.upstream_hits().await, hits);
}

/// As a client would write them to be taken for somebody.
const FORGED: &[&str] = &[
    "X-Latchkey-Roles: admin",
    "x_latchkey_roles: admin",
    "X-LATCHKEY-SUBJECT: root",
    "X-Latchkey_Subject: root",
    "X.Latchkey.Session: ses_x",
    "X-Latchkey-Kind: client",
    "X-Latchkey-Name: root",
    "X-Latchkey-Name: root2",
    "X-Latchkey-Anything: 1",
    "Forwarded: for=6.6.6.6;host=evil.example",
    "X-Forwarded-For: 6.6.6.6",
    "X_Forwarded_For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Prefix: /evil",
    "X-Real-IP: 6.6.6.6",
    "X-Request-Id: mine",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "Connection: X-Latchkey-Roles, X-Latchkey-Subject, X-Latchkey-Session, X-Forwarded-For, X-Request-Id, X-Hop",
    "X-Hop: 1",
];

#[tokio::test]
async fn o23_the_application_hears_of_a_caller_from_the_gateway_alone() {
    let reader = Reader::begin().await;
    let who = reader.stack.cli_json(&["user", "show", "alice"])["id"].clone();
    for (path, credential) in [
        ("/app/token/x", &reader.bearer),
        ("/app/session/x", &reader.cookie),
        ("/app/public/x", &reader.bearer),
    ] {
        let mut headers = FORGED.to_vec();
        headers.extend([credential.as_str(), "Cookie: theme=dark"]);
        let answer = reader.get(path, &headers).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("x-request-id"), Some("mine"), "the caller's own comes back to the caller");
        let echo = answer.json();
        let seen = |name: &str| echo["headers"].get(name).cloned().unwrap_or(Value::Null);
        let said = |value: &str| json!([value]);
        let open = path == "/app/public/x";
        let told = |value: Value| if open { Value::Null } else { json!([value]) };
        for (name, expected) in [
            ("x-latchkey-subject", told(who.clone())),
            ("x-latchkey-kind", told(json!("user"))),
            ("x-latchkey-name", told(json!("alice"))),
            ("x-forwarded-for", said("127.0.0.1")),
            ("x-forwarded-proto", said("http")),
            ("x-forwarded-host", said("app.example")),
            ("host", said("app.example")),
            ("cookie", said("theme=dark")),
            ("authorization", Value::Null),
            ("traceparent", Value::Null),
            ("forwarded", Value::Null),
            ("x-real-ip", Value::Null),
            ("x-hop", Value::Null),
        ] {
            assert_eq!(seen(name), expected, "{name} on {path}");
        }
        let id = seen("x-request-id")[0].as_str().unwrap().to_owned();
        assert!(id != "mine" && id.len() == 32, "{id}");
        // Neither another spelling nor another name of ours got through.
        let ours = [
            "x-latchkey-subject",
            "x-latchkey-kind",
            "x-latchkey-name",
            "x-latchkey-roles",
            "x-latchkey-session",
        ];
        for (name, values) in echo["headers"].as_object().unwrap() {
            let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
            let claims = letters.starts_with("xlatchkey");
            assert!(!claims || (ours.contains(&name.as_str()) && !open), "{name}: {values} on {path}");
            assert!(
                !values.to_string().contains("root") && !values.to_string().contains("6.6.6.6"),
                "{name}: {values}"
            );
            assert!(
                !letters.starts_with("xforwarded") || name.starts_with("x-forwarded-"),
                "{name} on {path}"
            );
        }
        assert!(["x-latchkey-roles", "x-forwarded-prefix"].iter().all(|name| {
            let value = seen(name);
            value.is_null() || value == json!([""])
        }));
    }
}
