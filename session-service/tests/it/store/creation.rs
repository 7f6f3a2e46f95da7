use std::time::Duration;

use session_service::domain::{AtLimit, EndReason, Limit};
use session_service::store::{Activity, Created, Ending, Listing};

use super::*;

async fn live_of(store: &Store, of: &str, now: OffsetDateTime) -> Vec<SessionId> {
    let listing = Listing {
        subject: Some(subject(of)),
        after: None,
        most: 1_000,
        idle_since: LIFETIMES.idle_since(now),
        now,
    };
    store.list(listing).await.unwrap().into_iter().map(|session| session.id).collect()
}

pub async fn a_session_reads_back_as_it_was_made(store: Store) {
    let new = login(1, "usr_1", START);
    assert!(create(&store, new.clone()).await.is_empty());
    let found = store.find(new.secret, START).await.unwrap().unwrap();
    assert_eq!(found.session, new.session);
    assert!(found.successors.is_empty());
    assert_eq!(store.get(&id(1), START).await.unwrap(), Some(new.session));
}

pub async fn a_proof_is_spent_once(store: Store) {
    let first = login(1, "usr_1", START);
    let again = NewSession { proof: first.proof.clone(), ..login(2, "usr_1", at(1)) };
    create(&store, first).await;
    assert_eq!(store.create(again).await.unwrap(), Created::ProofSpent);
    assert_eq!(found(&store, 1, at(1)).await, Some(id(1)));
    assert_eq!(found(&store, 2, at(1)).await, None);
}

pub async fn a_proof_is_spent_once_by_racing_logins(store: Store) {
    let proof = login(1, "usr_1", START).proof;
    let outcomes = all_at_once((1..=50).map(|number| {
        let (store, proof) = (store.clone(), proof.clone());
        async move { store.create(NewSession { proof, ..login(number, "usr_1", START) }).await.unwrap() }
    }))
    .await;
    assert_eq!(outcomes.iter().filter(|one| matches!(one, Created::Stored { .. })).count(), 1);
    assert_eq!(outcomes.iter().filter(|one| **one == Created::ProofSpent).count(), 49);
    assert_eq!(live_of(&store, "usr_1", START).await.len(), 1);
}

pub async fn a_refused_login_changes_nothing(store: Store) {
    let limit = Limit { most: 1, at_limit: AtLimit::Refuse };
    create(&store, login(1, "usr_1", START)).await;
    create(&store, login(2, "usr_2", START)).await;
    let refused = NewSession { limit, former: Some(secret(2).digest()), ..login(3, "usr_1", at(1)) };
    assert_eq!(store.create(refused.clone()).await.unwrap(), Created::LimitReached);
    assert_eq!(found(&store, 2, at(1)).await, Some(id(2)), "what would have been replaced is not");
    assert_eq!(found(&store, 3, at(1)).await, None);
    store.end(Ending::One(id(1)), EndReason::Logout, at(1)).await.unwrap();
    assert!(matches!(store.create(refused).await.unwrap(), Created::Stored { .. }), "its proof is not spent");
}

pub async fn s11_the_limit_ends_the_oldest(store: Store) {
    let limit = Limit { most: 3, at_limit: AtLimit::EndOldest };
    for number in 1..=3 {
        assert!(create(&store, NewSession { limit, ..login(number, "usr_1", at(number)) }).await.is_empty());
    }
    create(&store, NewSession { limit, ..login(9, "usr_2", START) }).await;
    let ended = create(&store, NewSession { limit, ..login(4, "usr_1", at(4)) }).await;
    assert_eq!(ids(&ended), [(id(1), EndReason::Limit)]);
    assert_eq!(live_of(&store, "usr_1", at(4)).await, [id(4), id(3), id(2)]);
    assert_eq!(live_of(&store, "usr_2", at(4)).await, [id(9)]);
    // A limit that was lowered makes room for all of it at once.
    let lowered = Limit { most: 1, ..limit };
    let ended = create(&store, NewSession { limit: lowered, ..login(5, "usr_1", at(5)) }).await;
    assert_eq!(ended.len(), 3);
    assert_eq!(live_of(&store, "usr_1", at(5)).await, [id(5)]);
}

pub async fn s11_the_limit_holds_under_racing_logins(store: Store) {
    let limit = Limit { most: 5, at_limit: AtLimit::EndOldest };
    let outcomes = all_at_once((1..=100).map(|number| {
        let store = store.clone();
        async move { store.create(NewSession { limit, ..login(number, "usr_1", START) }).await.unwrap() }
    }))
    .await;
    let ended: usize = outcomes
        .iter()
        .map(|outcome| match outcome {
            Created::Stored { ended } => ended.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(ended, 95);
    assert_eq!(live_of(&store, "usr_1", START).await.len(), 5);
}

pub async fn s11_the_limit_can_refuse_under_racing_logins(store: Store) {
    let limit = Limit { most: 5, at_limit: AtLimit::Refuse };
    let outcomes = all_at_once((1..=100).map(|number| {
        let store = store.clone();
        async move { store.create(NewSession { limit, ..login(number, "usr_1", START) }).await.unwrap() }
    }))
    .await;
    assert_eq!(outcomes.iter().filter(|one| **one == Created::LimitReached).count(), 95);
    assert_eq!(live_of(&store, "usr_1", START).await.len(), 5);
}

pub async fn sessions_that_are_over_do_not_count(store: Store) {
    let limit = Limit { most: 1, at_limit: AtLimit::Refuse };
    create(&store, login(1, "usr_1", START)).await;
    let idle = START + LIFETIMES.idle;
    let early = idle - Duration::from_millis(1);
    let new = |now| NewSession { limit, ..login(2, "usr_1", now) };
    assert_eq!(store.create(new(early)).await.unwrap(), Created::LimitReached);
    assert_eq!(create(&store, new(idle)).await, [], "what was over makes room silently");
    let late = [Activity { id: id(1), at: idle }];
    store.record_activity(&late).await.unwrap();
    assert_eq!(found(&store, 1, idle).await, None, "and is over for good");
}

pub async fn activity_counts_before_anything_is_idle(store: Store) {
    let limit = Limit { most: 1, at_limit: AtLimit::Refuse };
    create(&store, login(1, "usr_1", START)).await;
    let now = START + LIFETIMES.idle;
    let activity = vec![Activity { id: id(1), at: at(1) }];
    let new = NewSession { limit, activity, ..login(2, "usr_1", now) };
    assert_eq!(store.create(new).await.unwrap(), Created::LimitReached);
}

pub async fn s03_the_former_session_ends_with_the_login(store: Store) {
    // Whoever's it was, and wherever it is: the browser that had it has another now.
    for (old, new) in [(1, 2), (11, ELSEWHERE)] {
        create(&store, login(old, "usr_1", START)).await;
        let login = NewSession { former: Some(secret(old).digest()), ..login(new, "usr_2", at(1)) };
        assert_eq!(ids(&create(&store, login).await), [(id(old), EndReason::Replaced)]);
        assert_eq!(found(&store, old, at(1)).await, None);
        assert_eq!(found(&store, new, at(1)).await, Some(id(new)));
    }
    let planted = NewSession { former: Some(secret(77).digest()), ..login(3, "usr_2", at(2)) };
    assert_eq!(create(&store, planted).await, []);
    assert_eq!(found(&store, 77, at(2)).await, None, "what a client sends never becomes a session");
}

pub async fn s03_a_rotated_former_secret_ends_its_session_within_its_window(store: Store) {
    for (session, of, age, ends) in [(1, "usr_1", 9, true), (2, "usr_2", 10, false)] {
        create(&store, login(session, of, START)).await;
        rotate(&store, session, session, 100 + session, START).await;
        let new = NewSession { former: Some(secret(session).digest()), ..login(10 + session, of, at(age)) };
        assert_eq!(!create(&store, new).await.is_empty(), ends, "{age} s");
        assert_eq!(found(&store, 100 + session, at(age)).await.is_none(), ends, "{age} s");
    }
}
