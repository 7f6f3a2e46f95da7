//! Sweeping: what is useless goes, and nothing that could still matter.

use auth_service::{
    domain::{
        refresh::Use,
        throttle::{Attempt, ThrottleKey, ThrottlePolicy},
    },
    store::{FamilyEnd, Rotation, Swept},
};

use super::*;

const POLICY: ThrottlePolicy =
    ThrottlePolicy { free: 1, first_delay: SECOND, max_delay: SECOND, forget_after: Duration::from_secs(60) };

pub async fn what_has_expired_goes_and_nothing_else(it: Fixture) {
    let it = it.with_family().await;
    // Family 2 is idle sooner, 3 has ended, 1 and its token live longer.
    let mut idle = new_family(2, 2);
    idle.idle_until = T0 + 10 * SECOND;
    it.store.begin_family(&idle).await.unwrap();
    let mut ended = new_family(3, 3);
    ended.family.expires_at = T0 + 1_000_000 * SECOND;
    ended.idle_until = ended.family.expires_at;
    it.store.begin_family(&ended).await.unwrap();
    it.store.end_family(&family_id(3), None, FamilyEnd::Logout, ending(T0)).await.unwrap();
    let throttled = ThrottleKey::new("alice", "192.0.2.1");
    it.store.reserve_attempt(&throttled, &POLICY, T0).await.unwrap();

    let sweep = |now| it.store.sweep(now, T0, 100);
    assert_eq!(sweep(T0 + 9 * SECOND).await.unwrap(), Swept::default());
    assert_eq!(sweep(T0 + 10 * SECOND).await.unwrap(), Swept { families: 1, ..Swept::default() });
    assert!(it.store.standing(&digest(2)).await.unwrap().is_none());
    assert_eq!(sweep(T0 + 61 * SECOND).await.unwrap(), Swept { throttles: 1, ..Swept::default() });
    assert_eq!(sweep(T0 + 99 * SECOND).await.unwrap(), Swept::default());
    assert!(it.store.standing(&digest(1)).await.unwrap().is_some());
    assert!(it.store.standing(&digest(3)).await.unwrap().is_some(), "an ended family is known for a day");
    assert_eq!(sweep(T0 + 86_400 * SECOND).await.unwrap().families, 2);
    assert!(it.store.standing(&digest(1)).await.unwrap().is_none());
    assert!(it.store.standing(&digest(3)).await.unwrap().is_none());
    assert_eq!(it.store.reserve_attempt(&throttled, &POLICY, T0).await.unwrap(), Attempt::Reserved);
}

pub async fn successors_are_wiped_when_the_window_closes(it: Fixture) {
    let it = it.with_family().await;
    let rotation = Rotation {
        spent: digest(1),
        client: ClientId::first_party(),
        successor: digest(2),
        sealed: Some(vec![7]),
        idle_until: T0 + 200 * SECOND,
        now: T0 + 5 * SECOND,
    };
    assert!(it.store.rotate(&rotation).await.unwrap());
    assert_eq!(it.store.sweep(T0, T0 + 4 * SECOND, 100).await.unwrap(), Swept::default());
    assert_eq!(
        it.store.sweep(T0, T0 + 5 * SECOND, 100).await.unwrap(),
        Swept { successors: 1, ..Swept::default() }
    );
    let spent = it.store.standing(&digest(1)).await.unwrap().unwrap();
    assert_eq!(spent.link.use_, Use::Spent { at: T0 + 5 * SECOND, successor: None });
    // The spent token goes before its family, whose other token still lives.
    it.store.sweep(T0 + 150 * SECOND, T0, 100).await.unwrap();
    assert!(it.store.standing(&digest(1)).await.unwrap().is_none());
    assert!(it.store.standing(&digest(2)).await.unwrap().is_some());
}

pub async fn a_batch_is_bounded(it: Fixture) {
    let it = it.with_family().await;
    for number in 2..8 {
        it.store.begin_family(&new_family(number, u8::try_from(number).unwrap())).await.unwrap();
    }
    let now = T0 + 2_000 * SECOND;
    let mut rounds = Vec::new();
    loop {
        let swept = it.store.sweep(now, now, 3).await.unwrap().families;
        if swept == 0 {
            break;
        }
        rounds.push(swept);
    }
    assert_eq!(rounds.iter().sum::<u64>(), 7);
    assert!(rounds.len() > 1 && rounds.iter().all(|swept| *swept <= 6), "{rounds:?}");
}
