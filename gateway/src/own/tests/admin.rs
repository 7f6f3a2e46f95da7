use super::*;

fn administrator() -> Gateway {
    let gateway = Gateway::new();
    for area in AREAS {
        gateway.world.permit(ALICE, &format!("latchkey:{area}"));
    }
    gateway
}

/// Every call of administration, with a body that it understands.
fn calls() -> Vec<(Method, String, Value, &'static str)> {
    let user = format!("/v1/admin/users/{MALLORY}");
    let on = |path: &str| format!("/v1/admin/{path}");
    let subject = json!({ "kind": "user", "id": MALLORY });
    vec![
        (Method::POST, on("users"), json!({ "username": "bob", "password": "p" }), "users"),
        (Method::GET, on("users"), Value::Null, "users"),
        (Method::GET, user.clone(), Value::Null, "users"),
        (Method::PATCH, user.clone(), json!({ "status": "disabled" }), "users"),
        (Method::PUT, format!("{user}/password"), json!({ "password": "p" }), "users"),
        (Method::DELETE, format!("{user}/sessions"), Value::Null, "sessions"),
        (Method::DELETE, format!("{user}/tokens"), Value::Null, "users"),
        (Method::DELETE, user, Value::Null, "users"),
        (Method::POST, on("clients"), json!({ "name": "shop", "audiences": ["orders"] }), "clients"),
        (Method::GET, on("clients"), Value::Null, "clients"),
        (Method::GET, on("clients/shop"), Value::Null, "clients"),
        (Method::PATCH, on("clients/shop"), json!({ "status": "active" }), "clients"),
        (Method::POST, on("clients/shop/secret"), json!({}), "clients"),
        (Method::DELETE, on("clients/shop/tokens"), Value::Null, "clients"),
        (Method::DELETE, on("clients/shop"), Value::Null, "clients"),
        (Method::PUT, on("roles/editor"), json!({ "permissions": ["document:read"] }), "roles"),
        (Method::GET, on("roles"), Value::Null, "roles"),
        (Method::GET, on("roles/editor"), Value::Null, "roles"),
        (Method::DELETE, on("roles/editor"), Value::Null, "roles"),
        (Method::POST, on("grants"), json!({ "subject": subject, "role": "editor" }), "roles"),
        (Method::GET, on("grants"), Value::Null, "roles"),
        (Method::DELETE, on("grants/grt_1"), Value::Null, "roles"),
        (Method::POST, on("groups"), json!({ "name": "team" }), "roles"),
        (Method::GET, on("groups"), Value::Null, "roles"),
        (Method::PUT, on("groups/team/members/client/shop"), json!({}), "roles"),
        (Method::DELETE, on("groups/team/members/group/other"), Value::Null, "roles"),
        (Method::DELETE, on("groups/team"), Value::Null, "roles"),
        (Method::GET, on("sessions"), Value::Null, "sessions"),
        (Method::GET, on("sessions/ses_hers"), Value::Null, "sessions"),
        (Method::DELETE, on("sessions/ses_hers"), Value::Null, "sessions"),
        (Method::DELETE, on("tokens/tok_1"), Value::Null, "tokens"),
        (Method::DELETE, on("families/fam_1"), Value::Null, "tokens"),
        (Method::GET, on("keys"), Value::Null, "keys"),
        (Method::POST, on("keys"), json!({}), "keys"),
        (Method::DELETE, on("keys/k1"), Value::Null, "keys"),
        (Method::POST, on("check"), json!({ "subject": subject, "permission": "document:read" }), "check"),
    ]
}

#[tokio::test]
async fn every_call_needs_its_permission() {
    for (method, path, body, area) in calls() {
        let gateway = administrator();
        gateway.world.session("hers", "ses_hers", MALLORY, "mallory");
        let said = gateway.admin(method.clone(), &path, body.clone()).await;
        assert!(said.status.is_success(), "{method} {path}: {}", said.text);
        let asked = gateway.world.asked();
        assert_eq!(asked[0], format!("policy.check latchkey:{area}"), "{method} {path}");
        assert!(asked.len() > 1);

        // With every other permission: refused, and nothing else was asked of anybody.
        let gateway = Gateway::new();
        for other in AREAS.into_iter().filter(|a| *a != area) {
            gateway.world.permit(ALICE, &format!("latchkey:{other}"));
        }
        let said = gateway.admin(method.clone(), &path, body.clone()).await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::FORBIDDEN, "permission_denied"));
        assert!(said.json()["detail"].as_str().unwrap().contains(&format!("latchkey:{area}")));
        assert_eq!(gateway.world.asked().len(), 1, "{method} {path}");

        // Without a token, or with a cookie: nobody.
        let headers = [("cookie", "__Host-latchkey-session=hers"), SAME_ORIGIN];
        for headers in [&[][..], &headers] {
            let request = request(method.clone(), &path, headers, body.clone());
            let said = gateway.send(&gateway.internal, request).await;
            assert_eq!(said.code(), "credential_missing", "{method} {path}");
        }

        // And when nobody can say whether it is allowed: 503 (Z01).
        gateway.world.asked();
        gateway.world.switch_off("policy");
        let said = gateway.admin(method.clone(), &path, body).await;
        assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE, "{method} {path}");
        assert_eq!(gateway.world.asked().len(), 1);
    }
}

#[tokio::test]
async fn calls_are_all_that_the_table_has() {
    let table = crate::own::admin::endpoints();
    assert_eq!(calls().len(), table.len(), "the list above names each endpoint once");
    for endpoint in table {
        assert!(matches!(endpoint.needs, endpoint::Needs::Permission(_)), "{}", endpoint.path);
    }
}

#[tokio::test]
async fn a_refused_question_of_ours_says_nothing_about_the_caller() {
    let gateway = administrator();
    gateway.world.refuse("policy.check", Reason::PermissionInvalid, None);
    let said = gateway.admin(Method::GET, "/v1/admin/users", Value::Null).await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_actor_and_the_page_travel_on() {
    let gateway = administrator();
    let said = gateway.admin(Method::GET, "/v1/admin/users?page_size=2&page_token=t", Value::Null).await;
    assert_eq!(said.json()["next_page_token"], "more");
    assert_eq!(said.json()["users"][0]["username"], "alice");
    assert_eq!(gateway.world.asked()[1], format!("auth.users by {ALICE} 2 t"));
}

#[tokio::test]
async fn s07_disabling_ends_the_sessions_and_can_be_repeated() {
    let gateway = administrator();
    gateway.world.session("hers", "ses_hers", MALLORY, "mallory");
    gateway.world.switch_off("session");
    let body = json!({ "status": "disabled" });
    let said = gateway.admin(Method::PATCH, "/v1/admin/users/mallory", body.clone()).await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(gateway.world.live("hers"));
    gateway.world.switch_on("session");
    let said = gateway.admin(Method::PATCH, "/v1/admin/users/mallory", body).await;
    assert_eq!(said.json()["status"], "disabled");
    assert!(!gateway.world.live("hers"));
    assert!(gateway.world.asked().contains(&format!("auth.set_user_status {MALLORY} Disabled by {ALICE}")));
    // Enabling ends nothing.
    gateway.world.session("hers", "ses_hers", MALLORY, "mallory");
    gateway.admin(Method::PATCH, "/v1/admin/users/mallory", json!({ "status": "active" })).await;
    assert!(gateway.world.live("hers"));
}

#[tokio::test]
async fn s07_ending_all_of_a_user_ends_tokens_and_sessions_and_can_be_repeated() {
    let gateway = administrator();
    gateway.world.session("hers", "ses_hers", MALLORY, "mallory");
    let end = async || gateway.admin(Method::DELETE, "/v1/admin/users/mallory/tokens", Value::Null).await;
    for service in ["auth.revoke_user_tokens", "session.end_subject"] {
        gateway.world.switch_off(service);
        assert_eq!(end().await.status, StatusCode::SERVICE_UNAVAILABLE, "{service}");
        assert!(gateway.world.live("hers"));
        gateway.world.switch_on(service);
    }
    assert_eq!(end().await.status, StatusCode::NO_CONTENT);
    assert!(!gateway.world.live("hers"));
    assert!(gateway.world.asked().contains(&format!("auth.revoke_user_tokens {MALLORY}")));
    assert!(gateway.world.password("mallory").is_some(), "she may log in anew");
    let said = gateway.admin(Method::DELETE, "/v1/admin/users/nobody/tokens", Value::Null).await;
    assert_eq!((said.status, said.code().as_str()), (StatusCode::NOT_FOUND, "user_not_found"));
    let said = gateway.admin(Method::DELETE, "/v1/admin/clients/shop/tokens", Value::Null).await;
    assert_eq!(said.status, StatusCode::NO_CONTENT);
    assert!(gateway.world.asked().contains(&"auth.revoke_client_tokens cli_shop".to_owned()));
}

#[tokio::test]
async fn one_token_and_one_login_are_ended_by_their_ids() {
    let gateway = administrator();
    for (path, call) in [("tokens/tok_1", "revoke_token"), ("families/fam_1", "revoke_family")] {
        let end = async || gateway.admin(Method::DELETE, &format!("/v1/admin/{path}"), Value::Null).await;
        assert_eq!(end().await.status, StatusCode::NO_CONTENT);
        let id = path.split_once('/').unwrap().1;
        assert!(gateway.world.asked().contains(&format!("auth.{call} {id} by {ALICE}")));
        let call = format!("auth.{call}");
        gateway.world.refuse(&call, Reason::InvalidArgument, None);
        let said = end().await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::BAD_REQUEST, "request_invalid"));
        gateway.world.leave_unheard(&call);
        let said = end().await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::ACCEPTED, "not_everywhere"));
        assert!(said.headers.contains_key("retry-after"));
        gateway.world.switch_off("auth");
        let said = end().await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
        assert!(said.headers.contains_key("retry-after"));
        gateway.world.switch_on("auth");
    }
    let said = gateway.admin(Method::DELETE, "/v1/admin/families/fam_2", Value::Null).await;
    assert_eq!((said.status, said.code().as_str()), (StatusCode::NOT_FOUND, "family_not_found"));
}

#[tokio::test]
async fn setting_a_password_ends_the_sessions() {
    let gateway = administrator();
    gateway.world.session("hers", "ses_hers", MALLORY, "mallory");
    let body = json!({ "password": "fresh", "must_change_password": true });
    let said = gateway.admin(Method::PUT, "/v1/admin/users/mallory/password", body).await;
    assert_eq!(said.json()["must_change_password"], true);
    assert!(!gateway.world.live("hers"));
    assert!(!said.text.contains("fresh"));
}

#[tokio::test]
async fn removing_a_user_can_be_repeated_by_name_until_it_is_done() {
    let gateway = administrator();
    gateway.world.session("hers", "ses_hers", MALLORY, "mallory");
    for step in ["session.end_subject", "policy.forget_subject", "auth.delete_user"] {
        gateway.world.switch_off(step);
        let said = gateway.admin(Method::DELETE, "/v1/admin/users/mallory", Value::Null).await;
        assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE, "{step}");
        gateway.world.switch_on(step);
    }
    let said = gateway.admin(Method::DELETE, "/v1/admin/users/mallory", Value::Null).await;
    assert_eq!(said.status, StatusCode::NO_CONTENT);
    assert!(!gateway.world.live("hers") && gateway.world.password("mallory").is_none());
    let said = gateway.admin(Method::GET, "/v1/admin/users/mallory", Value::Null).await;
    assert_eq!((said.status, said.code().as_str()), (StatusCode::NOT_FOUND, "user_not_found"));
}

#[tokio::test]
async fn a_secret_is_told_when_it_is_made() {
    let gateway = administrator();
    let body = json!({ "name": "shop", "audiences": ["orders"] });
    let said = gateway.admin(Method::POST, "/v1/admin/clients", body).await;
    assert_eq!(said.status, StatusCode::CREATED);
    assert_eq!(said.headers["location"], "/v1/admin/clients/cli_shop");
    assert_eq!(said.json()["client_secret"], "lks_new");
    assert_eq!(said.json()["name"], "shop");
    assert_eq!(said.headers["cache-control"], "no-store");
    let said = gateway.admin(Method::GET, "/v1/admin/clients/shop", Value::Null).await;
    assert!(said.json().get("client_secret").is_none());
}

#[tokio::test]
async fn subjects_are_named_by_id_or_name() {
    let gateway = administrator();
    let grant = |subject: Value| json!({ "subject": subject, "role": "editor", "within": { "kind": "document", "id": "4/2" } });
    for (subject, id) in [
        (json!({ "kind": "user", "id": "mallory" }), MALLORY),
        (json!({ "kind": "user", "id": MALLORY }), MALLORY),
        (json!({ "kind": "client", "id": "shop" }), "cli_shop"),
        (json!({ "kind": "group", "id": "team" }), "team"),
    ] {
        let said = gateway.admin(Method::POST, "/v1/admin/grants", grant(subject)).await;
        assert_eq!(said.json()["subject"]["id"], id);
        assert_eq!(said.json()["within"], json!({ "kind": "document", "id": "4/2" }));
        assert_eq!(said.json()["revision"], 8);
        assert!(gateway.world.asked().contains(&format!("policy.create_grant {id} editor")));
    }
    let unknown = grant(json!({ "kind": "user", "id": "nobody" }));
    assert_eq!(gateway.admin(Method::POST, "/v1/admin/grants", unknown).await.code(), "user_not_found");
    let odd = grant(json!({ "kind": "robot", "id": "r2" }));
    assert_eq!(gateway.admin(Method::POST, "/v1/admin/grants", odd).await.code(), "request_invalid");
    let half = gateway.admin(Method::GET, "/v1/admin/grants?subject_id=mallory", Value::Null).await;
    assert_eq!(half.code(), "request_invalid");
}

#[tokio::test]
async fn a_deny_is_an_answer() {
    let gateway = administrator();
    let body = json!({ "subject": { "kind": "user", "id": "mallory" }, "permission": "document:read" });
    let said = gateway.admin(Method::POST, "/v1/admin/check", body.clone()).await;
    assert_eq!(said.json(), json!({ "allowed": false, "revision": 7, "grants": [] }));
    gateway.world.permit(MALLORY, "document:read");
    let said = gateway.admin(Method::POST, "/v1/admin/check", body).await;
    assert_eq!(said.json()["allowed"], true);
}

#[tokio::test]
async fn sessions_of_one_user_by_name_or_of_everybody() {
    let gateway = administrator();
    gateway.world.session("hers", "ses_hers", MALLORY, "mallory");
    gateway.world.session("mine", "ses_mine", ALICE, "alice");
    let said = gateway.admin(Method::GET, "/v1/admin/sessions?subject=mallory", Value::Null).await;
    assert_eq!(said.json()["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(said.json()["sessions"][0]["username"], "mallory");
    let said = gateway.admin(Method::GET, "/v1/admin/sessions", Value::Null).await;
    assert_eq!(said.json()["sessions"].as_array().unwrap().len(), 2);
    assert!(!said.text.contains("\"hers\""), "never the secret");
}

#[tokio::test]
async fn what_is_done_but_not_everywhere_is_202_and_says_so() {
    let gateway = administrator();
    gateway.world.leave_unheard("auth.delete_client");
    gateway.world.leave_unheard("auth.revoke_client_tokens");
    let revoke = async || gateway.admin(Method::DELETE, "/v1/admin/clients/shop/tokens", Value::Null).await;
    let said = revoke().await;
    assert_eq!((said.status.as_u16(), said.code()), (202, "not_everywhere".into()));
    assert_eq!((&said.json()["everywhere"], &said.json()["status"]), (&json!(false), &json!(202)));
    assert_eq!(said.headers["retry-after"], "2");
    assert_eq!(revoke().await.status.as_u16(), 204);
    let said = gateway.admin(Method::DELETE, "/v1/admin/clients/shop", Value::Null).await;
    assert_eq!((said.status.as_u16(), said.code()), (202, "not_everywhere".into()));
    assert!(said.json()["detail"].as_str().unwrap().starts_with("it is removed"));
}

#[tokio::test]
async fn what_is_not_yet_everywhere_holds_up_no_other_step() {
    let disable = json!({ "status": "disabled" });
    let password = json!({ "password": "fresh" });
    let calls = [
        ("set_user_status", Method::PATCH, "", disable),
        ("set_password", Method::PUT, "/password", password),
        ("revoke_user_tokens", Method::DELETE, "/tokens", Value::Null),
    ];
    for (call, method, path, body) in calls {
        let gateway = administrator();
        gateway.world.session("hers", "ses_hers", MALLORY, "mallory");
        gateway.world.leave_unheard(&format!("auth.{call}"));
        let said = gateway.admin(method, &format!("/v1/admin/users/mallory{path}"), body).await;
        assert_eq!((said.status.as_u16(), said.code()), (202, "not_everywhere".into()), "{call}");
        assert!(!gateway.world.live("hers"), "{call}");
    }
}

#[tokio::test]
async fn nobody_is_removed_before_what_was_taken_holds_everywhere() {
    let gateway = administrator();
    gateway.world.session("hers", "ses_hers", MALLORY, "mallory");
    for step in ["auth.set_user_status", "policy.forget_subject"] {
        gateway.world.leave_unheard(step);
        let said = gateway.admin(Method::DELETE, "/v1/admin/users/mallory", Value::Null).await;
        assert_eq!((said.status.as_u16(), said.code()), (202, "not_everywhere".into()), "{step}");
        assert!(!gateway.world.live("hers"));
        assert!(said.json()["detail"].as_str().unwrap().contains("not removed yet"), "{step}");
        assert!(gateway.world.password("mallory").is_some(), "{step}: the same request can go on");
    }
    gateway.world.leave_unheard("auth.delete_user");
    let said = gateway.admin(Method::DELETE, "/v1/admin/users/mallory", Value::Null).await;
    assert_eq!((said.status.as_u16(), said.code()), (202, "not_everywhere".into()));
    assert!(said.json()["detail"].as_str().unwrap().starts_with("it is removed"));
}
