//! Sweeping: what is useless goes, and nothing that could still matter.

use auth_service::{
    domain::{
        refresh::Use,
        throttle::{Attempt, ThrottleKey, ThrottlePolicy},
    },
    store::{FamilyEnd, Rotation, Useless},
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

    let sweep = async |seconds: u32| {
        let mut rows = Vec::new();
        for what in [Useless::Families, Useless::Tokens, Useless::Throttles] {
            rows.push(it.store.sweep(what, T0 + seconds * SECOND, 100).await.unwrap());
        }
        rows
    };
    assert_eq!(sweep(9).await, [0, 0, 0]);
    assert_eq!(sweep(10).await, [0, 2, 0], "a token and its family");
    assert!(it.store.standing(&digest(2)).await.unwrap().is_none());
    assert!(it.store.family(&family_id(2)).await.unwrap().is_none());
    assert_eq!(sweep(61).await, [0, 0, 1]);
    assert_eq!(sweep(99).await, [0, 0, 0]);
    assert!(it.store.standing(&digest(1)).await.unwrap().is_some());
    assert!(it.store.standing(&digest(3)).await.unwrap().is_some(), "an ended family is known for a day");
    assert_eq!(sweep(86_400).await, [4, 0, 0], "two tokens and their families");
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
    let wipe = |seconds: u32| it.store.sweep(Useless::Successors, T0 + seconds * SECOND, 100);
    assert_eq!(wipe(4).await.unwrap(), 0);
    assert_eq!(wipe(5).await.unwrap(), 1);
    let spent = it.store.standing(&digest(1)).await.unwrap().unwrap();
    assert_eq!(spent.link.use_, Use::Spent { at: T0 + 5 * SECOND, successor: None });
    // The spent token goes before its family, whose other token still lives.
    it.store.sweep(Useless::Tokens, T0 + 150 * SECOND, 100).await.unwrap();
    assert!(it.store.standing(&digest(1)).await.unwrap().is_none());
    assert!(it.store.standing(&digest(2)).await.unwrap().is_some());
}

/// Families of many tokens, by each of the sweeps that removes them: a call takes as many tokens as a batch has and no more, whosever
/// they are, and no family before its last.
pub async fn a_batch_is_bounded(it: Fixture) {
    const FAMILIES: u8 = 4;
    const TOKENS: u8 = 9;
    const BATCH: u32 = 5;
    it.store.insert_user(new_user(1, "alice")).await.unwrap();
    // Past their absolute age, idle for too long, ended.
    for (what, days) in [(Useless::Families, 1), (Useless::Tokens, 1), (Useless::Families, 365)] {
        let token = |family: u8, number: u8| digest(family * TOKENS + number);
        for family in 0..FAMILIES {
            let mut new = new_family(family.into(), family * TOKENS);
            new.family.expires_at = T0 + days * 86_400 * SECOND;
            new.idle_until = T0 + 100 * SECOND;
            assert!(it.store.begin_family(&new).await.unwrap());
            for number in 1..TOKENS {
                let rotation = Rotation {
                    spent: token(family, number - 1),
                    client: ClientId::first_party(),
                    successor: token(family, number),
                    sealed: None,
                    idle_until: new.idle_until,
                    now: T0,
                };
                assert!(it.store.rotate(&rotation).await.unwrap());
            }
            if days > 1 {
                let (id, ended) = (new.family.id, ending(T0));
                assert!(it.store.end_family(&id, None, FamilyEnd::Logout, ended).await.unwrap());
            }
        }
        let left = async || {
            let (mut families, mut tokens) = (0, 0);
            for family in 0..FAMILIES {
                families += u64::from(it.store.family(&family_id(family.into())).await.unwrap().is_some());
                for number in 0..TOKENS {
                    let standing = it.store.standing(&token(family, number)).await.unwrap();
                    tokens += u64::from(standing.is_some());
                }
            }
            (families, tokens)
        };
        let mut before = left().await;
        assert_eq!(before, (FAMILIES.into(), u64::from(FAMILIES) * u64::from(TOKENS)));
        while before != (0, 0) {
            let rows = it.store.sweep(what, T0 + 2 * 86_400 * SECOND, BATCH).await.unwrap();
            let after = left().await;
            let (families, tokens) = (before.0 - after.0, before.1 - after.1);
            assert_eq!(tokens, before.1.min(BATCH.into()), "{what:?}: {before:?}, then {after:?}");
            assert_eq!(rows, families + tokens);
            before = after;
        }
        assert_eq!(it.store.sweep(what, T0 + 2 * 86_400 * SECOND, BATCH).await.unwrap(), 0);
    }
}
