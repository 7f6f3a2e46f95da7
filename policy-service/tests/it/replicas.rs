//! Two replicas on one database: what one of them has answered holds at the other, at once and for whoever asks with the revision
//! of the change.

use proto::policy::v1 as wire;
use servers::{Postgres, Sync};
use tonic::Code;

use crate::conformance::{migrated, schema_on};
use crate::stack::{Client, Stack, call, check, create_grant, group, put_role, reason, user};

const PERMISSION: &str = "document:read";

/// What a replica says of user 1 to who knows `at_least`, by every way in which it can be asked.
async fn asked(replica: &mut Client, at_least: u64, allowed: bool) {
    let question = || wire::CheckRequest { at_least, ..check(user(1), PERMISSION, None) };
    let one = replica.checks.check(call(question())).await.unwrap().into_inner();
    let batch = wire::BatchCheckRequest { checks: vec![check(user(2), PERMISSION, None), question()] };
    let batch = replica.checks.batch_check(call(batch)).await.unwrap().into_inner();
    let roles = wire::GetSubjectRolesRequest { subject: user(1), at_least };
    let roles = replica.reads.get_subject_roles(call(roles)).await.unwrap().into_inner();

    let decision = if allowed { wire::Decision::Allow } else { wire::Decision::Deny };
    for (said, revision) in
        [(one.decision(), one.revision), (batch.results[1].decision(), batch.results[1].revision)]
    {
        assert_eq!((said, revision >= at_least), (decision, true), "{at_least} {revision}");
    }
    assert_eq!((!roles.roles.is_empty(), roles.revision >= at_least), (allowed, true), "{roles:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn z05_a_check_with_the_revision_of_a_change_holds_at_the_replica_that_did_not_make_it() {
    let server = Postgres::start(Sync::Off);
    drop(migrated(&schema_on(&server)).await);
    let stacks = Stack::replicas(&[("LATCHKEY__STORE__URL", &server.url())]).await;
    let mut replicas = stacks.each_ref().map(|stack| stack.client("gateway"));
    replicas[0].admin.put_role(call(put_role("reader", &[PERMISSION]))).await.unwrap();
    let team = || "team".to_owned();
    replicas[0].admin.create_group(call(wire::CreateGroupRequest { name: team() })).await.unwrap();
    replicas[0].admin.create_grant(call(create_grant(group("team"), "reader", None))).await.unwrap();
    for round in 0..40 {
        let writer = round % 2;
        // By a grant of the user's own, and by a group.
        let admin = &mut replicas[writer].admin;
        let (given, grant) = if round % 4 < 2 {
            let made = admin.create_grant(call(create_grant(user(1), "reader", None))).await.unwrap();
            let made = made.into_inner();
            (made.revision, made.grant)
        } else {
            let member = wire::AddGroupMemberRequest { group: team(), member: user(1) };
            (admin.add_group_member(call(member)).await.unwrap().into_inner().revision, None)
        };
        let other = 1 - writer;
        asked(&mut replicas[other], given, true).await;
        // From the future, to either.
        for replica in &mut replicas {
            let question = wire::CheckRequest { at_least: given + 1, ..check(user(1), PERMISSION, None) };
            let refused = replica.checks.check(call(question)).await.unwrap_err();
            assert_eq!(
                (refused.code(), reason(&refused).as_str()),
                (Code::Unavailable, "REVISION_NOT_REACHED")
            );
        }
        // And taken back where it was not given.
        let admin = &mut replicas[other].admin;
        let taken = match grant {
            Some(grant) => {
                let gone = admin.delete_grant(call(wire::DeleteGrantRequest { id: grant.id })).await;
                gone.unwrap().into_inner().revision
            }
            None => {
                let member = wire::RemoveGroupMemberRequest { group: team(), member: user(1) };
                admin.remove_group_member(call(member)).await.unwrap().into_inner().revision
            }
        };
        assert!(taken > given);
        asked(&mut replicas[writer], 0, false).await;
        asked(&mut replicas[writer], taken, false).await;
    }
}
