//! What callers do with the service, over the wire.

use std::time::Duration;

use chassis::lifecycle::Exit;
use proto::policy::v1 as wire;
use tonic::Code;

use crate::stack::{Stack, call, check, client, create_grant, group, put_role, reason, resource, user};

const ALLOW: i32 = wire::Decision::Allow as i32;
const DENY: i32 = wire::Decision::Deny as i32;

#[tokio::test]
async fn a_role_is_granted_decides_and_is_taken_back() {
    let stack = Stack::start().await;
    let mut gateway = stack.client("gateway");

    let put = gateway
        .admin
        .put_role(call(put_role("editor", &["document:write", "document:read", "document:read"])));
    let put = put.await.unwrap().into_inner();
    let role = put.role.unwrap();
    assert_eq!(role.permissions, ["document:read", "document:write"]);
    assert_eq!(put.revision, 2);
    let asked = wire::GetRoleRequest { name: "editor".to_owned() };
    assert_eq!(gateway.reads.get_role(call(asked)).await.unwrap().into_inner().role, Some(role));

    let everywhere =
        gateway.admin.create_grant(call(create_grant(user(1), "editor", None))).await.unwrap().into_inner();
    let within = gateway
        .admin
        .create_grant(call(create_grant(client(1), "editor", Some("document/42"))))
        .await
        .unwrap();
    let within = within.into_inner();
    let grant = within.grant.clone().unwrap();
    assert!(grant.id.starts_with("grt_") && grant.id.len() == 30, "{}", grant.id);
    assert_eq!(
        (grant.subject, grant.role.as_str(), grant.within),
        (client(1), "editor", resource("document/42"))
    );
    assert_eq!((everywhere.revision, within.revision), (3, 4));
    let again =
        gateway.admin.create_grant(call(create_grant(client(1), "editor", Some("document/42")))).await;
    assert_eq!(again.unwrap().into_inner(), within);

    for (subject, permission, at, decision, by) in [
        (user(1), "document:write", None, ALLOW, everywhere.grant.clone()),
        (user(1), "document:write", Some("document/7"), ALLOW, everywhere.grant.clone()),
        (user(1), "folder:write", None, DENY, None),
        (user(2), "document:write", None, DENY, None),
        (client(1), "document:write", Some("document/42"), ALLOW, within.grant.clone()),
        (client(1), "document:write", Some("document/43"), DENY, None),
        (client(1), "document:write", None, DENY, None),
    ] {
        let answer = gateway.checks.check(call(check(subject, permission, at))).await.unwrap().into_inner();
        let grants: Vec<String> = by.into_iter().map(|grant| grant.id).collect();
        assert_eq!(
            (answer.decision, answer.grants, answer.revision),
            (decision, grants, 4),
            "{permission} {at:?}"
        );
    }

    let id = everywhere.grant.unwrap().id;
    let deleted =
        gateway.admin.delete_grant(call(wire::DeleteGrantRequest { id: id.clone() })).await.unwrap();
    assert_eq!(deleted.into_inner().revision, 5);
    let again = gateway.admin.delete_grant(call(wire::DeleteGrantRequest { id })).await.unwrap_err();
    assert_eq!((again.code(), reason(&again).as_str()), (Code::NotFound, "GRANT_NOT_FOUND"));
    // The new-enemy question: asked with the revision of the write, the answer is not older than it.
    let asked = wire::CheckRequest { at_least: 5, ..check(user(1), "document:write", None) };
    let answer = gateway.checks.check(call(asked)).await.unwrap().into_inner();
    assert_eq!((answer.decision, answer.revision), (DENY, 5));
}

#[tokio::test]
async fn groups_pass_on_roles_until_they_are_left() {
    let stack = Stack::start().await;
    let mut operator = stack.client("operator");
    operator.admin.put_role(call(put_role("reader", &["document:*"]))).await.unwrap();
    for name in ["team", "company"] {
        let created =
            operator.admin.create_group(call(wire::CreateGroupRequest { name: name.to_owned() })).await;
        let created = created.unwrap().into_inner().group.unwrap();
        assert_eq!((created.name.as_str(), created.members.len()), (name, 0));
    }
    let add = |group: &str, member| wire::AddGroupMemberRequest { group: group.to_owned(), member };
    let remove = |group: &str, member| wire::RemoveGroupMemberRequest { group: group.to_owned(), member };
    operator.admin.add_group_member(call(add("team", user(1)))).await.unwrap();
    let joined =
        operator.admin.add_group_member(call(add("company", group("team")))).await.unwrap().into_inner();
    let again =
        operator.admin.add_group_member(call(add("company", group("team")))).await.unwrap().into_inner();
    assert_eq!(joined, again);
    operator.admin.create_grant(call(create_grant(group("company"), "reader", None))).await.unwrap();
    let scoped = create_grant(group("team"), "latchkey-admin", Some("document/42"));
    operator.admin.create_grant(call(scoped)).await.unwrap();

    let cycle = operator.admin.add_group_member(call(add("team", group("company")))).await.unwrap_err();
    assert_eq!((cycle.code(), reason(&cycle).as_str()), (Code::FailedPrecondition, "GROUP_CYCLE"));

    let mut auth = stack.client("auth");
    let asked = wire::GetSubjectRolesRequest { subject: user(1), at_least: 0 };
    let roles = auth.reads.get_subject_roles(call(asked.clone())).await.unwrap().into_inner();
    assert_eq!((roles.roles, roles.permissions), (vec!["reader".to_owned()], vec!["document:*".to_owned()]));
    assert_eq!(roles.within.len(), 1);
    assert_eq!(roles.within[0].subject, group("team"));
    assert_eq!(roles.within[0].role, "latchkey-admin");

    let listed =
        operator.reads.list_groups(call(wire::ListGroupsRequest::default())).await.unwrap().into_inner();
    let listed: Vec<_> = listed.groups.into_iter().map(|group| (group.name, group.members)).collect();
    let expected = [("company", group("team")), ("team", user(1))];
    assert_eq!(listed, expected.map(|(name, member)| (name.to_owned(), vec![member.unwrap()])));

    let gone = operator.admin.remove_group_member(call(remove("company", group("team")))).await.unwrap();
    let after = auth.reads.get_subject_roles(call(asked)).await.unwrap().into_inner();
    assert!(after.roles.is_empty() && after.permissions.is_empty());
    assert_eq!(after.revision, gone.into_inner().revision);

    let forgotten =
        operator.admin.forget_subject(call(wire::ForgetSubjectRequest { subject: user(1) })).await;
    let forgotten = forgotten.unwrap().into_inner().revision;
    assert_eq!(forgotten, after.revision + 1);
    let deleted =
        operator.admin.delete_group(call(wire::DeleteGroupRequest { name: "team".to_owned() })).await;
    assert_eq!(deleted.unwrap().into_inner().revision, forgotten + 1);
    let deleted =
        operator.admin.delete_role(call(wire::DeleteRoleRequest { name: "reader".to_owned() })).await;
    assert_eq!(deleted.unwrap().into_inner().revision, forgotten + 2);
    let left =
        operator.reads.list_grants(call(wire::ListGrantsRequest::default())).await.unwrap().into_inner();
    assert_eq!(left.grants, []);
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_counted() {
    let stack = Stack::start().await;
    let mut gateway = stack.client("gateway");
    gateway.admin.put_role(call(put_role("reader", &["document:read"]))).await.unwrap();
    gateway.admin.create_grant(call(create_grant(user(1), "reader", None))).await.unwrap();
    let checks = (0..1_000).map(|number| check(user(number % 3), "document:read", None)).collect();
    let answered =
        gateway.checks.batch_check(call(wire::BatchCheckRequest { checks })).await.unwrap().into_inner();
    assert_eq!(answered.results.len(), 1_000);
    for (number, result) in answered.results.iter().enumerate() {
        assert_eq!(result.decision, if number % 3 == 1 { ALLOW } else { DENY });
        assert_eq!(result.revision, 3);
    }
    let none =
        gateway.checks.batch_check(call(wire::BatchCheckRequest::default())).await.unwrap().into_inner();
    assert_eq!(none.results, []);

    let metrics = stack.lifecycle.metrics().render();
    let count = |decision: &str| {
        let line = metrics.lines().find(|line| {
            line.starts_with("latchkey_policy_checks_total{")
                && line.contains(&format!("decision=\"{decision}\""))
        });
        line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("{metrics}")).to_owned()
    };
    assert_eq!([count("allow"), count("deny"), count("unavailable")], ["333", "667", "0"]);
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let stack = Stack::start().await;
    let mut gateway = stack.client("gateway");
    for name in ["a", "b", "c", "d"] {
        gateway.admin.put_role(call(put_role(name, &[]))).await.unwrap();
        gateway.admin.create_grant(call(create_grant(user(1), name, None))).await.unwrap();
        gateway.admin.create_grant(call(create_grant(user(2), name, None))).await.unwrap();
    }
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let asked = wire::ListRolesRequest { page_size: 2, page_token };
        let page = gateway.reads.list_roles(call(asked)).await.unwrap().into_inner();
        names.extend(page.roles.into_iter().map(|role| role.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "latchkey-admin"]);

    let (mut roles, mut page_token) = (Vec::new(), String::new());
    loop {
        let asked =
            wire::ListGrantsRequest { subject: user(2), role: String::new(), page_size: 3, page_token };
        let page = gateway.reads.list_grants(call(asked)).await.unwrap().into_inner();
        assert!(page.grants.iter().all(|grant| grant.subject == user(2)));
        roles.extend(page.grants.into_iter().map(|grant| grant.role));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    roles.sort();
    assert_eq!(roles, ["a", "b", "c", "d"]);

    let asked = wire::ListGrantsRequest { role: "b".to_owned(), ..Default::default() };
    assert_eq!(gateway.reads.list_grants(call(asked)).await.unwrap().into_inner().grants.len(), 2);
}

/// Callers notice a little later that it is not ready any more.
#[tokio::test]
async fn until_it_refuses_connections_it_answers() {
    let stack = Stack::start().await;
    let mut auth = stack.client("auth");
    let asked = wire::GetSubjectRolesRequest { subject: user(1), at_least: 0 };
    auth.reads.get_subject_roles(call(asked.clone())).await.unwrap();
    stack.lifecycle.trigger();
    for _ in 0..20 {
        auth.reads.get_subject_roles(call(asked.clone())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(auth);
    assert_eq!(stack.lifecycle.run_until_stopped().await, Exit::Clean);
}

#[tokio::test]
async fn it_stops_cleanly_and_leaves_one_whole_file() {
    let stack = Stack::start().await;
    let mut gateway = stack.client("gateway");
    gateway.admin.put_role(call(put_role("reader", &["document:read"]))).await.unwrap();
    drop(gateway);
    stack.lifecycle.trigger();
    assert_eq!(stack.lifecycle.run_until_stopped().await, Exit::Clean);
    let wal = stack.database().with_extension("sqlite-wal");
    assert!(
        stack.database().exists() && !wal.exists(),
        "the write-ahead log is folded in when the store closes"
    );
}
