//! Who may call what.

use policy_service::rpc::access::ACCESS;
use proto::policy::v1 as wire;
use tonic::{Code, Status};

use crate::stack::{Client, Stack, call, check, reason, user};

#[test]
fn every_rpc_has_a_row_and_every_row_an_rpc() {
    let ours = |name: &str| name.starts_with("/latchkey.policy.v1.");
    let missing: Vec<String> =
        chassis::grpc::unlisted(proto::DESCRIPTORS, ACCESS).into_iter().filter(|name| ours(name)).collect();
    assert_eq!(missing, Vec::<String>::new());
    let all: Vec<String> =
        chassis::grpc::unlisted(proto::DESCRIPTORS, &[]).into_iter().filter(|name| ours(name)).collect();
    assert_eq!(all.len(), ACCESS.len());
    assert!(ACCESS.iter().all(|(name, callers)| all.iter().any(|rpc| rpc == name) && !callers.is_empty()));
}

/// One call of each service as this caller.
async fn tries(stack: &Stack, name: &str) -> [Result<(), Status>; 3] {
    let Client { mut checks, mut reads, mut admin } = stack.client(name);
    let subject = user(1);
    [
        checks.check(call(check(subject.clone(), "document:read", None))).await.map(drop),
        reads
            .get_subject_roles(call(wire::GetSubjectRolesRequest { subject: subject.clone(), at_least: 0 }))
            .await
            .map(drop),
        admin.forget_subject(call(wire::ForgetSubjectRequest { subject })).await.map(drop),
    ]
}

#[tokio::test]
async fn callers_do_what_they_are_listed_for_and_nothing_else() {
    let stack = Stack::start().await;
    for (name, may) in [
        ("gateway", [true, true, true]),
        ("operator", [true, true, true]),
        ("auth", [false, true, false]),
        ("session", [false, false, false]),
        ("policy", [false, false, false]),
        ("somebody", [false, false, false]),
    ] {
        for (tried, may) in tries(&stack, name).await.into_iter().zip(may) {
            match tried {
                Ok(()) => assert!(may, "{name}"),
                Err(status) => {
                    assert!(!may, "{name}: {status:?}");
                    assert_eq!(
                        (status.code(), reason(&status).as_str()),
                        (Code::PermissionDenied, "CALLER_NOT_LISTED")
                    );
                }
            }
        }
    }
}
