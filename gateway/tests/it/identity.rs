//! O23: what an application is told about a caller comes from the gateway and from nobody else.

use super::client::{Client, get, once, request};
use super::gateway::{ALICE, Gateway};

const FORGED: &[&str] = &[
    "X-Latchkey-Roles: admin",
    "x_latchkey_roles: admin",
    "X-LATCHKEY-SUBJECT: root",
    "X.Latchkey.Session: ses_x",
    "X-Latchkey-Kind: client",
    "X-Latchkey-Name: root",
    "X-Latchkey-Name: root2",
    "Forwarded: for=6.6.6.6",
    "X-Forwarded-For: 6.6.6.6",
    "X_Forwarded_For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Real-IP: 6.6.6.6",
    "X-Request-Id: mine",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "Connection: X-Latchkey-Roles, X-Latchkey-Subject, X-Forwarded-For, X-Hop, close",
    "X-Hop: 1",
];

#[tokio::test]
async fn o23_only_ours() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    let mut headers = FORGED.to_vec();
    headers.push(&bearer);
    let answer = get(gateway.address, "/token/x", &headers).await;
    assert_eq!(answer.status, 200);
    // The client's own request id comes back; the application sees ours.
    assert_eq!(answer.header("x-request-id"), Some("mine"));
    let seen = gateway.upstream.last();
    for (name, expected) in [
        ("x-latchkey-subject", Some(ALICE)),
        ("x-latchkey-kind", Some("user")),
        ("x-latchkey-name", Some("alice")),
        ("x-latchkey-roles", Some("editor")),
        ("x-latchkey-session", None),
        ("x_latchkey_roles", None),
        ("x.latchkey.session", None),
        ("forwarded", None),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x_forwarded_for", None),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("app.example")),
        ("x-real-ip", None),
        ("traceparent", None),
        ("x-hop", None),
        ("authorization", None),
        ("host", Some("app.example")),
    ] {
        assert_eq!(seen.header(name), expected, "{name}");
    }
    assert_eq!(seen.header("x-request-id").unwrap().len(), 32);
}

#[tokio::test]
async fn o23_an_open_route_tells_nothing_and_believes_nothing() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    let mut headers = FORGED.to_vec();
    headers.push(&bearer);
    headers.push("Cookie: a=1; latchkey-session=s; b=2");
    assert_eq!(get(gateway.address, "/open/x", &headers).await.status, 200);
    let seen = gateway.upstream.last();
    assert!(seen.headers.iter().all(|(name, _)| !name.contains("latchkey")), "{seen:?}");
    assert_eq!(seen.header("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.header("authorization"), None);
    // An application's own scheme is its own affair.
    get(gateway.address, "/open/x", &["Authorization: Basic YTpi"]).await;
    assert_eq!(gateway.upstream.last().header("authorization"), Some("Basic YTpi"));
}

#[tokio::test]
async fn the_credential_stays_unless_the_route_says_otherwise() {
    let gateway = Gateway::start().await;
    let cookie = gateway.cookie();
    get(gateway.address, "/session/x", &[&cookie]).await;
    assert_eq!(gateway.upstream.last().header("cookie"), Some("theme=dark"));
    get(gateway.address, "/passed/x", &[&cookie]).await;
    assert_eq!(gateway.upstream.last().header("cookie"), Some("theme=dark; latchkey-session=secret-1"));
    let bearer = gateway.bearer();
    get(gateway.address, "/passed/x", &[&bearer]).await;
    assert!(bearer.ends_with(gateway.upstream.last().header("authorization").unwrap()));
    get(gateway.address, "/quiet/x", &[&bearer, "X-Latchkey-Roles: admin"]).await;
    let seen = gateway.upstream.last();
    assert!(seen.headers.iter().all(|(name, _)| !name.contains("latchkey")), "{seen:?}");
}

#[tokio::test]
async fn a_session_is_told_with_its_public_id_and_present_roles() {
    let gateway = Gateway::start().await;
    let cookie = gateway.cookie();
    gateway.world.with(|held| held.roles.insert(ALICE.to_owned(), vec!["a".to_owned(), "b".to_owned()]));
    get(gateway.address, "/session/x", &[&cookie]).await;
    let seen = gateway.upstream.last();
    assert_eq!(seen.header("x-latchkey-session"), Some("ses_1"));
    assert_eq!(seen.header("x-latchkey-roles"), Some("a,b"));
    assert_eq!(seen.header("x-latchkey-kind"), Some("user"));
}

#[tokio::test]
async fn what_an_application_answers_is_cleaned_too() {
    let gateway = Gateway::start().await;
    let answer = get(gateway.address, "/open/headers", &[]).await;
    for (name, expected) in [
        ("x-hop", None),
        ("keep-alive", None),
        ("x-latchkey-roles", None),
        ("set-cookie", Some("a=1")),
        ("x-kept", Some("1")),
    ] {
        assert_eq!(answer.header(name), expected, "{name}");
    }
    assert_eq!(answer.header("x-request-id").unwrap().len(), 32);
    assert_eq!(answer.header("x-request-id"), gateway.upstream.last().header("x-request-id"));
}

#[tokio::test]
async fn trusted_proxies_are_believed() {
    let gateway = Gateway::with("trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]").await;
    let headers = &[
        "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.example",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "X-Latchkey-Roles: admin",
    ];
    get(gateway.address, "/open/x", headers).await;
    let seen = gateway.upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.7"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some("shop.example"));
    assert!(seen.header("traceparent").is_some());
    assert_eq!(seen.header("x-latchkey-roles"), None);
    assert_eq!(seen.header("host"), Some("app.example"));
}

#[tokio::test]
async fn old_clients_are_served() {
    let gateway = Gateway::start().await;
    let answer = once(gateway.address, "GET /open/x HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "/open/x 0"));
    let mut client = Client::connect(gateway.address).await;
    client.send(request("HEAD", "/open/x", &["Connection: close"])).await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("7")));
    client.closed().await;
}
