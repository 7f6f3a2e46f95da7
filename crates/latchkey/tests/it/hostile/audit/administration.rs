//! An administrator's acts, each with who did it.

use serde_json::{Value, json};

use super::{Ledger, OTHER_PASSWORD};
use crate::stack::{PASSWORD, Stack, client};

#[tokio::test]
async fn z08_audit_has_one_line_for_each_act_of_administration() {
    let stack = Stack::start().await;
    let token = stack.token("admin", &stack.admin_password()).await.access_token;
    let admin = stack.cli_json(&["user", "show", "admin"])["id"].clone();
    // One that signs nothing yet: what the administrator goes by stays good.
    let key = format!("/keys/{}", stack.cli_json(&["key", "rotate"])["kid"].as_str().unwrap());
    let mut ledger = Ledger::open(stack);
    let internal = format!("{}/v1/admin", ledger.stack.internal());
    let ask = |method: &str, path: &str, body: Value| {
        let request =
            client().request(method.parse().unwrap(), format!("{internal}{path}")).bearer_auth(&token);
        if body.is_null() { request } else { request.json(&body) }
    };
    let none = Value::Null;
    let grant = json!({ "subject": { "kind": "user", "id": "alice" }, "role": "reader" });
    let nothing = json!({ "subject": { "kind": "user", "id": "alice" }, "role": "no-such-role" });
    let table: Vec<(&str, &str, Value, u16, &[&str])> = vec![
        (
            "POST",
            "/users",
            json!({ "username": "alice", "password": PASSWORD }),
            201,
            &["auth user.create success"],
        ),
        (
            "POST",
            "/users",
            json!({ "username": "alice", "password": PASSWORD }),
            409,
            &["auth user.create refused"],
        ),
        (
            "PUT",
            "/users/alice/password",
            json!({ "password": OTHER_PASSWORD }),
            200,
            &["auth user.set_password success", "session session.end success"],
        ),
        (
            "PATCH",
            "/users/alice",
            json!({ "status": "disabled" }),
            200,
            &["auth user.disable success", "session session.end success"],
        ),
        ("PATCH", "/users/alice", json!({ "status": "active" }), 200, &["auth user.enable success"]),
        (
            "PUT",
            "/roles/reader",
            json!({ "permissions": ["document:read"] }),
            200,
            &["policy role.put success"],
        ),
        ("PUT", "/roles/latchkey-admin", json!({ "permissions": [] }), 409, &["policy role.put refused"]),
        ("POST", "/grants", grant, 201, &["policy grant.create success"]),
        ("POST", "/grants", nothing, 404, &["policy grant.create refused"]),
        ("POST", "/groups", json!({ "name": "staff" }), 201, &["policy group.create success"]),
        ("PUT", "/groups/staff/members/user/alice", none.clone(), 200, &["policy group.member.add success"]),
        (
            "DELETE",
            "/groups/staff/members/user/alice",
            none.clone(),
            200,
            &["policy group.member.remove success"],
        ),
        ("DELETE", "/groups/staff", none.clone(), 200, &["policy group.delete success"]),
        (
            "DELETE",
            "/grants/grt_00000000000000000000000000",
            none.clone(),
            404,
            &["policy grant.delete refused"],
        ),
        (
            "POST",
            "/clients",
            json!({ "name": "robot", "audiences": ["x"] }),
            201,
            &["auth client.create success"],
        ),
        ("DELETE", "/clients/robot/tokens", none.clone(), 204, &["auth client.revoke_tokens success"]),
        ("DELETE", "/clients/nobody/tokens", none.clone(), 404, &[]),
        ("POST", "/clients/robot/secret", none.clone(), 200, &["auth client.rotate_secret success"]),
        ("PATCH", "/clients/robot", json!({ "status": "disabled" }), 200, &["auth client.disable success"]),
        (
            "DELETE",
            "/clients/robot",
            none.clone(),
            204,
            &["auth client.disable success", "auth client.delete success", "policy grant.forget success"],
        ),
        ("DELETE", "/users/alice/sessions", none.clone(), 200, &["session session.end success"]),
        (
            "DELETE",
            "/users/alice/tokens",
            none.clone(),
            204,
            &["auth user.revoke_tokens success", "session session.end success"],
        ),
        (
            "DELETE",
            "/users/alice",
            none.clone(),
            204,
            &[
                "auth user.disable success",
                "auth user.delete success",
                "policy grant.forget success",
                "session session.end success",
            ],
        ),
        ("DELETE", "/roles/reader", none.clone(), 200, &["policy role.delete success"]),
        ("DELETE", "/tokens/0123456789abcdefghjkmnpqrs", none.clone(), 204, &["auth token.revoke success"]),
        ("DELETE", "/tokens/alice", none.clone(), 400, &["auth token.revoke refused"]),
        (
            "DELETE",
            "/families/fam_0123456789abcdefghjkmnpqrs",
            none.clone(),
            404,
            &["auth family.revoke refused"],
        ),
        ("POST", "/keys", none.clone(), 200, &["auth key.rotate success"]),
        ("DELETE", "/keys/nobody", none.clone(), 404, &["auth key.revoke refused"]),
        ("DELETE", &key, none.clone(), 204, &["auth key.revoke success"]),
        // Looking changes nothing, and is no event.
        ("GET", "/users", none.clone(), 200, &[]),
        ("GET", "/sessions?subject=admin", none.clone(), 200, &[]),
        (
            "POST",
            "/check",
            json!({ "subject": { "kind": "user", "id": "admin" }, "permission": "a:b" }),
            200,
            &[],
        ),
    ];
    for (method, path, body, status, lines) in table {
        ledger.enter(&format!("{method} {path}"), ask(method, path, body), status, lines).await;
    }
    let all = ledger.close().await;
    for line in all.values().flatten() {
        assert_eq!(line["actor"], admin, "who did it: {line}");
    }
}
