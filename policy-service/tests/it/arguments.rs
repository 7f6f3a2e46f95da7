//! What callers may get wrong, and the reason that each mistake is answered with.

use proto::policy::v1 as wire;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::stack::{Client, Stack, call, check, create_grant, group, put_role, reason, resource, user};

/// The code, the reason and the field that is named.
fn told(status: &Status) -> (Code, String, String) {
    let details = status.get_details_bad_request();
    let field = details
        .and_then(|details| details.field_violations.into_iter().next())
        .map(|violation| violation.field);
    (status.code(), reason(status), field.unwrap_or_default())
}

fn invalid(reason: &str, field: &str) -> (Code, String, String) {
    (Code::InvalidArgument, reason.to_owned(), field.to_owned())
}

fn subject(kind: i32, id: &str) -> Option<wire::Subject> {
    Some(wire::Subject { kind, id: id.to_owned() })
}

const USER: i32 = wire::SubjectKind::User as i32;
const CLIENT: i32 = wire::SubjectKind::Client as i32;
const UNSPECIFIED: i32 = wire::SubjectKind::Unspecified as i32;

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_and_not_denied() {
    let stack = Stack::start().await;
    let Client { mut checks, mut reads, .. } = stack.client("gateway");
    let id = "usr_00000000000000000000000001";
    let long = "x".repeat(257);
    let at = |kind: &str, id: &str| wire::CheckRequest {
        resource: Some(wire::Resource { kind: kind.to_owned(), id: id.to_owned() }),
        ..check(user(1), "document:read", None)
    };
    for (request, wrong, field) in [
        (check(None, "document:read", None), "SUBJECT_INVALID", "subject"),
        (check(subject(UNSPECIFIED, id), "document:read", None), "SUBJECT_INVALID", "subject.kind"),
        (check(subject(99, id), "document:read", None), "SUBJECT_INVALID", "subject.kind"),
        (check(subject(-1, id), "document:read", None), "SUBJECT_INVALID", "subject.kind"),
        (check(group("team"), "document:read", None), "SUBJECT_INVALID", "subject.kind"),
        (check(subject(USER, ""), "document:read", None), "SUBJECT_INVALID", "subject.id"),
        (check(subject(USER, "alice"), "document:read", None), "SUBJECT_INVALID", "subject.id"),
        (check(subject(CLIENT, id), "document:read", None), "SUBJECT_INVALID", "subject.id"),
        (check(user(1), "", None), "PERMISSION_INVALID", "permission"),
        (check(user(1), "document", None), "PERMISSION_INVALID", "permission"),
        (check(user(1), "document:*", None), "PERMISSION_INVALID", "permission"),
        (check(user(1), "Document:read", None), "PERMISSION_INVALID", "permission"),
        (at("", ""), "RESOURCE_INVALID", "resource"),
        (at("Document", "42"), "RESOURCE_INVALID", "resource"),
        (at("document", ""), "RESOURCE_INVALID", "resource"),
        (at("document", &long), "RESOURCE_INVALID", "resource"),
        (at("document", "a\0"), "RESOURCE_INVALID", "resource"),
    ] {
        let status = checks.check(call(request.clone())).await.unwrap_err();
        assert_eq!(told(&status), invalid(wrong, field), "{request:?}");

        // In a batch the field says which one, and the rest is not answered.
        let batch = vec![check(user(1), "document:read", None), request.clone()];
        let status = checks.batch_check(call(wire::BatchCheckRequest { checks: batch })).await.unwrap_err();
        assert_eq!(told(&status), invalid(wrong, &format!("checks[1].{field}")), "{request:?}");
    }
    for (subject, field) in [
        (None, "subject"),
        (subject(UNSPECIFIED, id), "subject.kind"),
        (group("team"), "subject.kind"),
        (subject(USER, "alice"), "subject.id"),
    ] {
        let request = wire::GetSubjectRolesRequest { subject, at_least: 0 };
        let status = reads.get_subject_roles(call(request)).await.unwrap_err();
        assert_eq!(told(&status), invalid("SUBJECT_INVALID", field));
    }
}

#[tokio::test]
async fn a_batch_of_more_than_a_thousand_is_refused() {
    let stack = Stack::start().await;
    let mut checks = stack.client("gateway").checks;
    let batch = |size| wire::BatchCheckRequest { checks: vec![check(user(1), "document:read", None); size] };
    let status = checks.batch_check(call(batch(1_001))).await.unwrap_err();
    assert_eq!(told(&status), invalid("BATCH_TOO_LARGE", "checks"));
    assert_eq!(checks.batch_check(call(batch(1_000))).await.unwrap().into_inner().results.len(), 1_000);
}

#[tokio::test]
async fn a_role_that_may_not_be_is_refused() {
    let stack = Stack::start().await;
    let mut admin = stack.client("gateway").admin;
    for (request, expected) in [
        (wire::PutRoleRequest { role: None }, invalid("ROLE_INVALID", "role")),
        (put_role("", &[]), invalid("ROLE_INVALID", "role.name")),
        (put_role("Editor", &[]), invalid("ROLE_INVALID", "role.name")),
        (put_role("a,b", &[]), invalid("ROLE_INVALID", "role.name")),
        (
            put_role("editor", &["document:read", "document"]),
            invalid("PERMISSION_INVALID", "role.permissions[1]"),
        ),
        (put_role("editor", &["*:*"]), invalid("PERMISSION_INVALID", "role.permissions[0]")),
        (put_role("editor", &["latchkey:*"]), invalid("PERMISSION_INVALID", "role.permissions")),
        (put_role("editor", &["latchkey:evaluate"]), invalid("PERMISSION_INVALID", "role.permissions")),
        (
            put_role("latchkey-admin", &["document:read"]),
            (Code::FailedPrecondition, "ROLE_BUILT_IN".to_owned(), String::new()),
        ),
        (
            put_role("latchkey-admin", &["latchkey:*"]),
            (Code::FailedPrecondition, "ROLE_BUILT_IN".to_owned(), String::new()),
        ),
    ] {
        let status = admin.put_role(call(request.clone())).await.unwrap_err();
        assert_eq!(told(&status), expected, "{request:?}");
    }
    let mut built_in = put_role("editor", &[]);
    built_in.role.as_mut().unwrap().built_in = true;
    let status = admin.put_role(call(built_in)).await.unwrap_err();
    assert_eq!(told(&status), invalid("ROLE_INVALID", "role.built_in"));

    for (name, expected) in [
        ("Editor", invalid("ROLE_INVALID", "name")),
        ("editor", (Code::NotFound, "ROLE_NOT_FOUND".to_owned(), String::new())),
        ("latchkey-admin", (Code::FailedPrecondition, "ROLE_BUILT_IN".to_owned(), String::new())),
    ] {
        let request = wire::DeleteRoleRequest { name: name.to_owned() };
        assert_eq!(told(&admin.delete_role(call(request)).await.unwrap_err()), expected, "{name}");
    }
    let mut reads = stack.client("gateway").reads;
    let asked = |name: &str| call(wire::GetRoleRequest { name: name.to_owned() });
    assert_eq!(told(&reads.get_role(asked("No Role")).await.unwrap_err()), invalid("ROLE_INVALID", "name"));
    let missing = reads.get_role(asked("editor")).await.unwrap_err();
    assert_eq!((missing.code(), reason(&missing).as_str()), (Code::NotFound, "ROLE_NOT_FOUND"));
}

#[tokio::test]
async fn a_grant_that_may_not_be_is_refused() {
    let stack = Stack::start().await;
    let mut admin = stack.client("gateway").admin;
    admin.put_role(call(put_role("editor", &[]))).await.unwrap();
    let not_found = |reason: &str| (Code::NotFound, reason.to_owned(), String::new());
    let empty = wire::CreateGrantRequest {
        within: Some(wire::Resource::default()),
        ..create_grant(user(1), "editor", None)
    };
    for (request, expected) in [
        (create_grant(None, "editor", None), invalid("SUBJECT_INVALID", "subject")),
        (create_grant(subject(UNSPECIFIED, "x"), "editor", None), invalid("SUBJECT_INVALID", "subject.kind")),
        (create_grant(subject(USER, "alice"), "editor", None), invalid("SUBJECT_INVALID", "subject.id")),
        (create_grant(group("No Group"), "editor", None), invalid("SUBJECT_INVALID", "subject.id")),
        (create_grant(user(1), "", None), invalid("ROLE_INVALID", "role")),
        // Set and empty is a mistake; taken for "everywhere" it would be a dangerous one.
        (empty, invalid("RESOURCE_INVALID", "within")),
        (create_grant(user(1), "nobody", None), not_found("ROLE_NOT_FOUND")),
        (create_grant(group("nobody"), "editor", None), not_found("GROUP_NOT_FOUND")),
    ] {
        let status = admin.create_grant(call(request.clone())).await.unwrap_err();
        assert_eq!(told(&status), expected, "{request:?}");
    }
    for (id, expected) in [
        ("", invalid("GRANT_INVALID", "id")),
        ("editor", invalid("GRANT_INVALID", "id")),
        ("grt_00000000000000000000000000", not_found("GRANT_NOT_FOUND")),
    ] {
        let request = wire::DeleteGrantRequest { id: id.to_owned() };
        assert_eq!(told(&admin.delete_grant(call(request)).await.unwrap_err()), expected, "{id}");
    }
}

#[tokio::test]
async fn a_group_that_may_not_be_is_refused() {
    let stack = Stack::start().await;
    let mut admin = stack.client("gateway").admin;
    let not_found = |reason: &str| (Code::NotFound, reason.to_owned(), String::new());
    let create = |name: &str| call(wire::CreateGroupRequest { name: name.to_owned() });
    admin.create_group(create("team")).await.unwrap();
    assert_eq!(
        told(&admin.create_group(create("Team")).await.unwrap_err()),
        invalid("GROUP_INVALID", "name")
    );
    let taken = admin.create_group(create("team")).await.unwrap_err();
    assert_eq!((taken.code(), reason(&taken).as_str()), (Code::AlreadyExists, "GROUP_TAKEN"));
    for (name, expected) in [("", invalid("GROUP_INVALID", "name")), ("none", not_found("GROUP_NOT_FOUND"))] {
        let request = wire::DeleteGroupRequest { name: name.to_owned() };
        assert_eq!(told(&admin.delete_group(call(request)).await.unwrap_err()), expected, "{name}");
    }
    for (name, member, added, removed) in [
        ("", user(1), invalid("GROUP_INVALID", "group"), invalid("GROUP_INVALID", "group")),
        ("team", None, invalid("SUBJECT_INVALID", "member"), invalid("SUBJECT_INVALID", "member")),
        (
            "team",
            subject(UNSPECIFIED, "x"),
            invalid("SUBJECT_INVALID", "member.kind"),
            invalid("SUBJECT_INVALID", "member.kind"),
        ),
        ("none", user(1), not_found("GROUP_NOT_FOUND"), not_found("GROUP_NOT_FOUND")),
        ("team", group("none"), not_found("GROUP_NOT_FOUND"), not_found("MEMBER_NOT_FOUND")),
        (
            "team",
            group("team"),
            (Code::FailedPrecondition, "GROUP_CYCLE".to_owned(), String::new()),
            not_found("MEMBER_NOT_FOUND"),
        ),
    ] {
        let request = wire::AddGroupMemberRequest { group: name.to_owned(), member: member.clone() };
        assert_eq!(
            told(&admin.add_group_member(call(request)).await.unwrap_err()),
            added,
            "{name} {member:?}"
        );
        let request = wire::RemoveGroupMemberRequest { group: name.to_owned(), member: member.clone() };
        assert_eq!(
            told(&admin.remove_group_member(call(request)).await.unwrap_err()),
            removed,
            "{name} {member:?}"
        );
    }
    for (subject, field) in [(None, "subject"), (group("team"), "subject.kind")] {
        let status = admin.forget_subject(call(wire::ForgetSubjectRequest { subject })).await.unwrap_err();
        assert_eq!(told(&status), invalid("SUBJECT_INVALID", field));
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused() {
    let stack = Stack::start().await;
    let mut reads = stack.client("gateway").reads;
    let request = wire::ListRolesRequest { page_size: 1_001, page_token: String::new() };
    let status = reads.list_roles(call(request)).await.unwrap_err();
    assert_eq!(told(&status), invalid("PAGE_SIZE_INVALID", "page_size"));
    let request = wire::ListGroupsRequest { page_size: 0, page_token: "made up".to_owned() };
    let status = reads.list_groups(call(request)).await.unwrap_err();
    assert_eq!(told(&status), invalid("PAGE_TOKEN_INVALID", "page_token"));
    for (request, expected) in [
        (
            wire::ListGrantsRequest { subject: subject(UNSPECIFIED, "x"), ..Default::default() },
            invalid("SUBJECT_INVALID", "subject.kind"),
        ),
        (
            wire::ListGrantsRequest { role: "No Role".to_owned(), ..Default::default() },
            invalid("ROLE_INVALID", "role"),
        ),
        (
            wire::ListGrantsRequest { page_token: "made up".to_owned(), ..Default::default() },
            invalid("PAGE_TOKEN_INVALID", "page_token"),
        ),
    ] {
        assert_eq!(told(&reads.list_grants(call(request)).await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn a_resource_may_be_spelled_as_the_application_likes() {
    let stack = Stack::start().await;
    let Client { mut checks, mut admin, .. } = stack.client("gateway");
    admin.put_role(call(put_role("reader", &["document:read"]))).await.unwrap();
    for id in ["a/b c", "Ünïcode ✓", "' OR 1=1 --", "%", "*"] {
        let within = resource(&format!("document/{id}"));
        let grant =
            wire::CreateGrantRequest { within: within.clone(), ..create_grant(user(1), "reader", None) };
        admin.create_grant(call(grant)).await.unwrap();
        let asked = |resource| wire::CheckRequest { resource, ..check(user(1), "document:read", None) };
        let answer = checks.check(call(asked(within))).await.unwrap().into_inner();
        assert_eq!(answer.decision, wire::Decision::Allow as i32, "{id}");
        let answer =
            checks.check(call(asked(resource(&format!("document/{id}x"))))).await.unwrap().into_inner();
        assert_eq!(answer.decision, wire::Decision::Deny as i32, "{id}");
    }
}
