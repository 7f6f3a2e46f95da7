//! The store's promises while several callers write and read at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use policy_service::domain::{At, Decision, Revision, decide};
use policy_service::store::{GrantCreated, MemberAdded, Store};
use tokio::task::JoinSet;

use crate::conformance::{grouped, held, joined, on_every_adapter, put, revision};
use crate::names::{grant, grant_id, group, group_subject, question, user};

on_every_adapter! {
    concurrent_writes_never_share_a_revision
    one_of_many_equal_grants_is_made
    of_two_memberships_that_close_a_circle_one_is_refused
    no_decision_mixes_revisions
}

async fn concurrent_writes_never_share_a_revision(store: Arc<dyn Store>) {
    put(&*store, "editor", &["document:write"]).await;
    let mut writers = JoinSet::new();
    for number in 0..32 {
        let store = store.clone();
        writers.spawn(async move {
            store.create_grant(&grant(number, user(number), "editor", None)).await.unwrap()
        });
    }
    let mut revisions = BTreeSet::new();
    while let Some(created) = writers.join_next().await {
        let GrantCreated::Held(At { revision, .. }) = created.unwrap() else { panic!() };
        revisions.insert(revision);
    }
    assert_eq!(revisions, (3..35).map(Revision).collect());
    assert_eq!(revision(&*store).await, Revision(34));
}

async fn one_of_many_equal_grants_is_made(store: Arc<dyn Store>) {
    put(&*store, "editor", &["document:write"]).await;
    let mut writers = JoinSet::new();
    for number in 0..32 {
        let store = store.clone();
        writers
            .spawn(async move { store.create_grant(&grant(number, user(1), "editor", None)).await.unwrap() });
    }
    let mut made = Vec::new();
    while let Some(created) = writers.join_next().await {
        let GrantCreated::Held(held) = created.unwrap() else { panic!() };
        made.push(held);
    }
    assert!(made.windows(2).all(|pair| pair[0] == pair[1]), "{made:?}");
    assert_eq!(made[0].revision, Revision(3));
}

async fn of_two_memberships_that_close_a_circle_one_is_refused(store: Arc<dyn Store>) {
    for round in 0..25 {
        // A longer circle, so that neither addition closes it by looking at its own two groups.
        let names: Vec<String> = ["a", "b", "c", "d"].iter().map(|name| format!("{name}{round}")).collect();
        grouped(&*store, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        joined(&*store, &names[0], group_subject(&names[1])).await;
        joined(&*store, &names[2], group_subject(&names[3])).await;
        let into = |outer: &str, inner: &str| {
            let (store, outer, inner) = (store.clone(), group(outer), group_subject(inner));
            async move { store.add_group_member(&outer, &inner).await.unwrap() }
        };
        let mut both = JoinSet::new();
        both.spawn(into(&names[1], &names[2]));
        both.spawn(into(&names[3], &names[0]));
        let outcomes = both.join_all().await;
        let refused = outcomes.iter().filter(|outcome| **outcome == MemberAdded::Cycle).count();
        let added = outcomes.iter().filter(|outcome| matches!(outcome, MemberAdded::Member(_))).count();
        assert_eq!((added, refused), (1, 1), "{outcomes:?}");
    }
}

/// Four writes go round, in three tables; only after the second of them is the permission held. Whoever puts one table's
/// rows together with another's from a different moment, or with a revision from a third, gives an answer that does not
/// belong to its revision.
async fn no_decision_mixes_revisions(store: Arc<dyn Store>) {
    put(&*store, "reader", &[]).await;
    grouped(&*store, &["team", "company"]).await;
    joined(&*store, "company", group_subject("team")).await;
    held(&*store, 1, group_subject("company"), "reader", None).await;
    let begin = revision(&*store).await.0;
    let allowed_at = move |revision: Revision| (revision.0 - begin) % 4 == 2;

    let over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for number in 0..4 {
        let (store, over) = (store.clone(), over.clone());
        readers.spawn(async move {
            let questions = [
                question(user(1), "document:read", None),
                question(user(1), "document:read", Some("document/42")),
                question(user(2), "document:read", None),
            ];
            let mut seen = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                if number < 3 {
                    // A batch, a batch, and one question alone.
                    let asked = if number < 2 { &questions[..] } else { &questions[..1] };
                    let At { value, revision } = store.holdings_for(asked).await.unwrap();
                    let decided: Vec<bool> = asked
                        .iter()
                        .zip(&value)
                        .map(|(asked, held)| {
                            decide(held, &asked.permission, asked.resource.as_ref()) != Decision::Deny
                        })
                        .collect();
                    let expected = allowed_at(revision);
                    assert_eq!(decided, [expected, expected, false][..asked.len()], "{revision}");
                    seen.insert(revision);
                } else {
                    let At { value, revision } = store.holdings_of(&user(1)).await.unwrap();
                    let asked = &questions[0];
                    let allowed = decide(&value, &asked.permission, None) != Decision::Deny;
                    assert_eq!(allowed, allowed_at(revision), "{revision}");
                    seen.insert(revision);
                }
            }
            seen.len()
        });
    }
    for _ in 0..40 {
        put(&*store, "reader", &["document:read"]).await;
        joined(&*store, "team", user(1)).await;
        put(&*store, "reader", &[]).await;
        store.remove_group_member(&group("team"), &user(1).into()).await.unwrap();
    }
    assert_eq!(revision(&*store).await.0, begin + 160);
    over.store(true, Ordering::Relaxed);
    for seen in readers.join_all().await {
        assert!(seen > 1, "a reader that saw one revision has tested nothing");
    }
    assert_eq!(store.delete_grant(&grant_id(1)).await.unwrap(), Some(Revision(begin + 161)));
}
