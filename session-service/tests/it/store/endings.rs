use std::time::Duration;

use session_service::domain::EndReason;
use session_service::store::{Activity, AttributesSet, Ending};

use super::*;

pub async fn an_ending_is_final(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    let ended = store.end(Ending::One(id(1)), EndReason::Administration, at(1)).await.unwrap();
    assert_eq!(
        ended,
        [Ended {
            id: id(1),
            subject: subject("usr_1"),
            reason: EndReason::Administration,
            last_active_at: START
        }]
    );
    // Neither a write that was under way, nor a clock that goes back, brings it back.
    store.record_activity(&[Activity { id: id(1), at: at(2) }]).await.unwrap();
    assert_eq!(store.rotate(rotation(1, 1, 2, at(2))).await.unwrap(), Rotated::NotCurrent);
    assert_eq!(
        store.set_attributes(&id(1), 0, &attributes(&[]), at(2)).await.unwrap(),
        AttributesSet::NotFound
    );
    for now in [START, at(1), at(2)] {
        assert_eq!(found(&store, 1, now).await, None);
        assert_eq!(found(&store, 2, now).await, None);
        assert!(store.get(&id(1), now).await.unwrap().is_none());
    }
}

pub async fn an_ending_closes_the_rotation_window(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    rotate(&store, 1, 1, 2, at(1)).await;
    assert_eq!(found(&store, 1, at(2)).await, Some(id(1)));
    store.end(Ending::One(id(1)), EndReason::Logout, at(2)).await.unwrap();
    assert_eq!(found(&store, 1, at(2)).await, None);
    assert_eq!(found(&store, 2, at(2)).await, None);
}

pub async fn an_ending_is_told_once(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    let end = || store.end(Ending::OneOf(id(1), subject("usr_1")), EndReason::Logout, at(1));
    assert_eq!(end().await.unwrap().len(), 1);
    assert_eq!(end().await.unwrap().len(), 0);
}

pub async fn an_ending_told_once_under_a_race(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    let told = all_at_once((0..50).map(|_| {
        let store = store.clone();
        async move { store.end(Ending::One(id(1)), EndReason::Logout, at(1)).await.unwrap().len() }
    }))
    .await;
    assert_eq!(told.into_iter().sum::<usize>(), 1);
}

pub async fn another_subjects_session_is_left_alone(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    let ended = store.end(Ending::OneOf(id(1), subject("usr_2")), EndReason::Logout, at(1)).await.unwrap();
    assert!(ended.is_empty());
    assert_eq!(found(&store, 1, at(1)).await, Some(id(1)));
}

pub async fn all_and_all_others(store: Store) {
    for (number, of) in [(1, "usr_1"), (2, "usr_1"), (3, "usr_1"), (4, "usr_2")] {
        create(&store, login(number, of, START)).await;
    }
    let ended = store.end(Ending::OthersOf(subject("usr_1"), id(2)), EndReason::Logout, at(1)).await.unwrap();
    assert_eq!(ids(&ended), [(id(1), EndReason::Logout), (id(3), EndReason::Logout)]);
    assert_eq!(found(&store, 2, at(1)).await, Some(id(2)));
    let ended = store.end(Ending::AllOf(subject("usr_1")), EndReason::Administration, at(2)).await.unwrap();
    assert_eq!(ids(&ended), [(id(2), EndReason::Administration)]);
    assert_eq!(found(&store, 2, at(2)).await, None);
    assert_eq!(found(&store, 4, at(2)).await, Some(id(4)));
}

pub async fn an_ending_races_with_a_rotation(store: Store) {
    for number in 1..=20 {
        create(&store, login(number, "usr_1", START)).await;
        let ended = all_at_once([true, false].map(|ends| {
            let store = store.clone();
            async move {
                if ends {
                    return store.end(Ending::One(id(number)), EndReason::Logout, at(1)).await.unwrap().len();
                }
                store.rotate(rotation(number, number, 1_000 + number, at(1))).await.unwrap();
                0
            }
        }))
        .await;
        assert_eq!(ended.into_iter().sum::<usize>(), 1);
        for secret in [number, 1_000 + number] {
            assert_eq!(found(&store, secret, at(1) + Duration::from_millis(1)).await, None);
        }
    }
}
