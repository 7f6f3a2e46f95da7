use std::time::Duration;

use super::*;

fn body(password: &str) -> Value {
    json!({ "identifier": "alice", "password": password })
}

#[tokio::test]
async fn a_session_is_a_cookie_and_its_public_id() {
    let gateway = Gateway::new();
    let said =
        gateway.public(Method::POST, "/v1/login", &[("user-agent", "Browser")], body("correct horse")).await;
    assert_eq!(said.status, StatusCode::OK, "{}", said.text);
    assert_eq!(
        said.json(),
        json!({
            "session": { "id": "ses_1", "expires_at": "1970-01-01T00:30:00Z" },
            "user": { "id": ALICE, "username": "alice" },
        })
    );
    assert_eq!(said.cookies(), [("__Host-latchkey-session".to_owned(), "secret-1".to_owned())]);
    assert_eq!(said.headers["cache-control"], "no-store");
    assert!(!said.text.contains("secret-1"), "the secret is in the cookie and nowhere else");
    assert!(gateway.world.asked().contains(&"session.create Browser 203.0.113.9".to_owned()));
}

#[tokio::test]
async fn tokens_in_the_body() {
    let gateway = Gateway::new();
    let mut asked = body("correct horse");
    asked["mode"] = "token".into();
    let said = gateway.public(Method::POST, "/v1/login", &[], asked).await;
    assert_eq!(
        said.json(),
        json!({
            "access_token": "issued.access.token", "token_type": "Bearer", "expires_in": 300, "refresh_token": "lkr_issued",
        })
    );
    assert!(said.cookies().is_empty());
    assert_eq!(said.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn tokens_in_cookies_are_not_in_the_body() {
    let gateway = Gateway::new();
    let asked =
        json!({ "identifier": "alice", "password": "correct horse", "mode": "token", "deliver": "cookie" });
    let said = gateway.public(Method::POST, "/v1/login", &[], asked).await;
    assert_eq!(said.json(), json!({ "token_type": "Bearer", "expires_in": 300 }));
    let names: Vec<String> = said.cookies().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["__Host-latchkey-token", "__Secure-latchkey-refresh"]);
    for line in said.headers.get_all(SET_COOKIE) {
        let line = line.to_str().unwrap();
        assert!(line.contains("HttpOnly"), "{line}");
        // Both for as long: without the token a browser could refresh, but not log out.
        assert!(line.ends_with("; Max-Age=7776000"), "{line}");
    }
}

#[tokio::test]
async fn deliver_goes_with_tokens_only() {
    let gateway = Gateway::new();
    for mode in [Value::Null, "session".into()] {
        let mut asked = body("correct horse");
        asked["deliver"] = "cookie".into();
        if mode != Value::Null {
            asked["mode"] = mode;
        }
        let said = gateway.public(Method::POST, "/v1/login", &[], asked).await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::BAD_REQUEST, "request_invalid"));
    }
    assert!(gateway.world.asked().is_empty(), "refused before a password was tried");
}

#[tokio::test]
async fn what_goes_wrong_is_said() {
    let gateway = Gateway::new();
    let wrong = gateway.public(Method::POST, "/v1/login", &[], body("wrong")).await;
    assert_eq!((wrong.status, wrong.code().as_str()), (StatusCode::UNAUTHORIZED, "invalid_credentials"));
    assert!(wrong.headers.contains_key("www-authenticate"));
    assert_eq!(wrong.json()["request_id"], RequestId::new(1, 2).as_str());

    let wait = Duration::from_secs(9);
    for (reason, status, code) in [
        (Reason::TooManyAttempts, StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
        (Reason::HashingBusy, StatusCode::TOO_MANY_REQUESTS, "hashing_busy"),
        (Reason::PasswordChangeRequired, StatusCode::FORBIDDEN, "password_change_required"),
    ] {
        gateway.world.refuse("auth.login", reason, Some(wait));
        let said = gateway.public(Method::POST, "/v1/login", &[], body("correct horse")).await;
        assert_eq!((said.status, said.code().as_str()), (status, code));
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(said.headers["retry-after"], "9");
        }
    }
}

#[tokio::test]
async fn an_outage_is_503_and_sets_no_cookie() {
    for peer in ["auth", "session"] {
        let gateway = Gateway::new();
        gateway.world.switch_off(peer);
        let said = gateway.public(Method::POST, "/v1/login", &[], body("correct horse")).await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
        assert!(said.headers.contains_key("retry-after"));
        assert!(said.cookies().is_empty());
    }
    // A proof that session-service does not believe is an outage too: the password was right.
    let gateway = Gateway::new();
    gateway.world.refuse("session.create", Reason::ProofInvalid, None);
    let said = gateway.public(Method::POST, "/v1/login", &[], body("correct horse")).await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn s03_the_former_session_dies_with_a_login() {
    let gateway = Gateway::new();
    gateway.world.session("planted", "ses_planted", MALLORY, "mallory");
    let cookie = ("cookie", "__Host-latchkey-session=planted");
    let said = gateway.public(Method::POST, "/v1/login", &[cookie, SAME_ORIGIN], body("correct horse")).await;
    assert_eq!(said.status, StatusCode::OK);
    assert!(!gateway.world.live("planted"));
    assert_ne!(said.cookies()[0].1, "planted");
}

/// A route that prefers tokens would otherwise go on to see whoever these belong to.
#[tokio::test]
async fn s03_former_tokens_die_with_a_login_by_session() {
    let gateway = Gateway::new();
    for (token, ended) in [
        (format!("token:{MALLORY}"), true),
        (format!("expired:{MALLORY}"), true),
        ("client:cli_1".to_owned(), false),
        ("forged".to_owned(), false),
    ] {
        let cookie = format!("__Host-latchkey-token={token}");
        let headers = [("cookie", cookie.as_str()), SAME_ORIGIN];
        let said = gateway.public(Method::POST, "/v1/login", &headers, body("correct horse")).await;
        assert_eq!(said.status, StatusCode::OK, "{token}: {}", said.text);
        let asked = gateway.world.asked().contains(&format!("auth.end_family fam_1 {MALLORY}"));
        assert_eq!(asked, ended, "{token}");
        let cookies: Vec<_> =
            said.cookies().into_iter().map(|(name, value)| (name, value.is_empty())).collect();
        let expected = [
            ("__Host-latchkey-token", true),
            ("__Secure-latchkey-refresh", true),
            ("__Host-latchkey-session", false),
        ];
        assert_eq!(cookies, expected.map(|(name, empty)| (name.to_owned(), empty)), "{token}");
    }
    gateway.world.switch_off("auth.end_family");
    let cookie = format!("__Host-latchkey-token=token:{MALLORY}");
    let headers = [("cookie", cookie.as_str()), SAME_ORIGIN];
    let said = gateway.public(Method::POST, "/v1/login", &headers, body("correct horse")).await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.cookies().is_empty());
}

#[tokio::test]
async fn another_site_cannot_log_a_browser_in() {
    let gateway = Gateway::new();
    for header in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let said = gateway.public(Method::POST, "/v1/login", &[header], body("correct horse")).await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::FORBIDDEN, "cross_site"), "{header:?}");
    }
    assert!(gateway.world.asked().is_empty());
}

#[tokio::test]
async fn registering() {
    let gateway = Gateway::new();
    let asked = json!({ "username": "bob", "password": "a long enough password" });
    let said = gateway.public(Method::POST, "/v1/users", &[], asked.clone()).await;
    assert_eq!(said.status, StatusCode::CREATED);
    assert_eq!(said.json(), json!({ "id": "usr_new", "username": "bob" }));
    for (reason, status) in [
        (Reason::RegistrationClosed, StatusCode::FORBIDDEN),
        (Reason::UsernameTaken, StatusCode::CONFLICT),
        (Reason::PasswordRefused, StatusCode::BAD_REQUEST),
    ] {
        gateway.world.refuse("auth.register", reason, None);
        let said = gateway.public(Method::POST, "/v1/users", &[], asked.clone()).await;
        assert_eq!(said.status, status);
    }
}

#[tokio::test]
async fn refreshing_needs_the_cookie_and_the_same_site() {
    let gateway = Gateway::new();
    let good = ("cookie", "__Secure-latchkey-refresh=lkr_good");
    let said = gateway.public(Method::POST, "/v1/refresh", &[good, SAME_ORIGIN], Value::Null).await;
    assert_eq!(said.json(), json!({ "token_type": "Bearer", "expires_in": 300 }));
    assert_eq!(said.cookies().len(), 2);
    assert_eq!(gateway.world.asked(), ["auth.refresh first-party"]);

    let said = gateway.public(Method::POST, "/v1/refresh", &[good], Value::Null).await;
    assert_eq!(said.code(), "origin_required");
    let said = gateway
        .public(Method::POST, "/v1/refresh", &[good, ("sec-fetch-site", "cross-site")], Value::Null)
        .await;
    assert_eq!(said.code(), "cross_site");
    assert!(gateway.world.asked().is_empty());

    let said = gateway.public(Method::POST, "/v1/refresh", &[SAME_ORIGIN], Value::Null).await;
    assert_eq!((said.status, said.code().as_str()), (StatusCode::UNAUTHORIZED, "refresh_token_invalid"));

    let spent = ("cookie", "__Secure-latchkey-refresh=lkr_spent");
    let said = gateway.public(Method::POST, "/v1/refresh", &[spent, SAME_ORIGIN], Value::Null).await;
    assert_eq!((said.status, said.code().as_str()), (StatusCode::UNAUTHORIZED, "refresh_token_invalid"));
    assert!(said.cookies().iter().all(|(_, value)| value.is_empty()) && said.cookies().len() == 2);

    gateway.world.switch_off("auth");
    let said = gateway.public(Method::POST, "/v1/refresh", &[good, SAME_ORIGIN], Value::Null).await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.cookies().is_empty(), "what may still be good is not taken away");
}

mod password {
    use super::*;

    fn change(current: &str, new: &str) -> Value {
        json!({ "current_password": current, "new_password": new })
    }

    fn cookie() -> [(&'static str, &'static str); 2] {
        [("cookie", "__Host-latchkey-session=mine"), SAME_ORIGIN]
    }

    fn with_sessions() -> Gateway {
        let gateway = Gateway::new();
        gateway.world.session("mine", "ses_mine", ALICE, "alice");
        gateway.world.session("other", "ses_other", ALICE, "alice");
        gateway.world.session("hers", "ses_hers", MALLORY, "mallory");
        gateway
    }

    #[tokio::test]
    async fn ends_every_session_and_makes_a_new_one() {
        let gateway = with_sessions();
        let said =
            gateway.public(Method::POST, "/v1/password", &cookie(), change("correct horse", "new")).await;
        assert_eq!(said.status, StatusCode::OK, "{}", said.text);
        assert_eq!(said.cookies(), [("__Host-latchkey-session".to_owned(), "secret-1".to_owned())]);
        assert!(!gateway.world.live("mine") && !gateway.world.live("other"));
        assert!(gateway.world.live("secret-1") && gateway.world.live("hers"));
        assert_eq!(gateway.world.password("alice").unwrap(), "new");
    }

    #[tokio::test]
    async fn not_yet_everywhere_ends_every_session_all_the_same() {
        let gateway = with_sessions();
        gateway.world.leave_unheard("auth.change_password");
        let said =
            gateway.public(Method::POST, "/v1/password", &cookie(), change("correct horse", "new")).await;
        assert_eq!((said.status.as_u16(), said.code().as_str()), (202, "not_everywhere"));
        assert!(!gateway.world.live("mine") && !gateway.world.live("other") && gateway.world.live("hers"));
    }

    #[tokio::test]
    async fn by_token_answers_tokens_where_they_were() {
        let gateway = with_sessions();
        let bearer = format!("Bearer token:{ALICE}");
        let said = gateway
            .public(
                Method::POST,
                "/v1/password",
                &[("authorization", &bearer)],
                change("correct horse", "new"),
            )
            .await;
        assert_eq!(said.json()["access_token"], "issued.access.token");
        let token = format!("__Host-latchkey-token=token:{ALICE}");
        let said = gateway
            .public(Method::POST, "/v1/password", &[("cookie", &token), SAME_ORIGIN], change("new", "newer"))
            .await;
        assert_eq!(said.cookies().len(), 2);
        assert!(said.json().get("access_token").is_none());
        assert!(!gateway.world.live("other"));
    }

    #[tokio::test]
    async fn p07_needs_the_present_password() {
        let gateway = with_sessions();
        let said = gateway.public(Method::POST, "/v1/password", &cookie(), change("wrong", "new")).await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::UNAUTHORIZED, "invalid_credentials"));
        assert!(gateway.world.live("mine") && gateway.world.live("other"));
        assert_eq!(gateway.world.password("alice").unwrap(), "correct horse");
        let said =
            gateway.public(Method::POST, "/v1/password", &cookie(), json!({ "new_password": "new" })).await;
        assert_eq!(said.code(), "request_invalid");
    }

    /// To know the new one is not to know the present one, even where they are the same.
    #[tokio::test]
    async fn p07_the_present_password_as_the_new_one_proves_nothing() {
        let gateway = with_sessions();
        let said =
            gateway.public(Method::POST, "/v1/password", &cookie(), change("wrong", "correct horse")).await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::UNAUTHORIZED, "invalid_credentials"));
        assert!(said.cookies().is_empty() && gateway.world.live("mine") && gateway.world.live("other"));
        assert_eq!(gateway.world.asked(), ["session.resolve", "auth.change_password alice"], "one attempt");
    }

    #[tokio::test]
    async fn is_acknowledged_when_all_is_done_and_can_be_repeated() {
        let gateway = with_sessions();
        gateway.world.switch_off("session.end_subject");
        let said =
            gateway.public(Method::POST, "/v1/password", &cookie(), change("correct horse", "new")).await;
        assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(said.cookies().is_empty() && gateway.world.live("other"));
        let detail = said.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("The password has been changed"), "{detail}");

        gateway.world.switch_on("session.end_subject");
        let said =
            gateway.public(Method::POST, "/v1/password", &cookie(), change("correct horse", "new")).await;
        assert_eq!(said.code(), "invalid_credentials", "it is the present one no more");
        let said = gateway.public(Method::POST, "/v1/password", &cookie(), change("new", "new")).await;
        assert_eq!(said.status, StatusCode::OK, "{}", said.text);
        assert!(!gateway.world.live("other"));
    }

    #[tokio::test]
    async fn no_answer_is_not_called_a_change() {
        let gateway = with_sessions();
        gateway.world.switch_off("auth.change_password");
        let said =
            gateway.public(Method::POST, "/v1/password", &cookie(), change("correct horse", "new")).await;
        assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
        let detail = said.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("It is not known"), "{detail}");
    }

    #[tokio::test]
    async fn without_a_credential_by_identifier() {
        let gateway = with_sessions();
        let mut asked = change("correct horse", "new");
        let said = gateway.public(Method::POST, "/v1/password", &[], asked.clone()).await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::UNAUTHORIZED, "credential_missing"));
        asked["identifier"] = "alice".into();
        asked["mode"] = "token".into();
        let said = gateway.public(Method::POST, "/v1/password", &[], asked).await;
        assert_eq!(said.json()["token_type"], "Bearer");
        assert!(!gateway.world.live("other"));
    }

    #[tokio::test]
    async fn mode_without_identifier_means_nothing() {
        let gateway = with_sessions();
        let mut asked = change("correct horse", "new");
        asked["mode"] = "token".into();
        let said = gateway.public(Method::POST, "/v1/password", &cookie(), asked).await;
        assert_eq!(said.code(), "request_invalid");
    }

    #[tokio::test]
    async fn c01_from_another_site_changes_nothing() {
        let gateway = with_sessions();
        let headers = [("cookie", "__Host-latchkey-session=mine"), ("sec-fetch-site", "cross-site")];
        let said =
            gateway.public(Method::POST, "/v1/password", &headers, change("correct horse", "new")).await;
        assert_eq!(said.code(), "cross_site");
        let headers = [("cookie", "__Host-latchkey-session=mine")];
        let said =
            gateway.public(Method::POST, "/v1/password", &headers, change("correct horse", "new")).await;
        assert_eq!(said.code(), "origin_required");
        assert_eq!(gateway.world.password("alice").unwrap(), "correct horse");
    }

    #[tokio::test]
    async fn a_client_has_none() {
        let gateway = with_sessions();
        let headers = [("authorization", "Bearer client:cli_1")];
        let said = gateway.public(Method::POST, "/v1/password", &headers, change("a", "b")).await;
        assert_eq!(said.code(), "request_invalid");
        assert!(gateway.world.asked().is_empty());
    }
}
