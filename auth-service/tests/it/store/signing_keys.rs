//! Signing keys.

use auth_service::domain::signing_key::{KeyRecord, KeyState, SealedKey};
use token::Algorithm;

use super::*;

fn key(kid: &str, state: KeyState) -> SealedKey {
    SealedKey {
        record: KeyRecord { kid: kid.into(), algorithm: Algorithm::EdDsa, state },
        sealed: kid.as_bytes().to_vec(),
    }
}

const ACTIVE: KeyState = KeyState::Active { since: T0 };
const ANNOUNCED: KeyState = KeyState::Announced { at: T0 };

async fn states(it: &Fixture) -> Vec<(String, KeyState)> {
    let keys = it.store.signing_keys().await.unwrap();
    let mut states: Vec<_> = keys.into_iter().map(|key| (key.record.kid, key.record.state)).collect();
    states.sort_by(|a, b| a.0.cmp(&b.0));
    states
}

pub async fn keys_are_found_as_they_were_inserted(it: Fixture) {
    assert_eq!(it.store.signing_keys().await.unwrap(), []);
    for new in [key("a", ACTIVE), key("b", ANNOUNCED)] {
        assert!(it.store.insert_signing_key(&new).await.unwrap());
    }
    assert_eq!(it.store.signing_keys().await.unwrap(), [key("a", ACTIVE), key("b", ANNOUNCED)]);
}

pub async fn only_one_is_active_and_one_announced(it: Fixture) {
    for (state, first, second) in [(ACTIVE, "a", "b"), (ANNOUNCED, "c", "d")] {
        assert!(it.store.insert_signing_key(&key(first, state)).await.unwrap());
        assert!(!it.store.insert_signing_key(&key(second, state)).await.unwrap());
    }
    assert_eq!(states(&it).await, [("a".to_owned(), ACTIVE), ("c".to_owned(), ANNOUNCED)]);
}

pub async fn of_many_first_keys_one_wins(it: Fixture) {
    let outcomes = at_once(20, |number| {
        let store = Arc::clone(&it.store);
        async move { store.insert_signing_key(&key(&format!("kid-{number}"), ACTIVE)).await.unwrap() }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|won| **won).count(), 1);
    assert_eq!(states(&it).await.len(), 1);
}

pub async fn a_key_takes_over_only_from_the_one_that_is_active(it: Fixture) {
    it.store.insert_signing_key(&key("a", ACTIVE)).await.unwrap();
    it.store.insert_signing_key(&key("b", ANNOUNCED)).await.unwrap();
    let (until, now) = (T0 + 100 * SECOND, T0 + 50 * SECOND);
    let activate = |kid, retire| it.store.activate_signing_key(kid, retire, until, now);
    assert!(!activate("b", None).await.unwrap(), "there is an active one");
    assert!(!activate("b", Some("x")).await.unwrap(), "it is another");
    assert!(!activate("x", Some("a")).await.unwrap(), "not announced");
    assert_eq!(
        states(&it).await,
        [("a".to_owned(), ACTIVE), ("b".to_owned(), ANNOUNCED)],
        "nothing half-done"
    );
    let outcomes = at_once(10, |_| {
        let store = Arc::clone(&it.store);
        async move { store.activate_signing_key("b", Some("a"), until, now).await.unwrap() }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|won| **won).count(), 1);
    let expected =
        [("a".to_owned(), KeyState::Retiring { until }), ("b".to_owned(), KeyState::Active { since: now })];
    assert_eq!(states(&it).await, expected);
}

pub async fn a_key_is_wiped_when_its_time_is_over(it: Fixture) {
    let until = T0 + 100 * SECOND;
    it.store.insert_signing_key(&key("a", ACTIVE)).await.unwrap();
    it.store.insert_signing_key(&key("b", ANNOUNCED)).await.unwrap();
    assert!(!it.store.remove_signing_key("a", until).await.unwrap(), "active");
    it.store.activate_signing_key("b", Some("a"), until, T0).await.unwrap();
    assert!(!it.store.remove_signing_key("a", until - SECOND).await.unwrap(), "too early");
    assert!(it.store.remove_signing_key("a", until).await.unwrap());
    assert!(!it.store.remove_signing_key("a", until).await.unwrap());
    let keys = it.store.signing_keys().await.unwrap();
    let gone = keys.iter().find(|key| key.record.kid == "a").unwrap();
    assert_eq!((gone.record.state, gone.sealed.len()), (KeyState::Gone { at: until }, 0));
}

pub async fn a_revoked_key_is_wiped_whatever_its_state(it: Fixture) {
    let until = T0 + 100 * SECOND;
    for (kid, state) in [("a", ACTIVE), ("b", ANNOUNCED), ("c", KeyState::Retiring { until })] {
        it.store.insert_signing_key(&key(kid, state)).await.unwrap();
        let outcomes = at_once(10, |_| {
            let store = Arc::clone(&it.store);
            async move { store.revoke_signing_key(kid, ending(T0 + SECOND)).await.unwrap() }
        })
        .await;
        assert_eq!(outcomes.iter().filter(|won| **won).count(), 1, "{kid}");
    }
    assert!(!it.store.revoke_signing_key("x", ending(T0)).await.unwrap());
    let keys = it.store.signing_keys().await.unwrap();
    assert_eq!(keys.len(), 3);
    for key in keys {
        assert_eq!((key.record.state, key.sealed), (KeyState::Gone { at: T0 + SECOND }, Vec::new()));
    }
    // Its place is free.
    assert!(it.store.insert_signing_key(&key("d", ACTIVE)).await.unwrap());
    assert!(it.store.insert_signing_key(&key("e", ANNOUNCED)).await.unwrap());
}
