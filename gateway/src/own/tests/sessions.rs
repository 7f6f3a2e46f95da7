use super::*;

const MINE: (&str, &str) = ("cookie", "__Host-latchkey-session=mine");

fn with_sessions() -> Gateway {
    let gateway = Gateway::new();
    gateway.world.session("mine", "ses_mine", ALICE, "alice");
    gateway.world.session("other", "ses_other", ALICE, "alice");
    gateway.world.session("hers", "ses_hers", MALLORY, "mallory");
    gateway
}

fn bearer() -> String {
    format!("Bearer token:{ALICE}")
}

#[tokio::test]
async fn me_by_session_and_by_token() {
    let gateway = with_sessions();
    let said = gateway.public(Method::GET, "/v1/me", &[MINE], Value::Null).await;
    assert_eq!(
        said.json(),
        json!({
            "kind": "user",
            "user": { "id": ALICE, "username": "alice" },
            "roles": ["editor"],
            "permissions": ["document:read"],
            "within": [],
            "authenticated": {
                "by": "session", "methods": ["pwd"], "session": "ses_mine", "expires_at": "1970-01-01T00:30:00Z",
            },
        })
    );
    let said = gateway.public(Method::GET, "/v1/me", &[("authorization", &bearer())], Value::Null).await;
    assert_eq!(said.json()["authenticated"]["by"], "token");
    let said =
        gateway.public(Method::GET, "/v1/me", &[("authorization", "Bearer client:cli_1")], Value::Null).await;
    assert_eq!(said.json()["client"]["id"], "cli_1");
    assert!(said.json().get("user").is_none());
}

#[tokio::test]
async fn nobody_is_told_so() {
    let gateway = with_sessions();
    for (headers, code) in [
        (&[][..], "credential_missing"),
        (&[("cookie", "__Host-latchkey-session=unknown")], "session_invalid"),
        (&[("cookie", "__Host-latchkey-session=")], "session_invalid"),
        (&[("cookie", "__Host-latchkey-token=forged")], "token_invalid"),
        (&[("authorization", "Bearer forged")], "token_invalid"),
        (&[("authorization", "Bearer expired:usr_1")], "token_expired"),
        (&[("authorization", "Basic YTpi")], "scheme_unsupported"),
        // A bad Authorization is never forgiven for a good cookie beside it.
        (&[("authorization", "Bearer forged"), MINE], "token_invalid"),
    ] {
        let said = gateway.public(Method::GET, "/v1/me", headers, Value::Null).await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::UNAUTHORIZED, code), "{headers:?}");
        assert!(said.headers.contains_key("www-authenticate"));
        assert_eq!(said.headers["cache-control"], "no-store");
    }
    let twice = ("cookie", "__Host-latchkey-session=mine; __HOST-latchkey-session=mine");
    let said = gateway.public(Method::GET, "/v1/me", &[twice], Value::Null).await;
    assert_eq!(said.code(), "cookie_ambiguous");
}

#[tokio::test]
async fn z01_what_cannot_be_asked_is_503() {
    for peer in ["session", "policy"] {
        let gateway = with_sessions();
        gateway.world.switch_off(peer);
        let said = gateway.public(Method::GET, "/v1/me", &[MINE], Value::Null).await;
        assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE, "{peer}");
        assert!(said.headers.contains_key("retry-after"));
    }
    let gateway = with_sessions();
    let said =
        gateway.public(Method::GET, "/v1/me", &[("authorization", "Bearer unknowable")], Value::Null).await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_renewed_secret_reaches_the_browser() {
    let gateway = with_sessions();
    gateway.world.renew("fresh");
    for path in ["/v1/me", "/v1/sessions"] {
        let said = gateway.public(Method::GET, path, &[MINE], Value::Null).await;
        assert_eq!(said.cookies(), [("__Host-latchkey-session".to_owned(), "fresh".to_owned())]);
    }
    // But not where the session just ended.
    let said = gateway.public(Method::POST, "/v1/sessions/end-all", &[MINE, SAME_ORIGIN], Value::Null).await;
    assert_eq!(said.cookies(), [("__Host-latchkey-session".to_owned(), String::new())]);
}

#[tokio::test]
async fn lists_ones_own() {
    let gateway = with_sessions();
    let said = gateway.public(Method::GET, "/v1/sessions", &[MINE], Value::Null).await;
    let sessions = said.json()["sessions"].as_array().unwrap().clone();
    let ids: Vec<(&str, bool)> = sessions
        .iter()
        .map(|session| (session["id"].as_str().unwrap(), session["current"].as_bool().unwrap()))
        .collect();
    assert_eq!(ids, [("ses_mine", true), ("ses_other", false)]);
    assert!(!said.text.contains("\"mine\""), "never the secret");
    let said = gateway.public(Method::GET, "/v1/sessions?page_size=1001", &[MINE], Value::Null).await;
    assert_eq!(said.code(), "request_invalid");
    let said = gateway.public(Method::GET, "/v1/sessions?pagesize=1", &[MINE], Value::Null).await;
    assert_eq!(said.code(), "request_invalid");
}

#[tokio::test]
async fn ends_one_of_ones_own_and_nobody_elses() {
    for by_token in [false, true] {
        let gateway = with_sessions();
        let authorization = bearer();
        let headers =
            if by_token { vec![("authorization", authorization.as_str())] } else { vec![MINE, SAME_ORIGIN] };
        let said = gateway.public(Method::DELETE, "/v1/sessions/ses_hers", &headers, Value::Null).await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::NOT_FOUND, "session_not_found"));
        assert!(gateway.world.live("hers"));
        let said = gateway.public(Method::DELETE, "/v1/sessions/ses_other", &headers, Value::Null).await;
        assert_eq!(said.status, StatusCode::NO_CONTENT);
        assert!(!gateway.world.live("other") && gateway.world.live("mine"));
    }
    let gateway = with_sessions();
    let said =
        gateway.public(Method::DELETE, "/v1/sessions/ses_mine", &[MINE, SAME_ORIGIN], Value::Null).await;
    assert_eq!(said.cookies(), [("__Host-latchkey-session".to_owned(), String::new())]);
}

#[tokio::test]
async fn ends_others_and_all() {
    let gateway = with_sessions();
    let said =
        gateway.public(Method::POST, "/v1/sessions/end-others", &[MINE, SAME_ORIGIN], Value::Null).await;
    assert_eq!(said.json(), json!({ "ended": 1 }));
    assert!(gateway.world.live("mine") && gateway.world.live("hers"));
    let said = gateway.public(Method::POST, "/v1/sessions/end-all", &[MINE, SAME_ORIGIN], Value::Null).await;
    assert_eq!(said.json(), json!({ "ended": 1 }));
    assert!(!gateway.world.live("mine") && gateway.world.live("hers"));
}

#[tokio::test]
async fn c01_another_site_ends_nothing() {
    for path in ["/v1/logout", "/v1/sessions/end-others", "/v1/sessions/end-all"] {
        for (header, code) in
            [(Some(("sec-fetch-site", "cross-site")), "cross_site"), (None, "origin_required")]
        {
            let gateway = with_sessions();
            let headers: Vec<_> = [MINE].into_iter().chain(header).collect();
            let said = gateway.public(Method::POST, path, &headers, Value::Null).await;
            assert_eq!((said.status, said.code().as_str()), (StatusCode::FORBIDDEN, code), "{path}");
            assert!(gateway.world.asked().is_empty());
        }
    }
}

#[tokio::test]
async fn s10_logging_out_by_session() {
    let gateway = with_sessions();
    let said = gateway.public(Method::POST, "/v1/logout", &[MINE, SAME_ORIGIN], Value::Null).await;
    assert_eq!(said.status, StatusCode::NO_CONTENT);
    assert!(!gateway.world.live("mine") && gateway.world.live("other"));
    assert_eq!(said.cookies().len(), 3);
    assert!(said.cookies().iter().all(|(_, value)| value.is_empty()));
    assert_eq!(said.headers["clear-site-data"], "\"cache\"");
    assert_eq!(said.headers["cache-control"], "no-store");
    // Once more: it is gone, which is what was wanted.
    let said = gateway.public(Method::POST, "/v1/logout", &[MINE, SAME_ORIGIN], Value::Null).await;
    assert_eq!(said.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn logging_out_by_token_ends_the_family() {
    let gateway = with_sessions();
    let said = gateway.public(Method::POST, "/v1/logout", &[("authorization", &bearer())], Value::Null).await;
    assert_eq!(said.status, StatusCode::NO_CONTENT);
    assert_eq!(gateway.world.asked(), [format!("auth.end_family fam_1 {ALICE}")]);
    let cookie = format!("__Host-latchkey-token=token:{ALICE}");
    let said =
        gateway.public(Method::POST, "/v1/logout", &[("cookie", &cookie), SAME_ORIGIN], Value::Null).await;
    assert_eq!(said.status, StatusCode::NO_CONTENT);
    assert_eq!(gateway.world.asked(), [format!("auth.end_family fam_1 {ALICE}")]);
}

/// The login outlives its access token by weeks: what has expired still says which one is to end.
#[tokio::test]
async fn logging_out_by_an_expired_token_ends_the_family() {
    let gateway = with_sessions();
    let (bearer, cookie) =
        (format!("Bearer expired:{ALICE}"), format!("__Host-latchkey-token=expired:{ALICE}"));
    for headers in [&[("authorization", bearer.as_str())][..], &[("cookie", cookie.as_str()), SAME_ORIGIN]] {
        let said = gateway.public(Method::POST, "/v1/logout", headers, Value::Null).await;
        assert_eq!(said.status, StatusCode::NO_CONTENT, "{}", said.text);
        assert_eq!(gateway.world.asked(), [format!("auth.end_family fam_1 {ALICE}")]);
        assert_eq!(said.cookies().len(), 3);
        // And is good for nothing else.
        let said = gateway.public(Method::GET, "/v1/me", headers, Value::Null).await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::UNAUTHORIZED, "token_expired"));
        assert!(gateway.world.asked().is_empty());
    }
}

/// No 204 for a login that may go on, and no cookie is taken: refreshing needs them, and comes before the next try.
#[tokio::test]
async fn logging_out_by_a_token_that_names_no_login_is_not_acknowledged() {
    let gateway = with_sessions();
    for (token, status, code) in [
        ("forged", StatusCode::UNAUTHORIZED, "token_invalid"),
        ("", StatusCode::UNAUTHORIZED, "token_invalid"),
        ("unknowable", StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    ] {
        let cookie = format!("__Host-latchkey-token={token}");
        let said = gateway
            .public(Method::POST, "/v1/logout", &[("cookie", &cookie), SAME_ORIGIN], Value::Null)
            .await;
        assert_eq!((said.status, said.code().as_str()), (status, code), "{token:?}");
        assert!(said.cookies().is_empty() && gateway.world.asked().is_empty(), "{token:?}");
    }
    // The session beside it ends all the same.
    let cookie = "__Host-latchkey-session=mine; __Host-latchkey-token=forged";
    let said =
        gateway.public(Method::POST, "/v1/logout", &[("cookie", cookie), SAME_ORIGIN], Value::Null).await;
    assert_eq!(said.code(), "token_invalid");
    assert!(!gateway.world.live("mine"));
}

#[tokio::test]
async fn logging_out_is_not_acknowledged_before_it_is_done() {
    let gateway = with_sessions();
    gateway.world.switch_off("session");
    let said = gateway.public(Method::POST, "/v1/logout", &[MINE, SAME_ORIGIN], Value::Null).await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.cookies().is_empty(), "the browser keeps what it needs to try again");
    gateway.world.switch_off("auth");
    let said = gateway.public(Method::POST, "/v1/logout", &[("authorization", &bearer())], Value::Null).await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn logging_out_as_nobody() {
    let gateway = with_sessions();
    let said = gateway.public(Method::POST, "/v1/logout", &[], Value::Null).await;
    assert_eq!(said.code(), "credential_missing");
    let said = gateway
        .public(Method::POST, "/v1/logout", &[("authorization", "Bearer forged"), MINE], Value::Null)
        .await;
    assert_eq!(said.code(), "token_invalid");
    assert!(gateway.world.live("mine"));
    let said = gateway
        .public(Method::POST, "/v1/logout", &[("authorization", "Bearer client:cli_1")], Value::Null)
        .await;
    assert_eq!(said.code(), "request_invalid");
}
