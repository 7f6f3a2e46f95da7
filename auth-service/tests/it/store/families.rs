//! Refresh families: the races that decide whether a stolen token is worth anything.

use auth_service::{
    domain::{
        refresh::{Death, RefreshPolicy, Use, Verdict},
        user::Status,
    },
    store::{FamilyEnd, Rotation, Useless},
};

use super::*;

fn rotation(spent: u8, successor: u8) -> Rotation {
    Rotation {
        spent: digest(spent),
        client: ClientId::first_party(),
        successor: digest(successor),
        sealed: Some(vec![successor]),
        idle_until: T0 + 101 * SECOND,
        now: T0 + SECOND,
    }
}

pub async fn a_family_stands_as_it_was_begun(it: Fixture) {
    let it = it.with_family().await;
    let standing = it.store.standing(&digest(1)).await.unwrap().unwrap();
    let new = new_family(1, 1);
    assert_eq!(standing.family, new.family);
    assert_eq!((standing.link.expires_at, standing.link.use_), (new.idle_until, Use::Unspent));
    assert_eq!(standing.user.unwrap().id, user_id(1));
    assert_eq!(standing.client.unwrap().id, ClientId::first_party());
    assert!(it.store.standing(&digest(2)).await.unwrap().is_none());
    assert!(family_is_alive(&*it.store, &digest(1), T0 + 999 * SECOND).await);
    assert!(!family_is_alive(&*it.store, &digest(1), T0 + 1_000 * SECOND).await);
    assert!(!family_is_alive(&*it.store, &digest(2), T0).await);
}

pub async fn a_family_is_found_by_its_id_until_it_is_swept(it: Fixture) {
    let it = it.with_family().await;
    let begun = new_family(1, 1).family;
    assert_eq!(it.store.family(&family_id(1)).await.unwrap(), Some(begun.clone()));
    assert_eq!(it.store.family(&family_id(2)).await.unwrap(), None);
    assert!(it.store.end_family(&family_id(1), None, FamilyEnd::Revoked, ending(T0)).await.unwrap());
    assert_eq!(it.store.family(&family_id(1)).await.unwrap(), Some(Family { ended: true, ..begun }));
    it.store.sweep(Useless::Families, T0 + 86_400 * SECOND, 100).await.unwrap();
    assert_eq!(it.store.family(&family_id(1)).await.unwrap(), None);
}

pub async fn a_family_begins_only_under_the_epochs_that_authorised_it(it: Fixture) {
    it.store.insert_user(new_user(1, "alice")).await.unwrap();
    let begin = |change: fn(&mut Family)| {
        let mut new = new_family(2, 2);
        change(&mut new.family);
        let store = Arc::clone(&it.store);
        async move { store.begin_family(&new).await.unwrap() }
    };
    assert!(!begin(|family| family.epochs.subject = 1).await);
    assert!(!begin(|family| family.epochs.client = 1).await);
    assert!(!begin(|family| family.subject = user_id(9)).await);
    assert!(!begin(|family| family.client = client_id(9)).await);
    it.store.set_password(&user_id(1), None, &hash(3), false, ending(T0)).await.unwrap();
    assert!(!begin(|_| {}).await, "the password was changed since");
    assert!(begin(|family| family.epochs.subject = 1).await);
    it.store.set_user_status(&user_id(1), Status::Disabled, ending(T0)).await.unwrap();
    assert!(!it.store.begin_family(&new_family(3, 3)).await.unwrap());
    assert!(
        it.store.standing(&digest(3)).await.unwrap().is_none(),
        "nothing is left of a family that did not begin"
    );
}

pub async fn of_many_rotations_of_one_token_one_wins(it: Fixture) {
    let it = it.with_family().await;
    let outcomes = at_once(50, |number| {
        let store = Arc::clone(&it.store);
        let rotation = rotation(1, u8::try_from(number).unwrap() + 100);
        async move { (rotation.successor, store.rotate(&rotation).await.unwrap()) }
    })
    .await;
    let winners: Vec<_> = outcomes.iter().filter(|(_, won)| *won).map(|(successor, _)| *successor).collect();
    assert_eq!(winners.len(), 1);
    for (successor, won) in outcomes {
        assert_eq!(
            it.store.standing(&successor).await.unwrap().is_some(),
            won,
            "only the winner's successor exists"
        );
    }
    let spent = it.store.standing(&digest(1)).await.unwrap().unwrap().link.use_;
    let sealed = vec![winners[0].as_bytes()[0]];
    assert_eq!(spent, Use::Spent { at: T0 + SECOND, successor: Some(sealed) });
}

pub async fn a_rotation_repeats_every_precondition(it: Fixture) {
    let it = it.with_family().await;
    let refused = |change: fn(&mut Rotation)| {
        let mut rotation = rotation(1, 2);
        change(&mut rotation);
        let store = Arc::clone(&it.store);
        async move { !store.rotate(&rotation).await.unwrap() }
    };
    assert!(refused(|rotation| rotation.spent = digest(9)).await, "unknown");
    assert!(refused(|rotation| rotation.client = client_id(1)).await, "of another client");
    assert!(refused(|rotation| rotation.now = T0 + 100 * SECOND).await, "idle");
    assert!(refused(|rotation| rotation.now = T0 + 1_000 * SECOND).await, "past its absolute age");
    it.store.set_user_status(&user_id(1), Status::Disabled, ending(T0)).await.unwrap();
    assert!(refused(|_| {}).await, "disabled");
    it.store.set_user_status(&user_id(1), Status::Active, ending(T0)).await.unwrap();
    assert!(refused(|_| {}).await, "of an epoch that has passed");
    let mut later = new_family(2, 20);
    later.family.epochs.subject = 1;
    assert!(it.store.begin_family(&later).await.unwrap());
    assert!(it.store.rotate(&rotation(20, 21)).await.unwrap());
    assert!(!it.store.rotate(&rotation(20, 22)).await.unwrap(), "spent");
    assert!(it.store.end_family(&family_id(2), None, FamilyEnd::Revoked, ending(T0)).await.unwrap());
    assert!(!it.store.rotate(&rotation(21, 23)).await.unwrap(), "ended");
}

pub async fn a_rotation_leaves_the_spent_token_known(it: Fixture) {
    let it = it.with_family().await;
    assert!(it.store.rotate(&Rotation { sealed: None, ..rotation(1, 2) }).await.unwrap());
    let spent = it.store.standing(&digest(1)).await.unwrap().unwrap();
    assert_eq!(spent.link.use_, Use::Spent { at: T0 + SECOND, successor: None });
    let successor = it.store.standing(&digest(2)).await.unwrap().unwrap();
    assert_eq!((successor.link.use_, successor.link.expires_at), (Use::Unspent, T0 + 101 * SECOND));
    assert_eq!(successor.family, spent.family);
}

pub async fn ending_wins_over_rotating(it: Fixture) {
    let it = it.with_family().await;
    for round in 0..20_u8 {
        let number = usize::from(round) + 2;
        it.store.begin_family(&new_family(number, 50 + round)).await.unwrap();
        let answers = at_once(2, |which| {
            let store = Arc::clone(&it.store);
            let rotation = rotation(50 + round, 100 + round);
            async move {
                match which {
                    0 => store.rotate(&rotation).await.unwrap(),
                    _ => store
                        .end_family(&family_id(number), None, FamilyEnd::Logout, ending(T0))
                        .await
                        .unwrap(),
                }
            }
        })
        .await;
        assert!(answers.contains(&true));
        // Whoever was first: once both are answered no token of the family is good.
        assert!(!family_is_alive(&*it.store, &digest(50 + round), T0).await);
        assert!(!it.store.rotate(&rotation(50 + round, 150 + round)).await.unwrap());
        assert!(!it.store.rotate(&rotation(100 + round, 200 + round)).await.unwrap());
    }
}

pub async fn a_family_ends_once_and_only_for_its_subject(it: Fixture) {
    let it = it.with_family().await;
    let end = |subject: Option<UserId>| {
        let store = Arc::clone(&it.store);
        async move {
            store.end_family(&family_id(1), subject.as_ref(), FamilyEnd::Logout, ending(T0)).await.unwrap()
        }
    };
    assert!(!end(Some(user_id(2))).await);
    assert!(family_is_alive(&*it.store, &digest(1), T0).await);
    assert!(end(Some(user_id(1))).await);
    assert!(!end(Some(user_id(1))).await && !end(None).await);
    assert!(it.store.standing(&digest(1)).await.unwrap().unwrap().family.ended);
}

pub async fn raising_an_epoch_ends_the_families(it: Fixture) {
    let it = it.with_family().await;
    it.store.insert_user(new_user(2, "bob")).await.unwrap();
    let mut of_bob = new_family(2, 2);
    of_bob.family.subject = user_id(2);
    assert!(it.store.begin_family(&of_bob).await.unwrap());
    it.store.set_password(&user_id(1), Some(0), &hash(2), false, ending(T0)).await.unwrap().unwrap();
    assert!(!family_is_alive(&*it.store, &digest(1), T0).await);
    assert!(family_is_alive(&*it.store, &digest(2), T0).await, "another user's stays");
}

pub async fn a_new_client_secret_voids_the_families_of_that_client(it: Fixture) {
    let it = it.with_family().await;
    it.store.insert_client(&new_client(1, "reports")).await.unwrap();
    let of_client = |number: usize, token: u8, epoch: u64| {
        let mut new = new_family(number, token);
        new.family.client = client_id(1);
        new.family.epochs.client = epoch;
        new
    };
    let rotation = |spent: u8, successor: u8| Rotation { client: client_id(1), ..rotation(spent, successor) };
    assert!(it.store.begin_family(&of_client(2, 20, 0)).await.unwrap());
    assert!(it.store.rotate(&rotation(20, 21)).await.unwrap());
    it.store.set_client_secret(&client_id(1), &digest(7), ending(T0)).await.unwrap().unwrap();
    assert!(!it.store.rotate(&rotation(21, 22)).await.unwrap());
    let policy = RefreshPolicy { idle: 100 * SECOND, absolute: 1_000 * SECOND, grace: 10 * SECOND };
    // Not even within the grace window of a token that was spent under the former secret.
    for token in [20, 21] {
        let standing = it.store.standing(&digest(token)).await.unwrap().unwrap();
        assert_eq!(standing.judge(&client_id(1), &policy, T0 + SECOND), Verdict::Dead(Death::Client));
    }
    assert!(!it.store.begin_family(&of_client(3, 30, 0)).await.unwrap(), "a login that was under way");
    assert!(it.store.begin_family(&of_client(3, 30, 1)).await.unwrap());
    assert!(it.store.standing(&digest(1)).await.unwrap().unwrap().is_alive(T0), "another client's stays");
}
