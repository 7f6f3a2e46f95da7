//! Whose roles a write changed is in the feed's log, in the same transaction, and every guard has heard of it when the write is
//! answered.

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::SystemClock;
use chassis::grpc::client::channel;
use feed::credential::Roles;
use feed::driver::watching::Watching;
use feed::grpc::{ToReplicas, clock};
use feed::watcher::{Remember, Settings};
use feed::{Credential, Variant, Verdict, WatcherId, What};
use policy_service::domain::Subject;
use proto::policy::v1 as wire;

use crate::conformance::{Fresh, grouped, held, joined, postgres, put, sqlite};
use crate::names::{client, grant_id, group, group_subject, role_name, user};
use crate::stack::{Stack, call, create_grant, put_role};

/// What is in the log: what, whose, and the revision before which roles are outdated.
async fn entries(fresh: &Fresh) -> Vec<(What, String, Option<u64>)> {
    let entries = fresh.log.snapshot().await.unwrap().entries;
    let read = |entry: feed::Entry| {
        (entry.change.target.what, entry.change.target.key.to_string(), entry.change.min)
    };
    entries.into_iter().map(read).collect()
}

async fn every_write_says_whose_roles_it_changed(fresh: Fresh) {
    let store = &*fresh.store;
    let principal = |id: &str, revision| (What::Principal, id.to_owned(), Some(revision));
    let everybody = |revision| (What::All, String::new(), Some(revision));
    let mut expected = Vec::new();
    put(store, "editor", &["document:write"]).await;
    expected.push(everybody(2));
    // The second time nothing changes.
    put(store, "editor", &["document:write"]).await;
    held(store, 1, user(1), "editor", None).await;
    held(store, 1, user(1), "editor", None).await;
    expected.push(principal(user(1).id(), 3));
    held(store, 2, client(1), "editor", None).await;
    expected.push(principal(client(1).id(), 4));
    // A group that nobody is in changes nobody's roles; a grant to it may.
    grouped(store, &["staff", "night"]).await;
    held(store, 3, group_subject("staff"), "editor", None).await;
    expected.push(everybody(7));
    joined(store, "staff", user(2)).await;
    expected.push(principal(user(2).id(), 8));
    joined(store, "staff", group_subject("night")).await;
    expected.push(everybody(9));
    store.remove_group_member(&group("staff"), &Subject::from(user(2))).await.unwrap();
    expected.push(principal(user(2).id(), 10));
    store.delete_grant(&grant_id(1)).await.unwrap().unwrap();
    expected.push(principal(user(1).id(), 11));
    assert_eq!(store.delete_grant(&grant_id(1)).await.unwrap(), None);
    store.delete_grant(&grant_id(3)).await.unwrap().unwrap();
    expected.push(everybody(12));
    store.forget(&client(1)).await.unwrap();
    expected.push(principal(client(1).id(), 13));
    store.forget(&client(1)).await.unwrap();
    store.delete_group(&group("staff")).await.unwrap().unwrap();
    expected.push(everybody(14));
    store.delete_role(&role_name("editor")).await.unwrap();
    expected.push(everybody(15));
    assert_eq!(entries(&fresh).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_says_whose_roles_a_write_changed() {
    every_write_says_whose_roles_it_changed(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_says_whose_roles_a_write_changed() {
    every_write_says_whose_roles_it_changed(postgres().await).await;
}

async fn guard(stack: &Stack) -> Arc<Watching<()>> {
    let lease = Duration::from_secs(1);
    let settings = Settings { lease, remember: Remember::Everything, variant: Variant::default() };
    let guard = Watching::new(settings, WatcherId(1), clock(SystemClock::shared()));
    let endpoint = format!("https://{}", stack.feed);
    let channel = channel(&[endpoint], &stack.identity("gateway"), "policy", &stack.lifecycle).unwrap();
    let work = Arc::clone(&guard).run(Arc::new(ToReplicas::new(&channel)), std::future::pending());
    stack.lifecycle.spawn_support("guard", async move {
        let _channel = channel;
        work.await;
    });
    while guard.view().lease_left.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    guard
}

fn with_roles_of(principal: &str, version: u64) -> Credential {
    let roles = Roles { principals: vec![principal.into()], version };
    Credential { roles: Some(roles), ..Credential::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_answered_when_every_guard_has_heard_of_it() {
    let stack = Stack::start().await;
    let guard = guard(&stack).await;
    let mut to = stack.client("gateway");
    to.admin.put_role(call(put_role("editor", &["document:write"]))).await.unwrap();
    let (one, other) = (user(1).id().to_owned(), user(2).id().to_owned());
    let roles_of = async |number| {
        let message = wire::GetSubjectRolesRequest { subject: crate::stack::user(number), at_least: 0 };
        stack.client("auth").reads.get_subject_roles(call(message)).await.unwrap().into_inner().revision
    };
    let (before, others) = (roles_of(1).await, roles_of(2).await);
    assert_eq!(guard.judge(&with_roles_of(&one, before)), Some(Verdict::Live));
    let made =
        to.admin.create_grant(call(create_grant(crate::stack::user(1), "editor", None))).await.unwrap();
    let made = made.into_inner();
    let outdated = Verdict::RolesOutdated { at_least: made.revision };
    assert_eq!(guard.judge(&with_roles_of(&one, before)), Some(outdated));
    assert_eq!(
        guard.judge(&with_roles_of(&other, others)),
        Some(Verdict::Live),
        "another's are as they were"
    );
    let fresh = roles_of(1).await;
    assert_eq!(guard.judge(&with_roles_of(&one, fresh)), Some(Verdict::Live));

    let delete = wire::DeleteGrantRequest { id: made.grant.unwrap().id };
    to.admin.delete_grant(call(delete.clone())).await.unwrap();
    assert!(matches!(guard.judge(&with_roles_of(&one, fresh)), Some(Verdict::RolesOutdated { .. })));
    // One change for everybody who holds it.
    let (one_now, other_now) = (roles_of(1).await, roles_of(2).await);
    to.admin.put_role(call(put_role("editor", &["document:read"]))).await.unwrap();
    for (who, version) in [(&one, one_now), (&other, other_now)] {
        assert!(matches!(guard.judge(&with_roles_of(who, version)), Some(Verdict::RolesOutdated { .. })));
    }
    assert_eq!(to.admin.delete_grant(call(delete)).await.unwrap_err().code(), tonic::Code::NotFound);
}
