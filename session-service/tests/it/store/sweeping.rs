use session_service::domain::EndReason;
use session_service::store::{Created, Ending, Sweep, Swept};

use super::*;

fn sweep(now: OffsetDateTime) -> Sweep {
    Sweep { now, idle_before: None, most: 100 }
}

pub async fn what_is_over_goes(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    rotate(&store, 1, 1, 2, START).await;
    assert_eq!(store.sweep(sweep(at(9))).await.unwrap(), Swept::default());
    assert_eq!(store.sweep(sweep(at(10))).await.unwrap(), Swept { successors: 1, ..Swept::default() });
    // While it is remembered, the proof is spent; it is remembered until nobody would accept it.
    let again = NewSession { proof: login(1, "usr_1", START).proof, ..login(3, "usr_1", at(59)) };
    assert_eq!(store.create(again.clone()).await.unwrap(), Created::ProofSpent);
    assert_eq!(store.sweep(sweep(at(59))).await.unwrap(), Swept::default());
    assert_eq!(store.sweep(sweep(at(60))).await.unwrap(), Swept { proofs: 1, ..Swept::default() });
    let edge = START + LIFETIMES.absolute;
    assert_eq!(store.sweep(sweep(edge)).await.unwrap(), Swept { sessions: 1, ..Swept::default() });
    assert_eq!(store.sweep(sweep(edge)).await.unwrap(), Swept::default());
    // Not even for a clock that goes back.
    assert_eq!(found(&store, 2, at(11)).await, None);
}

pub async fn tombstones_stay_until_the_absolute_expiry(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    store.end(Ending::One(id(1)), EndReason::Logout, at(1)).await.unwrap();
    let edge = START + LIFETIMES.absolute;
    let early = Sweep { idle_before: Some(edge), ..sweep(edge - std::time::Duration::from_millis(1)) };
    assert_eq!(store.sweep(early).await.unwrap().sessions, 0);
    assert_eq!(store.sweep(sweep(edge)).await.unwrap().sessions, 1);
}

pub async fn idle_sessions_go_when_told(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    create(&store, login(2, "usr_1", at(1))).await;
    rotate(&store, 1, 1, 3, START).await;
    let idle = Sweep { idle_before: Some(START), ..sweep(at(2)) };
    assert_eq!(store.sweep(idle).await.unwrap().sessions, 1);
    for number in [1, 3] {
        assert_eq!(found(&store, number, at(2)).await, None);
    }
    assert_eq!(found(&store, 2, at(2)).await, Some(id(2)));
}

pub async fn a_sweep_is_bounded(store: Store) {
    for number in 1..=5 {
        create(&store, login(number, "usr_1", START)).await;
    }
    let some = Sweep { most: 2, ..sweep(START + LIFETIMES.absolute) };
    let mut swept = Vec::new();
    loop {
        match store.sweep(some).await.unwrap().sessions {
            0 => break,
            more => swept.push(more),
        }
    }
    assert_eq!(swept, [2, 2, 1]);
}
