//! Who is believed, what they may do, and what an outage is (Z01, S09).

use std::time::Duration;

use feed::{Verdict, What};
use token::{AccessClaims, PrincipalKind};

use super::client::{Answer, Client, get, once, request};
use super::gateway::{ALICE, Gateway};

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

#[tokio::test]
async fn tokens() {
    let gateway = Gateway::start().await;
    let good = gateway.bearer();
    for _ in 0..3 {
        assert_eq!(get(gateway.address, "/token/x", &[&good]).await.status, 200);
    }
    let claims = gateway.claims();
    let mut other = claims.clone();
    other.aud = vec!["elsewhere".to_owned()];
    let foreign = format!("Authorization: Bearer {}", gateway.token(&other));
    let changed = format!("{good}A");
    for (headers, code) in [
        (&[&*changed][..], "token_invalid"),
        (&[&foreign], "token_invalid"),
        (&["Authorization: Bearer x"], "token_invalid"),
        (&["Authorization: Bearer"], "scheme_unsupported"),
        (&["Authorization: Basic YTpi"], "scheme_unsupported"),
        (&[], "credential_missing"),
    ] {
        let answer = get(gateway.address, "/token/x", headers).await;
        assert_eq!(told(&answer), (401, code.to_owned()), "{headers:?}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
    // Which of two is meant nobody can say, be they the same.
    let two = get(gateway.address, "/token/x", &[&good, &good]).await;
    assert_eq!(told(&two), (400, "credential_ambiguous".to_owned()));
    assert_eq!(gateway.upstream.requests().len(), 3);
    gateway.clock.advance(Duration::from_secs(331));
    assert_eq!(told(&get(gateway.address, "/token/x", &[&good]).await), (401, "token_expired".to_owned()));
}

/// A connection remembers the token that came last over it, and nothing of it is anybody else's.
#[tokio::test]
async fn each_request_of_a_connection_is_judged_by_its_own_token_and_each_time_anew() {
    const BOB: &str = "usr_bbbbbbbbbbbbbbbbbbbbbbbbbb";
    let gateway = Gateway::start().await;
    let alices = gateway.bearer();
    let claims = gateway.claims();
    let claims = AccessClaims { sub: BOB.to_owned(), jti: "tok_of_bob".to_owned(), ..claims };
    let bobs = format!("Authorization: Bearer {}", gateway.token(&claims));
    let (longer, shorter) = (format!("{alices}A"), alices[..alices.len() - 1].to_owned());
    let changed = |at: usize| {
        let mut bytes = alices.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    // Of the token's first characters and of its signature's.
    let (early, late) = (changed("Authorization: Bearer ".len() + 5), changed(alices.len() - 9));
    let mut client = Client::connect(gateway.address).await;
    let mut ask = async |bearer: &str| {
        let before = gateway.upstream.requests().len();
        client.send(request("GET", "/token/x", &[bearer])).await;
        let status = client.answer().await.status;
        let requests = gateway.upstream.requests();
        let seen = requests.get(before).map(|seen| seen.header("x-latchkey-subject").unwrap().to_owned());
        (status, seen)
    };
    let is = |name: &str| (200, Some(name.to_owned()));
    for (bearer, told) in [
        (&alices, is(ALICE)),
        (&alices, is(ALICE)),
        (&bobs, is(BOB)),
        (&bobs, is(BOB)),
        (&alices, is(ALICE)),
        (&bobs, is(BOB)),
        (&alices, is(ALICE)),
        (&longer, (401, None)),
        (&shorter, (401, None)),
        (&early, (401, None)),
        (&late, (401, None)),
        (&alices, is(ALICE)),
    ] {
        assert_eq!(ask(bearer).await, told, "{bearer}");
    }
    gateway.endings.under_lease(Verdict::Ended(What::Token));
    assert_eq!(ask(&alices).await, (401, None));
    gateway.endings.without_lease(None);
    assert_eq!(ask(&alices).await, (503, None));
    gateway.endings.under_lease(Verdict::Live);
    assert_eq!(ask(&alices).await, is(ALICE));
    gateway.clock.advance(Duration::from_secs(331));
    assert_eq!(ask(&alices).await, (401, None));
}

#[tokio::test]
async fn a_bad_token_never_falls_back_to_a_cookie() {
    let gateway = Gateway::start().await;
    let (cookie, good) = (gateway.cookie(), gateway.bearer());
    assert_eq!(get(gateway.address, "/any/x", &[&cookie]).await.status, 200);
    assert_eq!(
        get(gateway.address, "/any/x", &[&cookie, "Authorization: Bearer x"]).await.code(),
        "token_invalid"
    );
    assert_eq!(get(gateway.address, "/session/x", &[&cookie, &good]).await.code(), "credential_not_accepted");
    assert_eq!(gateway.upstream.requests().len(), 1);
}

#[tokio::test]
async fn sessions() {
    let gateway = Gateway::start().await;
    let cookie = gateway.cookie();
    let answer = get(gateway.address, "/session/x", &[&cookie]).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
    assert_eq!(get(gateway.address, "/token/x", &[&cookie]).await.code(), "credential_missing");
    let unknown = get(gateway.address, "/session/x", &["Cookie: latchkey-session=other"]).await;
    assert_eq!(told(&unknown), (401, "session_invalid".to_owned()));

    // Rotated away a moment ago: good, and the browser is told the new one.
    gateway.world.with(|held| held.rotated.insert("secret-0".to_owned(), "secret-1".to_owned()));
    let answer = get(gateway.address, "/session/x", &["Cookie: latchkey-session=secret-0"]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("set-cookie").unwrap().starts_with("latchkey-session=secret-1;"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn s09_two_cookies_or_one_in_disguise() {
    let gateway = Gateway::start().await;
    let _ = gateway.cookie();
    for cookies in [
        &["Cookie: latchkey-session=secret-1; latchkey-session=secret-1"][..],
        &["Cookie: latchkey-session=secret-1", "Cookie: latchkey-session=other"],
        &["Cookie: Latchkey-Session=secret-1"],
        &["Cookie: latchkey-session=secret-1; LATCHKEY-SESSION=x"],
    ] {
        let answer = get(gateway.address, "/session/x", cookies).await;
        assert_eq!(answer.code(), "cookie_ambiguous", "{cookies:?}");
    }
    assert!(gateway.upstream.requests().is_empty());
    assert_eq!(gateway.asked("resolve"), 0);
}

#[tokio::test]
async fn roles() {
    let gateway = Gateway::start().await;
    let (bearer, cookie) = (gateway.bearer(), gateway.cookie());
    assert_eq!(told(&get(gateway.address, "/admin/x", &[&bearer]).await), (403, "role_required".to_owned()));
    assert_eq!(told(&get(gateway.address, "/admin/x", &[&cookie]).await), (403, "role_required".to_owned()));
    assert_eq!(told(&get(gateway.address, "/admin/x", &[]).await), (401, "credential_missing".to_owned()));
    assert!(gateway.upstream.requests().is_empty());

    // A session has the roles of now; a token those that it was issued with.
    gateway.world.with(|held| held.roles.insert(ALICE.to_owned(), vec!["app-admin".to_owned()]));
    assert_eq!(get(gateway.address, "/admin/x", &[&cookie]).await.status, 200);
    assert_eq!(get(gateway.address, "/admin/x", &[&bearer]).await.status, 403);
    let mut claims = gateway.claims();
    claims.roles = Some(vec!["app-admin".to_owned()]);
    let admin = format!("Authorization: Bearer {}", gateway.token(&claims));
    assert_eq!(get(gateway.address, "/admin/x", &[&admin]).await.status, 200);
    let asked = gateway.asked("");
    assert_eq!(get(gateway.address, "/admin/x", &[&admin]).await.status, 200);
    assert_eq!(gateway.asked(""), asked, "a token that says its roles needs nobody");

    // A token too small for its roles: they are asked for.
    claims.roles = None;
    claims.jti = "jti_2".to_owned();
    let silent = format!("Authorization: Bearer {}", gateway.token(&claims));
    assert_eq!(get(gateway.address, "/admin/x", &[&silent]).await.status, 200);
    assert_eq!(gateway.upstream.last().header("x-latchkey-roles"), Some("app-admin"));
}

#[tokio::test]
async fn permissions_are_asked_each_time() {
    let gateway = Gateway::start().await;
    let (bearer, cookie) = (gateway.bearer(), gateway.cookie());
    let denied = (403, "permission_denied".to_owned());
    assert_eq!(told(&get(gateway.address, "/app/documents/42", &[&bearer]).await), denied);
    let allow = (ALICE.to_owned(), "document:read".to_owned(), "document/42".to_owned());
    gateway.world.with(|held| held.allowed.insert(allow.clone()));
    for credential in [&bearer, &cookie] {
        assert_eq!(get(gateway.address, "/app/documents/42", &[credential]).await.status, 200);
        assert_eq!(told(&get(gateway.address, "/app/documents/43", &[credential]).await), denied);
    }
    gateway.world.with(|held| held.allowed.remove(&allow));
    assert_eq!(told(&get(gateway.address, "/app/documents/42", &[&bearer]).await), denied);
    assert_eq!(gateway.upstream.requests().len(), 2);
}

#[tokio::test]
async fn clients_are_told_as_clients() {
    let gateway = Gateway::start().await;
    let mut claims = gateway.claims();
    claims.kind = PrincipalKind::Client;
    claims.sub = "cli_1".to_owned();
    claims.name = "zoë's job".to_owned();
    let bearer = format!("Authorization: Bearer {}", gateway.token(&claims));
    assert_eq!(get(gateway.address, "/token/x", &[&bearer]).await.status, 200);
    let seen = gateway.upstream.last();
    assert_eq!(seen.header("x-latchkey-kind"), Some("client"));
    assert_eq!(seen.header("x-latchkey-name"), Some("zo%C3%AB's%20job"));
}

#[tokio::test]
async fn z01_an_outage_is_nobodys_fault() {
    let gateway = Gateway::start().await;
    let (bearer, cookie) = (gateway.bearer(), gateway.cookie());
    assert_eq!(get(gateway.address, "/token/x", &[&bearer]).await.status, 200);
    gateway.world.with(|held| held.down.extend(["auth", "session", "policy"]));
    let seen = gateway.upstream.requests().len();
    for (path, credential) in [
        ("/session/x", &cookie),
        ("/any/x", &cookie),
        ("/admin/x", &cookie),
        ("/app/documents/42", &cookie),
        ("/app/documents/42", &bearer),
    ] {
        let answer = get(gateway.address, path, &[credential]).await;
        assert_eq!(told(&answer), (503, "unavailable".to_owned()), "{path}");
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    }
    assert_eq!(gateway.upstream.requests().len(), seen);
    // What needs nobody goes on.
    assert_eq!(get(gateway.address, "/token/x", &[&bearer]).await.status, 200);
    assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
    gateway.world.with(|held| held.down.remove("policy"));
    gateway.world.with(|held| held.down.remove("session"));
    assert_eq!(get(gateway.address, "/session/x", &[&cookie]).await.status, 200);
}

#[tokio::test]
async fn own_endpoints_are_reached() {
    let gateway = Gateway::start().await;
    let answer = get(gateway.address, "/.well-known/jwks.json", &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("\"keys\""));
    let answer = once(gateway.address, request("GET", "/v1/me", &["X-Request-Id: abc"])).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (401, Some("abc")));
}
