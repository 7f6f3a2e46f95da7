//! The store's promises about groups and about principals that are gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy_service::domain::{GrantFilter, Revision, Subject};
use policy_service::store::{GroupCreated, MemberAdded, MemberRemoved, Store};

use crate::conformance::{allowed, first, grouped, held, joined, on_every_adapter, put, revision};
use crate::names::{client, grant_id, group, group_subject, question, user};

on_every_adapter! {
    groups_pass_on_what_they_hold
    a_group_is_never_inside_itself
    members_are_added_and_removed_by_name
    a_deleted_group_leaves_nothing_to_one_of_the_same_name
    forgetting_removes_what_a_principal_held_and_nothing_else
}

async fn groups_pass_on_what_they_hold(store: Arc<dyn Store>) {
    put(&*store, "editor", &["document:*"]).await;
    grouped(&*store, &["team", "department", "company"]).await;
    joined(&*store, "team", user(1)).await;
    joined(&*store, "team", client(1)).await;
    joined(&*store, "department", group_subject("team")).await;
    joined(&*store, "company", group_subject("department")).await;
    held(&*store, 1, group_subject("company"), "editor", None).await;
    held(&*store, 2, group_subject("team"), "editor", Some("document/42")).await;

    assert!(allowed(&*store, user(1), "document:read", None).await);
    assert!(allowed(&*store, client(1), "document:read", None).await);
    assert!(!allowed(&*store, user(2), "document:read", None).await);
    let held = store.holdings_for(&[question(user(1), "document:read", Some("document/42"))]).await.unwrap();
    let ids: BTreeSet<_> = held.value[0].grants.iter().map(|grant| grant.id.clone()).collect();
    assert_eq!(ids, [grant_id(1), grant_id(2)].into());

    // Out of the department: what the company holds is gone, what the team holds stays.
    let removed = store.remove_group_member(&group("department"), &group_subject("team")).await.unwrap();
    assert!(matches!(removed, MemberRemoved::Removed(_)));
    assert!(!allowed(&*store, user(1), "document:read", None).await);
    assert!(allowed(&*store, user(1), "document:read", Some("document/42")).await);

    // Members pass nothing up.
    held_up(&*store).await;
}

async fn held_up(store: &dyn Store) {
    put(store, "owner", &["folder:delete"]).await;
    held(store, 3, user(1), "owner", None).await;
    joined(store, "team", user(3)).await;
    assert!(allowed(store, user(1), "folder:delete", None).await);
    assert!(!allowed(store, user(3), "folder:delete", None).await);
}

async fn a_group_is_never_inside_itself(store: Arc<dyn Store>) {
    grouped(&*store, &["a", "b", "c", "d"]).await;
    joined(&*store, "a", group_subject("b")).await;
    joined(&*store, "b", group_subject("c")).await;
    let before = revision(&*store).await;
    for (outer, inner) in [("a", "a"), ("b", "a"), ("c", "a"), ("c", "b"), ("d", "d")] {
        let added = store.add_group_member(&group(outer), &group_subject(inner)).await.unwrap();
        assert_eq!(added, MemberAdded::Cycle, "{inner} into {outer}");
    }
    assert_eq!(revision(&*store).await, before);

    // Two ways to the same group are no circle.
    joined(&*store, "a", group_subject("d")).await;
    joined(&*store, "d", group_subject("c")).await;
    joined(&*store, "a", group_subject("c")).await;

    // What is taken apart may be put together the other way round.
    for (outer, inner) in [("a", "b"), ("a", "c"), ("a", "d")] {
        let removed = store.remove_group_member(&group(outer), &group_subject(inner)).await.unwrap();
        assert!(matches!(removed, MemberRemoved::Removed(_)));
    }
    joined(&*store, "c", group_subject("a")).await;
}

async fn members_are_added_and_removed_by_name(store: Arc<dyn Store>) {
    let into = |name: &str, member: Subject| {
        let (store, name) = (store.clone(), group(name));
        async move { store.add_group_member(&name, &member).await.unwrap() }
    };
    let out_of = |name: &str, member: Subject| {
        let (store, name) = (store.clone(), group(name));
        async move { store.remove_group_member(&name, &member).await.unwrap() }
    };
    assert_eq!(into("team", user(1).into()).await, MemberAdded::GroupNotFound(group("team")));
    assert_eq!(out_of("team", user(1).into()).await, MemberRemoved::GroupNotFound);
    assert_eq!(store.create_group(&group("team")).await.unwrap(), GroupCreated::Created(Revision(2)));
    assert_eq!(store.create_group(&group("team")).await.unwrap(), GroupCreated::Taken);
    assert_eq!(into("team", group_subject("none")).await, MemberAdded::GroupNotFound(group("none")));
    assert_eq!(into("team", user(1).into()).await, MemberAdded::Member(Revision(3)));
    assert_eq!(into("team", user(1).into()).await, MemberAdded::Member(Revision(3)));
    assert_eq!(out_of("team", client(1).into()).await, MemberRemoved::MemberNotFound);
    assert_eq!(out_of("team", user(1).into()).await, MemberRemoved::Removed(Revision(4)));
    assert_eq!(out_of("team", user(1).into()).await, MemberRemoved::MemberNotFound);
    assert_eq!(revision(&*store).await, Revision(4));
}

async fn a_deleted_group_leaves_nothing_to_one_of_the_same_name(store: Arc<dyn Store>) {
    put(&*store, "editor", &["document:write"]).await;
    grouped(&*store, &["team", "company"]).await;
    joined(&*store, "team", user(1)).await;
    joined(&*store, "company", group_subject("team")).await;
    held(&*store, 1, group_subject("team"), "editor", Some("document/42")).await;
    held(&*store, 2, group_subject("company"), "editor", None).await;
    let before = revision(&*store).await;
    assert_eq!(store.delete_group(&group("team")).await.unwrap(), Some(Revision(before.0 + 1)));
    assert_eq!(store.delete_group(&group("team")).await.unwrap(), None);
    assert!(!allowed(&*store, user(1), "document:write", Some("document/42")).await);

    grouped(&*store, &["team"]).await;
    let groups = store.groups(&first(10)).await.unwrap().entries;
    assert!(groups.iter().all(|group| group.members.is_empty()), "{groups:?}");
    joined(&*store, "team", user(1)).await;
    assert!(!allowed(&*store, user(1), "document:write", Some("document/42")).await);
}

async fn forgetting_removes_what_a_principal_held_and_nothing_else(store: Arc<dyn Store>) {
    put(&*store, "editor", &["document:write"]).await;
    grouped(&*store, &["team"]).await;
    joined(&*store, "team", user(1)).await;
    joined(&*store, "team", user(2)).await;
    held(&*store, 1, user(1), "editor", None).await;
    held(&*store, 2, user(1), "editor", Some("document/42")).await;
    held(&*store, 3, user(2), "editor", None).await;
    held(&*store, 4, group_subject("team"), "editor", Some("document/1")).await;
    let before = revision(&*store).await;
    assert_eq!(store.forget(&user(1)).await.unwrap(), Revision(before.0 + 1));
    assert_eq!(store.forget(&user(1)).await.unwrap(), Revision(before.0 + 1));
    assert_eq!(store.forget(&client(9)).await.unwrap(), Revision(before.0 + 1));

    assert!(store.holdings_of(&user(1)).await.unwrap().value.grants.is_empty());
    let groups = store.groups(&first(10)).await.unwrap().entries;
    assert_eq!(groups[0].members, [Subject::from(user(2))].into());
    let grants = store.grants(&GrantFilter::default(), &first(10)).await.unwrap().entries;
    assert_eq!(grants.iter().map(|grant| grant.id.clone()).collect::<Vec<_>>(), [grant_id(3), grant_id(4)]);
}
