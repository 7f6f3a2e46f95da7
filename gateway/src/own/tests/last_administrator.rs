//! What would leave nobody who administers is refused, and nothing is done.

use super::*;
use crate::peers::{Resource, Subject};

const ROLE: &str = "latchkey-admin";

fn gateway() -> Gateway {
    let gateway = Gateway::new();
    for area in ["users", "clients", "roles"] {
        gateway.world.permit(ALICE, &format!("latchkey:{area}"));
    }
    gateway
}

async fn told(gateway: &Gateway, method: Method, path: &str, body: Value) -> (u16, String) {
    gateway.world.asked();
    let said = gateway.admin(method, path, body).await;
    let code = if said.status.is_success() { String::new() } else { said.code() };
    if code == "last_administrator" {
        let changes = ["set_", "delete_", "remove_", "forget_", "end_"];
        let asked = gateway.world.asked();
        assert!(!asked.iter().any(|call| changes.iter().any(|change| call.contains(change))), "{asked:?}");
        assert!(said.json()["detail"].as_str().unwrap().contains("latchkey-admin"));
    }
    (said.status.as_u16(), code)
}

fn refused() -> (u16, String) {
    (409, "last_administrator".to_owned())
}

#[tokio::test]
async fn the_only_one_is_kept() {
    let gateway = gateway();
    gateway.world.grant("grt_other", Subject::user(MALLORY), "editor", None);
    let within = Some(Resource { kind: "document".into(), id: "1".into() });
    gateway.world.grant("grt_within", Subject::user(MALLORY), ROLE, within);
    gateway.world.grant("grt_1", Subject::user(ALICE), ROLE, None);
    gateway.world.grant("grt_gone", Subject::user("usr_00000000000000000000000000"), ROLE, None);
    let disable = json!({ "status": "disabled" });
    for (method, path, body) in [
        (Method::DELETE, "/v1/admin/users/alice", Value::Null),
        (Method::PATCH, "/v1/admin/users/alice", disable.clone()),
        (Method::DELETE, "/v1/admin/grants/grt_1", Value::Null),
    ] {
        assert_eq!(told(&gateway, method, path, body).await, refused(), "{path}");
    }
    // What takes nothing from her is done.
    for (method, path, body, status) in [
        (Method::PATCH, "/v1/admin/users/alice", json!({ "status": "active" }), 200),
        (Method::DELETE, "/v1/admin/grants/grt_within", Value::Null, 200),
        (Method::DELETE, "/v1/admin/grants/grt_other", Value::Null, 200),
        (Method::PATCH, "/v1/admin/users/mallory", disable, 200),
        (Method::DELETE, "/v1/admin/users/mallory", Value::Null, 204),
    ] {
        assert_eq!(told(&gateway, method, path, body).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn one_of_two_may_go_unless_the_other_is_let_in_no_more() {
    let gateway = gateway();
    gateway.world.grant("grt_1", Subject::user(ALICE), ROLE, None);
    gateway.world.grant("grt_2", Subject::user(MALLORY), ROLE, None);
    let disable = json!({ "status": "disabled" });
    assert_eq!(told(&gateway, Method::PATCH, "/v1/admin/users/mallory", disable.clone()).await.0, 200);
    assert_eq!(told(&gateway, Method::PATCH, "/v1/admin/users/alice", disable).await, refused());
    assert_eq!(told(&gateway, Method::DELETE, "/v1/admin/grants/grt_1", Value::Null).await, refused());
    let enable = json!({ "status": "active" });
    assert_eq!(told(&gateway, Method::PATCH, "/v1/admin/users/mallory", enable).await.0, 200);
    assert_eq!(told(&gateway, Method::DELETE, "/v1/admin/users/alice", Value::Null).await.0, 204);
}

#[tokio::test]
async fn clients_and_members_of_groups_count() {
    let gateway = gateway();
    gateway.world.grant("grt_1", Subject::client("cli_shop"), ROLE, None);
    assert_eq!(told(&gateway, Method::DELETE, "/v1/admin/clients/shop", Value::Null).await, refused());
    let disable = json!({ "status": "disabled" });
    assert_eq!(told(&gateway, Method::PATCH, "/v1/admin/clients/shop", disable).await, refused());

    // An empty group is nobody, and a group in a circle ends.
    gateway.world.grant("grt_2", Subject::group("nobody"), ROLE, None);
    gateway.world.group("other", Vec::new());
    gateway.world.group("nobody", vec![Subject::group("nobody")]);
    assert_eq!(told(&gateway, Method::DELETE, "/v1/admin/clients/shop", Value::Null).await, refused());
    gateway.world.grant("grt_3", Subject::group("staff"), ROLE, None);
    gateway.world.group("staff", vec![Subject::group("night")]);
    gateway.world.group("night", vec![Subject::user(MALLORY)]);
    assert_eq!(told(&gateway, Method::DELETE, "/v1/admin/grants/grt_1", Value::Null).await.0, 200);

    // With the client out, the member of a member is the last.
    gateway.world.disable_client("cli_shop");
    for (path, status) in [
        ("/v1/admin/grants/grt_3", 409),
        ("/v1/admin/groups/staff", 409),
        ("/v1/admin/groups/night", 409),
        ("/v1/admin/groups/staff/members/group/night", 409),
        ("/v1/admin/groups/night/members/user/mallory", 409),
        ("/v1/admin/users/mallory", 409),
        ("/v1/admin/groups/other", 200),
        ("/v1/admin/groups/night/members/user/alice", 200),
    ] {
        assert_eq!(told(&gateway, Method::DELETE, path, Value::Null).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn where_nobody_administers_nothing_is_refused_and_an_outage_is_no_answer() {
    let gateway = gateway();
    assert_eq!(told(&gateway, Method::DELETE, "/v1/admin/grants/grt_1", Value::Null).await.0, 200);
    gateway.world.grant("grt_1", Subject::user(ALICE), ROLE, None);
    gateway.world.switch_off("policy.grants");
    assert_eq!(told(&gateway, Method::DELETE, "/v1/admin/users/mallory", Value::Null).await.0, 503);
    assert!(gateway.world.password("mallory").is_some());
}
