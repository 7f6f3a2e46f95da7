//! Clients.

use auth_service::domain::{page::PageRequest, user::Key};

use super::*;

pub async fn the_built_in_client_is_there_and_is_not_changed(it: Fixture) {
    let id = ClientId::first_party();
    let client = it.store.client(&Key::Id(id.clone())).await.unwrap().unwrap();
    assert_eq!((client.kind, client.status, client.epoch), (ClientKind::Public, Status::Active, 0));
    assert_eq!(it.store.set_client_secret(&id, &digest(1), ending(T0)).await.unwrap(), None);
    assert_eq!(it.store.set_client_status(&id, Status::Disabled, ending(T0)).await.unwrap(), None);
    assert!(!it.store.revoke_client(&id, ending(T0)).await.unwrap());
    assert!(!it.store.delete_client(&id, ending(T0)).await.unwrap());
    assert_eq!(it.store.client(&Key::Id(id)).await.unwrap().unwrap(), client);
}

pub async fn a_client_is_found_as_it_was_inserted(it: Fixture) {
    let client = new_client(1, "reports");
    assert_eq!(it.store.insert_client(&client).await.unwrap(), Inserted::Done);
    assert_eq!(it.store.client(&Key::Id(client_id(1))).await.unwrap().unwrap(), client);
    assert_eq!(it.store.client(&Key::Name("reports".into())).await.unwrap().unwrap(), client);
    assert_eq!(it.store.insert_client(&new_client(2, "reports")).await.unwrap(), Inserted::Taken);
    assert_eq!(it.store.insert_client(&new_client(3, "first-party")).await.unwrap(), Inserted::Taken);
    assert_eq!(it.store.client(&Key::Id(client_id(2))).await.unwrap(), None);
    let page = it.store.clients(&PageRequest { size: 1, after: String::new() }).await.unwrap();
    assert_eq!((page.items, page.next), (vec![client.clone()], client.id.to_string()));
}

pub async fn a_name_that_no_row_can_hold_is_not_found(it: Fixture) {
    assert!(it.store.client(&Key::Name("first-party\0".into())).await.unwrap().is_none());
}

pub async fn a_secret_is_replaced_at_once_and_raises_the_epoch(it: Fixture) {
    it.store.insert_client(&new_client(1, "reports")).await.unwrap();
    let client = it.store.set_client_secret(&client_id(1), &digest(7), ending(T0)).await.unwrap().unwrap();
    assert_eq!((client.kind, client.epoch), (ClientKind::Confidential { secret: digest(7) }, 1));
    assert_eq!(it.store.client(&Key::Id(client_id(1))).await.unwrap().unwrap(), client);
}

pub async fn revoking_raises_the_epoch_and_the_secret_stays(it: Fixture) {
    let client = new_client(1, "reports");
    it.store.insert_client(&client).await.unwrap();
    assert!(it.store.revoke_client(&client_id(1), ending(T0)).await.unwrap());
    let after = it.store.client(&Key::Id(client_id(1))).await.unwrap().unwrap();
    assert_eq!(after, Client { epoch: 1, ..client });
    assert!(!it.store.revoke_client(&client_id(9), ending(T0)).await.unwrap());
}

pub async fn disabling_raises_the_epoch(it: Fixture) {
    it.store.insert_client(&new_client(1, "reports")).await.unwrap();
    let id = client_id(1);
    let set = |status| it.store.set_client_status(&id, status, ending(T0));
    let client = set(Status::Disabled).await.unwrap().unwrap();
    assert_eq!((client.status, client.epoch), (Status::Disabled, 1));
    assert_eq!(set(Status::Disabled).await.unwrap().unwrap().epoch, 1);
    assert_eq!(set(Status::Active).await.unwrap().unwrap().epoch, 1);
}

pub async fn a_deleted_client_is_gone(it: Fixture) {
    it.store.insert_client(&new_client(1, "reports")).await.unwrap();
    assert!(it.store.delete_client(&client_id(1), ending(T0)).await.unwrap());
    assert!(!it.store.delete_client(&client_id(1), ending(T0)).await.unwrap());
    assert_eq!(it.store.client(&Key::Id(client_id(1))).await.unwrap(), None);
}
