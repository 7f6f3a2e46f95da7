//! Users.

use std::collections::BTreeSet;

use auth_service::domain::{
    page::PageRequest,
    user::{Key, Status, User},
};

use super::*;

pub async fn a_user_is_found_as_it_was_inserted(it: Fixture) {
    let new = NewUser { must_change_password: true, ..new_user(1, "Al\u{e9}x") };
    assert_eq!(it.store.insert_user(new).await.unwrap(), Inserted::Done);
    let user = it.store.user(&Key::Id(user_id(1))).await.unwrap().unwrap();
    assert_eq!(user.username.as_str(), "Al\u{e9}x");
    assert_eq!((user.status, user.epoch, user.created_at), (Status::Active, 0, T0));
    assert!(user.must_change_password);
    let key = Username::parse("ALE\u{301}X").unwrap().key().to_owned();
    assert_eq!(it.store.user(&Key::Name(key.clone())).await.unwrap().unwrap(), user);
    let account = it.store.account(&key).await.unwrap().unwrap();
    assert_eq!((account.user, account.password_hash), (user, hash(1)));
    assert_eq!(it.store.user(&Key::Id(user_id(2))).await.unwrap(), None);
    assert!(it.store.account("nobody").await.unwrap().is_none());
}

pub async fn a_name_is_unique_in_all_its_spellings(it: Fixture) {
    assert_eq!(it.store.insert_user(new_user(1, "stra\u{df}e")).await.unwrap(), Inserted::Done);
    assert_eq!(it.store.insert_user(new_user(2, "STRASSE")).await.unwrap(), Inserted::Taken);
    assert_eq!(it.store.insert_user(new_user(3, "strase")).await.unwrap(), Inserted::Done);
}

pub async fn of_many_insertions_of_one_name_one_wins(it: Fixture) {
    let outcomes = at_once(20, |number| {
        let store = Arc::clone(&it.store);
        async move { store.insert_user(new_user(number, "alice")).await.unwrap() }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Inserted::Done).count(), 1);
}

pub async fn pages_follow_one_another(it: Fixture) {
    for number in 0..7 {
        it.store.insert_user(new_user(number, &format!("user-{number}"))).await.unwrap();
    }
    let mut seen = BTreeSet::new();
    let mut after = String::new();
    let mut sizes = Vec::new();
    loop {
        let page = it.store.users(&PageRequest { size: 3, after }).await.unwrap();
        sizes.push(page.items.len());
        seen.extend(page.items.into_iter().map(|user| user.id));
        after = page.next;
        if after.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(seen.len(), 7);
}

/// A NUL is no error: whoever types one is told the same as whoever types any other wrong name.
pub async fn what_no_row_can_hold_is_not_found(it: Fixture) {
    it.store.insert_user(new_user(1, "alice")).await.unwrap();
    assert!(it.store.account("alice\0").await.unwrap().is_none());
    assert!(it.store.user(&Key::Name("\0".into())).await.unwrap().is_none());
    for (after, found) in [("usr_\0", 1), ("\0", 1), ("usr_z\0", 0)] {
        let page = it.store.users(&PageRequest { size: 10, after: after.into() }).await.unwrap();
        assert_eq!(page.items.len(), found, "{after:?}");
    }
    let after = format!("{}\0", user_id(1));
    let page = it.store.users(&PageRequest { size: 10, after }).await.unwrap();
    assert!(page.items.is_empty());
}

pub async fn disabling_raises_the_epoch_once(it: Fixture) {
    let it = it.with_family().await;
    let id = user_id(1);
    let set = |status| it.store.set_user_status(&id, status, ending(T0));
    let user = set(Status::Disabled).await.unwrap().unwrap();
    assert_eq!((user.status, user.epoch), (Status::Disabled, 1));
    assert_eq!(set(Status::Disabled).await.unwrap().unwrap().epoch, 1);
    let user = set(Status::Active).await.unwrap().unwrap();
    assert_eq!((user.status, user.epoch), (Status::Active, 1));
    assert_eq!(it.store.set_user_status(&user_id(9), Status::Disabled, ending(T0)).await.unwrap(), None);
    assert!(it.store.standing(&digest(1)).await.unwrap().unwrap().family.ended);
}

pub async fn revoking_raises_the_epoch_and_changes_nothing_else(it: Fixture) {
    let it = it.with_family().await;
    let id = user_id(1);
    let before = it.store.account("alice").await.unwrap().unwrap();
    assert!(it.store.revoke_user(&id, ending(T0)).await.unwrap());
    let after = it.store.account("alice").await.unwrap().unwrap();
    assert_eq!(after.user, User { epoch: 1, ..before.user });
    assert_eq!(after.password_hash, before.password_hash);
    assert!(it.store.standing(&digest(1)).await.unwrap().unwrap().family.ended);
    // Also of who is disabled: a login may have been under way.
    it.store.set_user_status(&id, Status::Disabled, ending(T0)).await.unwrap();
    assert!(it.store.revoke_user(&id, ending(T0)).await.unwrap());
    let user = it.store.user(&Key::Id(id)).await.unwrap().unwrap();
    assert_eq!((user.status, user.epoch), (Status::Disabled, 3));
    assert!(!it.store.revoke_user(&user_id(9), ending(T0)).await.unwrap());
}

pub async fn a_password_is_replaced_only_while_the_epoch_holds(it: Fixture) {
    it.store.insert_user(NewUser { must_change_password: true, ..new_user(1, "alice") }).await.unwrap();
    let id = user_id(1);
    assert_eq!(
        it.store.set_password(&id, Some(1), &hash(2), false, ending(T0)).await.unwrap(),
        None,
        "another epoch"
    );
    let user = it.store.set_password(&id, Some(0), &hash(2), false, ending(T0)).await.unwrap().unwrap();
    assert_eq!((user.epoch, user.must_change_password), (1, false));
    assert_eq!(it.store.account("alice").await.unwrap().unwrap().password_hash, hash(2));
    it.store.set_user_status(&id, Status::Disabled, ending(T0)).await.unwrap();
    assert_eq!(
        it.store.set_password(&id, Some(2), &hash(3), false, ending(T0)).await.unwrap(),
        None,
        "disabled"
    );
    let user = it.store.set_password(&id, None, &hash(4), true, ending(T0)).await.unwrap().unwrap();
    assert_eq!((user.epoch, user.must_change_password), (3, true), "an administrator may");
}

pub async fn of_many_changes_of_one_password_one_wins(it: Fixture) {
    it.store.insert_user(new_user(1, "alice")).await.unwrap();
    let outcomes = at_once(20, |number| {
        let store = Arc::clone(&it.store);
        let new = hash(u8::try_from(number).unwrap() + 2);
        async move { store.set_password(&user_id(1), Some(0), &new, false, ending(T0)).await.unwrap() }
    })
    .await;
    assert_eq!(outcomes.iter().flatten().count(), 1);
    assert_eq!(it.store.user(&Key::Id(user_id(1))).await.unwrap().unwrap().epoch, 1);
}

pub async fn a_hash_is_upgraded_only_while_it_is_the_same(it: Fixture) {
    it.store.insert_user(new_user(1, "alice")).await.unwrap();
    assert!(!it.store.upgrade_hash(&user_id(1), &hash(7), &hash(8)).await.unwrap());
    assert!(it.store.upgrade_hash(&user_id(1), &hash(1), &hash(8)).await.unwrap());
    let account = it.store.account("alice").await.unwrap().unwrap();
    assert_eq!((account.password_hash, account.user.epoch), (hash(8), 0));
}

pub async fn a_deleted_user_is_gone(it: Fixture) {
    let it = it.with_family().await;
    assert!(it.store.delete_user(&user_id(1), ending(T0)).await.unwrap());
    assert!(!it.store.delete_user(&user_id(1), ending(T0)).await.unwrap());
    assert_eq!(it.store.user(&Key::Id(user_id(1))).await.unwrap(), None);
    let standing = it.store.standing(&digest(1)).await.unwrap().unwrap();
    assert!(standing.family.ended && standing.user.is_none());
    assert_eq!(it.store.insert_user(new_user(2, "alice")).await.unwrap(), Inserted::Done, "the name is free");
}
