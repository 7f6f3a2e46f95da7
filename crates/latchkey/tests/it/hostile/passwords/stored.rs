//! What of a password is kept.

use std::collections::BTreeSet;
use std::time::Duration;

use auth_service::domain::phc::{Cost, PasswordHash};
use auth_service::domain::user::User;
use auth_service::hashing::Kdf;
use auth_service::hashing::argon2id::{Argon2id, Memory};
use auth_service::store::Store;
use auth_service::store::sqlite::{SqliteSettings, SqliteStore};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{OTHER_PASSWORD, log_in};
use crate::stack::{PASSWORD, Stack};

/// auth-service's database, as somebody who has the file reads and writes it.
async fn store(stack: &Stack) -> SqliteStore {
    let settings = SqliteSettings {
        path: stack.state_dir().join("data/auth.sqlite"),
        readers: 1,
        read_wait: Duration::from_secs(5),
        write_wait: Duration::from_secs(5),
    };
    SqliteStore::open(&settings).await.unwrap()
}

async fn account(store: &SqliteStore, username: &str) -> (User, PasswordHash) {
    let account = Store::account(store, username).await.unwrap().unwrap();
    (account.user, account.password_hash)
}

#[tokio::test]
async fn p04_what_is_stored_is_slow_salted_and_kept_up_to_date() {
    let mut stack = Stack::start().await;
    for number in 0..6 {
        stack.register(&format!("user-{number}")).await;
    }
    let opened = store(&stack).await;
    let mut salts = BTreeSet::new();
    for number in 0..6 {
        let (_, hash) = account(&opened, &format!("user-{number}")).await;
        let Cost { memory_kib, passes, lanes } = hash.cost();
        assert!(memory_kib >= 19_456 && passes >= 2 && lanes == 1, "{:?}", hash.cost());
        assert!(hash.to_phc().unwrap().starts_with("$argon2id$v=19$m="));
        assert!(hash.salt().len() >= 16 && salts.insert(hash.salt().to_vec()), "one password, one salt each");
    }

    // As an older version would have left it.
    let (user, now) = account(&opened, "user-0").await;
    let (salt, mut out) = (b"0123456789abcdef", [0; 32]);
    let cost = Cost { memory_kib: 4_096, passes: 1, lanes: 1 };
    Argon2id.run(&mut Memory::default(), cost, PASSWORD.as_bytes(), salt, &mut out).unwrap();
    let [encoded_salt, encoded] = [&salt[..], &out].map(|octets| STANDARD_NO_PAD.encode(octets));
    let weak =
        PasswordHash::parse(&format!("$argon2id$v=19$m=4096,t=1,p=1${encoded_salt}${encoded}")).unwrap();
    assert!(Store::upgrade_hash(&opened, &user.id, &now, &weak).await.unwrap());
    assert_eq!(log_in(&stack, "user-0", OTHER_PASSWORD).await.status(), 401);
    assert_eq!(account(&opened, "user-0").await.1.cost(), cost, "a wrong password upgrades nothing");
    assert_eq!(log_in(&stack, "user-0", PASSWORD).await.status(), 200);
    let (_, upgraded) = account(&opened, "user-0").await;
    assert!(upgraded.cost().memory_kib >= 19_456 && upgraded.salt() != &salt[..], "{:?}", upgraded.cost());
    assert_eq!(log_in(&stack, "user-0", PASSWORD).await.status(), 200);
    opened.close().await;

    assert!(stack.stop().await.success());
    let file = std::fs::read(stack.state_dir().join("data/auth.sqlite")).unwrap();
    let text = String::from_utf8_lossy(&file);
    let stored: Vec<&str> =
        text.match_indices("$argon2id$v=19$m=19456,t=2,p=1$").map(|(_, found)| found).collect();
    assert!(stored.len() >= 7, "the strings are in the file as such");
    assert!(!text.contains(PASSWORD));
}
