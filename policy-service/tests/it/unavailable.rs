//! A store that cannot answer is UNAVAILABLE, with a time to come back: nothing is denied and nothing is "not found" that
//! nobody looked up.

use std::future::Future;

use proto::policy::v1 as wire;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tonic::{Code, Response, Status};

use crate::stack::{Client, Stack, call, check, create_grant, put_role, reason, user};

async fn sql(stack: &Stack, statements: &[&'static str]) {
    let options = SqliteConnectOptions::new().filename(stack.database());
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    for statement in statements {
        sqlx::query(*statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

async fn unavailable<T: std::fmt::Debug>(called: impl Future<Output = Result<Response<T>, Status>>) {
    let status = called.await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "UNAVAILABLE"), "{status:?}");
    assert!(chassis::status::retry_after(&status).is_some(), "{status:?}");
    assert!(!status.message().contains("table"), "what went wrong is for the log: {status:?}");
}

pub async fn everything_is_unavailable(stack: &Stack) {
    let Client { mut checks, mut reads, mut admin } = stack.client("gateway");
    let name = || "editor".to_owned();
    let id = || "grt_00000000000000000000000000".to_owned();
    unavailable(checks.check(call(check(user(1), "document:read", None)))).await;
    let batch = wire::BatchCheckRequest { checks: vec![check(user(1), "document:read", None); 2] };
    unavailable(checks.batch_check(call(batch))).await;
    let roles = wire::GetSubjectRolesRequest { subject: user(1), at_least: 0 };
    unavailable(reads.get_subject_roles(call(roles))).await;
    unavailable(reads.get_role(call(wire::GetRoleRequest { name: name() }))).await;
    unavailable(reads.list_roles(call(wire::ListRolesRequest::default()))).await;
    unavailable(reads.list_grants(call(wire::ListGrantsRequest::default()))).await;
    unavailable(reads.list_groups(call(wire::ListGroupsRequest::default()))).await;
    unavailable(admin.put_role(call(put_role("editor", &["document:write"])))).await;
    unavailable(admin.delete_role(call(wire::DeleteRoleRequest { name: name() }))).await;
    unavailable(admin.create_grant(call(create_grant(user(1), "editor", None)))).await;
    unavailable(admin.delete_grant(call(wire::DeleteGrantRequest { id: id() }))).await;
    unavailable(admin.create_group(call(wire::CreateGroupRequest { name: name() }))).await;
    unavailable(admin.delete_group(call(wire::DeleteGroupRequest { name: name() }))).await;
    let member = wire::AddGroupMemberRequest { group: name(), member: user(1) };
    unavailable(admin.add_group_member(call(member))).await;
    let member = wire::RemoveGroupMemberRequest { group: name(), member: user(1) };
    unavailable(admin.remove_group_member(call(member))).await;
    unavailable(admin.forget_subject(call(wire::ForgetSubjectRequest { subject: user(1) }))).await;
}

const TABLES: [&str; 6] = ["revision", "roles", "role_permissions", "groups", "group_members", "grants"];

#[tokio::test]
async fn a_store_that_fails_is_unavailable_to_every_rpc_and_comes_back_by_itself() {
    let stack = Stack::start().await;
    let Client { mut checks, mut admin, .. } = stack.client("gateway");
    admin.put_role(call(put_role("editor", &["document:read"]))).await.unwrap();
    admin.create_grant(call(create_grant(user(1), "editor", None))).await.unwrap();

    let away = TABLES.map(|table| &*format!("ALTER TABLE {table} RENAME TO {table}_away").leak());
    let back = TABLES.map(|table| &*format!("ALTER TABLE {table}_away RENAME TO {table}").leak());
    sql(&stack, &away).await;
    everything_is_unavailable(&stack).await;
    let metrics = stack.lifecycle.metrics().render();
    let counted =
        metrics.lines().any(|line| line.contains("decision=\"unavailable\"") && line.ends_with(" 3"));
    assert!(counted, "{metrics}");

    sql(&stack, &back).await;
    let answer = checks.check(call(check(user(1), "document:read", None))).await.unwrap().into_inner();
    assert_eq!((answer.decision, answer.revision), (wire::Decision::Allow as i32, 3));
}

#[tokio::test]
async fn an_impossible_row_is_unavailable_and_no_deny() {
    let stack = Stack::start().await;
    let Client { mut checks, mut reads, mut admin } = stack.client("gateway");
    admin.put_role(call(put_role("editor", &["document:read"]))).await.unwrap();
    admin.create_grant(call(create_grant(user(1), "editor", None))).await.unwrap();
    sql(&stack, &["UPDATE grants SET id = 'nonsense'"]).await;
    unavailable(checks.check(call(check(user(1), "document:read", None)))).await;
    unavailable(reads.list_grants(call(wire::ListGrantsRequest::default()))).await;
}

#[tokio::test]
async fn a_revision_from_the_future_is_not_answered() {
    let stack = Stack::start().await;
    let Client { mut checks, mut reads, mut admin } = stack.client("gateway");
    let put = admin.put_role(call(put_role("editor", &["document:read"]))).await.unwrap().into_inner();
    let asked = |at_least| wire::CheckRequest { at_least, ..check(user(1), "document:read", None) };
    let reached = checks.check(call(asked(put.revision))).await.unwrap().into_inner();
    assert_eq!(reached.revision, put.revision);
    let batch = |at_least| wire::BatchCheckRequest { checks: vec![asked(0), asked(at_least), asked(1)] };
    let roles = |at_least| wire::GetSubjectRolesRequest { subject: user(1), at_least };
    assert_eq!(checks.batch_check(call(batch(put.revision))).await.unwrap().into_inner().results.len(), 3);
    for future in [put.revision + 1, u64::MAX] {
        for status in [
            checks.check(call(asked(future))).await.map(drop).unwrap_err(),
            checks.batch_check(call(batch(future))).await.map(drop).unwrap_err(),
            reads.get_subject_roles(call(roles(future))).await.map(drop).unwrap_err(),
        ] {
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::Unavailable, "REVISION_NOT_REACHED")
            );
            assert!(chassis::status::retry_after(&status).is_some());
        }
    }
}

/// As a database that was deposed has it: what it was before the last change that was heard of.
#[tokio::test]
async fn rows_older_than_what_was_heard_of_are_not_given_as_an_answer() {
    let stack = Stack::start().await;
    let Client { mut checks, mut reads, mut admin } = stack.client("gateway");
    admin.put_role(call(put_role("editor", &["document:read"]))).await.unwrap();
    admin.create_grant(call(create_grant(user(1), "editor", None))).await.unwrap();
    let question = || call(check(user(1), "document:read", None));
    let roles = || call(wire::GetSubjectRolesRequest { subject: user(1), at_least: 0 });
    let before = checks.check(question()).await.unwrap().into_inner().revision;
    sql(&stack, &["UPDATE revision SET number = number - 1"]).await;
    for status in [
        checks.check(question()).await.map(drop).unwrap_err(),
        reads.get_subject_roles(roles()).await.map(drop).unwrap_err(),
    ] {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "REVISION_NOT_REACHED"));
        assert!(chassis::status::retry_after(&status).is_some());
    }
    sql(&stack, &["UPDATE revision SET number = number + 1"]).await;
    assert_eq!(checks.check(question()).await.unwrap().into_inner().revision, before);
    reads.get_subject_roles(roles()).await.unwrap();
}

/// A database that was deposed still answers reads. Here only the log does not answer, which is all that can be told apart.
#[tokio::test]
async fn what_is_read_while_the_log_does_not_answer_is_not_given_as_an_answer() {
    let stack = Stack::start_with(&[("LATCHKEY__FEED__LEASE", "1s")]).await;
    let Client { mut checks, mut reads, .. } = stack.client("gateway");
    let roles = || wire::GetSubjectRolesRequest { subject: user(1), at_least: 0 };
    checks.check(call(check(user(1), "document:read", None))).await.unwrap();
    reads.get_subject_roles(call(roles())).await.unwrap();
    sql(&stack, &["ALTER TABLE feed_member RENAME TO elsewhere"]).await;
    let refused = async {
        loop {
            if let Err(status) = checks.check(call(check(user(1), "document:read", None))).await {
                return status;
            }
        }
    };
    for status in [refused.await, reads.get_subject_roles(call(roles())).await.unwrap_err()] {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "NO_RIGHT"), "{status:?}");
        assert!(chassis::status::retry_after(&status).is_some(), "{status:?}");
    }
    reads.list_roles(call(wire::ListRolesRequest::default())).await.unwrap();
    sql(&stack, &["ALTER TABLE elsewhere RENAME TO feed_member"]).await;
    while checks.check(call(check(user(1), "document:read", None))).await.is_err() {}
    reads.get_subject_roles(call(roles())).await.unwrap();
}
