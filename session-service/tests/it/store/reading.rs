use std::time::Duration;

use session_service::domain::{Cursor, EndReason};
use session_service::store::{Activity, Ending, Listing};

use super::*;

pub async fn nothing_is_found_that_was_not_made(store: Store) {
    assert!(store.find(secret(1).digest(), START).await.unwrap().is_none());
    assert!(store.get(&id(1), START).await.unwrap().is_none());
    assert!(store.end(Ending::One(id(1)), EndReason::Logout, START).await.unwrap().is_empty());
    store.record_activity(&[Activity { id: id(1), at: START }]).await.unwrap();
    assert!(store.get(&id(1), START).await.unwrap().is_none());
}

pub async fn the_absolute_expiry_has_an_edge(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    rotate(&store, 1, 1, 2, START + LIFETIMES.absolute - Duration::from_secs(2)).await;
    let edge = START + LIFETIMES.absolute;
    let before = edge - Duration::from_millis(1);
    for number in [1, 2] {
        assert_eq!(found(&store, number, before).await, Some(id(1)));
        assert_eq!(found(&store, number, edge).await, None);
    }
    assert!(store.get(&id(1), before).await.unwrap().is_some());
    assert!(store.get(&id(1), edge).await.unwrap().is_none());
    assert!(store.end(Ending::One(id(1)), EndReason::Logout, edge).await.unwrap().is_empty());
    assert_eq!(store.rotate(rotation(1, 2, 3, edge)).await.unwrap(), Rotated::NotCurrent);
}

pub async fn activity_only_moves_forward(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    for (recorded, newest) in [(at(5), at(5)), (at(3), at(5)), (at(7), at(7))] {
        store.record_activity(&[Activity { id: id(1), at: recorded }]).await.unwrap();
        assert_eq!(store.get(&id(1), at(8)).await.unwrap().unwrap().last_active_at, newest);
    }
    let all: Vec<Activity> =
        (0..1_200).map(|number| Activity { id: id(1), at: at(10 + number % 7) }).collect();
    store.record_activity(&all).await.unwrap();
    assert_eq!(store.get(&id(1), at(20)).await.unwrap().unwrap().last_active_at, at(16));
}

pub async fn a_list_is_paged_and_leaves_out_what_is_over(store: Store) {
    // Two of the same age: the id decides.
    for (number, of, created) in [
        (1, "usr_1", 10),
        (2, "usr_2", 20),
        (3, "usr_1", 20),
        (4, "usr_1", 30),
        (5, "usr_1", 40),
        (6, "usr_1", 1_000),
    ] {
        create(&store, login(number, of, at(created))).await;
    }
    store.end(Ending::One(id(5)), EndReason::Logout, at(50)).await.unwrap();
    let now = at(10) + LIFETIMES.idle;
    let page = |subject, after, most| {
        let store = store.clone();
        async move {
            let listing = Listing { subject, after, most, idle_since: LIFETIMES.idle_since(now), now };
            store.list(listing).await.unwrap()
        }
    };
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let sessions = page(None, after.take(), 2).await;
        assert!(sessions.len() <= 2);
        let Some(last) = sessions.last() else { break };
        after = Some(Cursor { created_at: last.created_at, id: last.id.clone() });
        seen.extend(sessions.into_iter().map(|session| session.id));
    }
    assert_eq!(seen, [id(6), id(4), id(3), id(2)]);
    let own: Vec<_> =
        page(Some(subject("usr_1")), None, 10).await.into_iter().map(|session| session.id).collect();
    assert_eq!(own, [id(6), id(4), id(3)]);
    assert!(page(Some(subject("usr_3")), None, 10).await.is_empty());
}
