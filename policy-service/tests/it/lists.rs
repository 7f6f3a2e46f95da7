//! The store's promises about lists.

use std::sync::Arc;

use policy_service::domain::{GrantFilter, Page, PageSize, RoleName, Slice, Subject};
use policy_service::store::Store;

use crate::conformance::{first, grouped, joined, on_every_adapter, put};
use crate::names::{client, grant, grant_id, group, group_subject, role_name, user};

on_every_adapter! {
    lists_come_in_pages
    grants_are_listed_by_subject_and_role
    a_page_of_large_roles_ends_early
}

async fn lists_come_in_pages(store: Arc<dyn Store>) {
    for name in ["e", "b", "d", "a", "c"] {
        put(&*store, name, &["document:read", "document:write"]).await;
        grouped(&*store, &[name]).await;
        joined(&*store, name, user(1)).await;
        joined(&*store, name, client(1)).await;
    }
    let mut names: Vec<RoleName> = Vec::new();
    loop {
        let page = Page { after: names.last().cloned(), size: PageSize::parse(2).unwrap() };
        let slice = store.roles(&page).await.unwrap();
        assert!(slice.entries.iter().all(|role| role.permissions.len() == if role.built_in { 1 } else { 2 }));
        names.extend(slice.entries.into_iter().map(|role| role.name));
        if !slice.more {
            break;
        }
        assert_eq!(names.len() % 2, 0);
    }
    assert_eq!(names, ["a", "b", "c", "d", "e", "latchkey-admin"].map(role_name));

    let page = store.groups(&first(2)).await.unwrap();
    assert_eq!(
        page.entries.iter().map(|group| group.name.clone()).collect::<Vec<_>>(),
        ["a", "b"].map(group)
    );
    assert!(page.more);
    let page = Page { after: Some(group("b")), size: PageSize::parse(3).unwrap() };
    let page = store.groups(&page).await.unwrap();
    assert_eq!(
        page.entries.iter().map(|group| group.name.clone()).collect::<Vec<_>>(),
        ["c", "d", "e"].map(group)
    );
    assert!(!page.more);
    assert!(page.entries.iter().all(|group| group.members == [user(1).into(), client(1).into()].into()));

    let page = Page { after: Some(group("e")), size: PageSize::parse(1).unwrap() };
    assert_eq!(store.groups(&page).await.unwrap(), Slice { entries: vec![], more: false });
}

async fn grants_are_listed_by_subject_and_role(store: Arc<dyn Store>) {
    put(&*store, "reader", &[]).await;
    put(&*store, "editor", &[]).await;
    grouped(&*store, &["team"]).await;
    joined(&*store, "team", user(1)).await;
    let all = [
        grant(1, user(1), "reader", None),
        grant(2, user(1), "editor", Some("document/42")),
        grant(3, user(2), "reader", None),
        grant(4, group_subject("team"), "reader", None),
        grant(5, user(1), "reader", Some("document/42")),
    ];
    for grant in &all {
        store.create_grant(grant).await.unwrap();
    }
    let of =
        |subject: Option<Subject>, role: Option<&str>| GrantFilter { subject, role: role.map(role_name) };
    for (filter, expected) in [
        (of(None, None), vec![1, 2, 3, 4, 5]),
        (of(Some(user(1).into()), None), vec![1, 2, 5]),
        (of(Some(group_subject("team")), None), vec![4]),
        (of(None, Some("reader")), vec![1, 3, 4, 5]),
        (of(Some(user(1).into()), Some("reader")), vec![1, 5]),
        (of(Some(user(9).into()), None), vec![]),
        (of(None, Some("nobody")), vec![]),
    ] {
        let mut found = Vec::new();
        loop {
            let page = Page { after: found.last().cloned(), size: PageSize::parse(2).unwrap() };
            let slice = store.grants(&filter, &page).await.unwrap();
            assert!(slice.entries.iter().all(|grant| all.contains(grant)));
            found.extend(slice.entries.into_iter().map(|grant| grant.id));
            if !slice.more {
                break;
            }
        }
        assert_eq!(found, expected.into_iter().map(grant_id).collect::<Vec<_>>(), "{filter:?}");
    }
}

async fn a_page_of_large_roles_ends_early(store: Arc<dyn Store>) {
    let permissions: Vec<String> = (0..1_000).map(|number| format!("document:a{number}")).collect();
    let permissions: Vec<&str> = permissions.iter().map(String::as_str).collect();
    for number in 0..11 {
        put(&*store, &format!("a{number:02}"), &permissions).await;
    }
    let page = store.roles(&first(100)).await.unwrap();
    assert_eq!((page.entries.len(), page.more), (10, true));
    assert!(page.entries.iter().all(|role| role.permissions.len() == 1_000));
    let page = Page { after: Some(role_name("a09")), size: PageSize::parse(100).unwrap() };
    let page = store.roles(&page).await.unwrap();
    assert_eq!((page.entries.len(), page.more), (2, false));
}
