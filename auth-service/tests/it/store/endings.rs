//! What ends something is in the feed's log, in the same transaction, and nothing else is.

use auth_service::{
    domain::signing_key::{KeyRecord, KeyState, SealedKey},
    store::{FamilyEnd, StoreError},
};
use chassis::clock::TestClock;
use feed::What;
use token::Algorithm;

use super::*;

/// The entries so far, in their order: what, whose, and below which epoch it is void.
async fn entries(it: &Fixture) -> Vec<(What, String, Option<u64>)> {
    let entries = it.log.snapshot().await.unwrap().entries;
    assert!(entries.iter().all(|entry| entry.change.until == ending(T0).until));
    let read = |entry: feed::Entry| {
        (entry.change.target.what, entry.change.target.key.to_string(), entry.change.min)
    };
    entries.into_iter().map(read).collect()
}

pub async fn an_ending_of_a_user_is_in_the_log(it: Fixture) {
    let it = it.with_family().await;
    let (id, at) = (user_id(1), ending(T0));
    it.store.set_user_status(&id, Status::Disabled, at).await.unwrap().unwrap();
    // The second time nothing ends, and enabling revives nothing.
    it.store.set_user_status(&id, Status::Disabled, at).await.unwrap().unwrap();
    it.store.set_user_status(&id, Status::Active, at).await.unwrap().unwrap();
    it.store.set_password(&id, Some(0), &hash(2), false, at).await.unwrap();
    it.store.set_password(&id, Some(1), &hash(2), false, at).await.unwrap().unwrap();
    assert!(it.store.revoke_user(&id, at).await.unwrap());
    assert!(!it.store.revoke_user(&user_id(9), at).await.unwrap());
    assert!(it.store.delete_user(&id, at).await.unwrap());
    assert!(!it.store.delete_user(&id, at).await.unwrap());
    let subject = |min| (What::Subject, id.to_string(), min);
    assert_eq!(entries(&it).await, [subject(Some(1)), subject(Some(2)), subject(Some(3)), subject(None)]);
}

pub async fn an_ending_of_a_client_is_in_the_log(it: Fixture) {
    let (id, at) = (client_id(1), ending(T0));
    it.store.insert_client(&new_client(1, "reports")).await.unwrap();
    it.store.set_client_secret(&id, &digest(7), at).await.unwrap().unwrap();
    for status in [Status::Disabled, Status::Disabled, Status::Active] {
        it.store.set_client_status(&id, status, at).await.unwrap().unwrap();
    }
    assert!(it.store.revoke_client(&id, at).await.unwrap());
    assert!(!it.store.revoke_client(&client_id(9), at).await.unwrap());
    assert!(it.store.delete_client(&id, at).await.unwrap());
    assert!(!it.store.delete_client(&id, at).await.unwrap());
    let client = |min| (What::Client, id.to_string(), min);
    assert_eq!(entries(&it).await, [client(Some(1)), client(Some(2)), client(Some(3)), client(None)]);
}

pub async fn an_ending_of_a_family_is_in_the_log(it: Fixture) {
    let it = it.with_family().await;
    let end = |subject: usize| {
        let store = Arc::clone(&it.store);
        async move {
            let subject = user_id(subject);
            store.end_family(&family_id(1), Some(&subject), FamilyEnd::Logout, ending(T0)).await.unwrap()
        }
    };
    assert!(!end(2).await && end(1).await && !end(1).await);
    assert_eq!(entries(&it).await, [(What::Family, family_id(1).to_string(), None)]);
}

pub async fn an_ending_of_a_key_is_in_the_log(it: Fixture) {
    let record =
        KeyRecord { kid: "k".into(), algorithm: Algorithm::Es256, state: KeyState::Active { since: T0 } };
    assert!(it.store.insert_signing_key(&SealedKey { record, sealed: vec![1] }).await.unwrap());
    assert!(!it.store.revoke_signing_key("other", ending(T0)).await.unwrap());
    assert!(it.store.revoke_signing_key("k", ending(T0)).await.unwrap());
    assert!(!it.store.revoke_signing_key("k", ending(T0)).await.unwrap());
    assert_eq!(entries(&it).await, [(What::Key, "k".to_owned(), None)]);
}

/// It would be forgotten too early: as if the process had been suspended since it was reckoned.
pub async fn an_ending_that_comes_too_late_ends_nothing(it: Fixture) {
    let it = it.with_family().await;
    it.store.insert_client(&new_client(1, "reports")).await.unwrap();
    let record =
        KeyRecord { kid: "k".into(), algorithm: Algorithm::Es256, state: KeyState::Active { since: T0 } };
    assert!(it.store.insert_signing_key(&SealedKey { record, sealed: vec![1] }).await.unwrap());
    let clock = TestClock::new(T0);
    let reckoned = clock.boottime();
    clock.advance(61 * SECOND);
    let late = NewEnding { clock: &clock, reckoned, ..ending(T0) };
    let (user, client, family) = (user_id(1), client_id(1), family_id(1));
    let refused = [
        it.store.set_user_status(&user, Status::Disabled, late).await.err(),
        it.store.set_password(&user, Some(0), &hash(2), false, late).await.err(),
        it.store.revoke_user(&user, late).await.err(),
        it.store.delete_user(&user, late).await.err(),
        it.store.set_client_secret(&client, &digest(7), late).await.err(),
        it.store.set_client_status(&client, Status::Disabled, late).await.err(),
        it.store.revoke_client(&client, late).await.err(),
        it.store.delete_client(&client, late).await.err(),
        it.store.end_family(&family, None, FamilyEnd::Logout, late).await.err(),
        it.store.revoke_signing_key("k", late).await.err(),
    ];
    assert!(refused.iter().all(|error| matches!(error, Some(StoreError::Unavailable(_)))), "{refused:?}");
    assert_eq!(entries(&it).await, []);
    // All of it is as it was, and can be ended by whoever repeats it.
    let in_time = NewEnding { reckoned: clock.boottime(), ..late };
    assert!(it.store.end_family(&family, None, FamilyEnd::Logout, in_time).await.unwrap());
    assert!(it.store.set_password(&user, Some(0), &hash(2), false, in_time).await.unwrap().is_some());
    assert!(it.store.delete_client(&client, in_time).await.unwrap());
    assert!(it.store.revoke_signing_key("k", in_time).await.unwrap());
}

/// Sixteen users are disabled and enabled, all at once: as many entries as epochs were raised.
pub async fn races_leave_as_many_entries_as_endings(it: Fixture) {
    for number in 0..16 {
        it.store.insert_user(new_user(number, &format!("user{number}"))).await.unwrap();
    }
    at_once(64, |number| {
        let store = Arc::clone(&it.store);
        async move {
            let id = user_id(number % 16);
            store.set_user_status(&id, Status::Disabled, ending(T0)).await.unwrap().unwrap();
        }
    })
    .await;
    let mut all = entries(&it).await;
    all.sort();
    let expected: Vec<_> =
        (0..16).map(|number| (What::Subject, user_id(number).to_string(), Some(1))).collect();
    assert_eq!(all, expected);
}
