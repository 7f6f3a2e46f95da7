use std::time::Duration;

use session_service::domain::{EndReason, SessionSecret};
use session_service::store::{Activity, Ending};

use super::*;

/// What a browser that presents secret `number` is told to use instead.
async fn led_to(store: &Store, number: u64, now: OffsetDateTime) -> Option<SessionSecret> {
    let found = store.find(secret(number).digest(), now).await.unwrap()?;
    let open =
        |current: SessionSecret, sealed: &SealedSuccessor| sealed.open(&current, &found.session.id).unwrap();
    Some(found.successors.iter().fold(secret(number), open))
}

pub async fn the_former_secret_has_a_window(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    rotate(&store, 1, 1, 2, at(5)).await;
    assert_eq!(
        store.get(&id(1), at(5)).await.unwrap().unwrap().last_active_at,
        at(5),
        "a rotation is activity"
    );
    let edge = at(5) + LIFETIMES.rotation_grace;
    let before = edge - Duration::from_millis(1);
    assert_eq!(led_to(&store, 1, before).await.unwrap().digest(), secret(2).digest());
    assert!(led_to(&store, 1, edge).await.is_none());
    assert_eq!(led_to(&store, 2, edge).await.unwrap().digest(), secret(2).digest());
}

pub async fn a_chain_of_rotations_leads_to_the_current_secret(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    for (from, to, now) in [(1, 2, 0), (2, 3, 4), (3, 4, 8)] {
        rotate(&store, 1, from, to, at(now)).await;
    }
    for (presented, accepted) in [(1, true), (2, true), (3, true), (4, true)] {
        assert_eq!(
            led_to(&store, presented, at(9)).await.is_some_and(|to| to.digest() == secret(4).digest()),
            accepted
        );
    }
    for (presented, accepted) in [(1, false), (2, true), (3, true), (4, true)] {
        assert_eq!(led_to(&store, presented, at(10)).await.is_some(), accepted, "{presented}");
    }
}

pub async fn a_chain_is_bounded(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    for from in 1..=20 {
        rotate(&store, 1, from, from + 1, at(1)).await;
    }
    for presented in 1..=4 {
        assert!(led_to(&store, presented, at(1)).await.is_none(), "{presented}");
    }
    for presented in 5..=21 {
        assert_eq!(
            led_to(&store, presented, at(1)).await.unwrap().digest(),
            secret(21).digest(),
            "{presented}"
        );
    }
}

pub async fn racing_rotations_leave_one_successor(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    let outcomes = all_at_once((100..150).map(|to| {
        let store = store.clone();
        async move { (to, store.rotate(rotation(1, 1, to, at(1))).await.unwrap()) }
    }))
    .await;
    let winners: Vec<u64> =
        outcomes.iter().filter(|(_, rotated)| *rotated == Rotated::Done).map(|(to, _)| *to).collect();
    let [winner] = winners[..] else { panic!("{winners:?}") };
    assert_eq!(led_to(&store, 1, at(2)).await.unwrap().digest(), secret(winner).digest());
    for to in 100..150 {
        assert_eq!(found(&store, to, at(2)).await.is_some(), to == winner);
    }
}

pub async fn only_the_current_secret_of_an_open_session_rotates(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    create(&store, login(2, "usr_1", START)).await;
    let not_current = |rotation| {
        let store = store.clone();
        async move { assert_eq!(store.rotate(rotation).await.unwrap(), Rotated::NotCurrent) }
    };
    not_current(rotation(1, 77, 78, at(1))).await;
    not_current(rotation(2, 1, 78, at(1))).await;
    rotate(&store, 1, 1, 3, at(1)).await;
    not_current(rotation(1, 1, 78, at(2))).await;
    store.end(Ending::One(id(1)), EndReason::Logout, at(3)).await.unwrap();
    not_current(rotation(1, 3, 78, at(4))).await;
    store.record_activity(&[Activity { id: id(1), at: at(5) }]).await.unwrap();
    assert_eq!(found(&store, 78, at(5)).await, None);
}
