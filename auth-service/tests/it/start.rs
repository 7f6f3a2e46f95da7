//! What keeps it from starting is said in one line, and nothing is half-started.

use auth_service::{StartError, flows::keys::KeysError, store::sqlite::OpenError};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chassis::lifecycle::Exit;

use crate::{
    authority::private,
    stack::{PASSWORD, Place, Stack, master_key},
};

fn one_line(error: &StartError) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.is_empty(), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_key_is_told() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    let (place, exit) = stack.stop().await;
    assert_eq!(exit, Exit::Clean);
    private(&place.path("master.key"), &BASE64_STANDARD.encode([43; 32]));
    let error = place.try_start(place.config(&[])).await.err().unwrap();
    assert!(matches!(error, StartError::Keys(KeysError::DoesNotOpen { .. })), "{error:?}");
    assert!(one_line(&error).contains("signing.master_key"));
    private(&place.path("master.key"), &BASE64_STANDARD.encode([42; 32]));
    let stack = Stack::start_in(place, &[]).await;
    stack.login("alice", PASSWORD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_sealed_at_rest() {
    let stack = Stack::start().await;
    let mut connection = stack.place.database().await;
    let (kid, sealed): (String, Vec<u8>) =
        sqlx::query_as("SELECT kid, sealed FROM signing_keys").fetch_one(&mut connection).await.unwrap();
    let opened = master_key().open(kid.as_bytes(), &sealed).unwrap();
    token::SigningKey::from_pkcs8(&kid, token::Algorithm::Es256, &opened).unwrap();
    assert!(!sealed.windows(16).any(|window| opened.windows(16).any(|plain| plain == window)));
    assert!(master_key().open(b"another kid", &sealed).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_missing_open_to_all_or_wrong_are_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let missing = place.path("missing").display().to_string();
    let error =
        place.try_start(place.config(&[("LATCHKEY__SIGNING__MASTER_KEY", &missing)])).await.err().unwrap();
    assert!(
        one_line(&error).starts_with("signing.master_key: ") && error.to_string().contains(&missing),
        "{error}"
    );
    let error = place
        .try_start(place.config(&[("LATCHKEY__FIRST_PARTY__ENCRYPT_TO", &missing)]))
        .await
        .err()
        .unwrap();
    assert!(
        one_line(&error).starts_with("first_party.encrypt_to: ") && error.to_string().contains(&missing),
        "{error}"
    );

    std::fs::write(place.path("private.jwk.json"), place.recipient.to_jwk_json().unwrap().as_str()).unwrap();
    let path = place.path("private.jwk.json").display().to_string();
    let error =
        place.try_start(place.config(&[("LATCHKEY__FIRST_PARTY__ENCRYPT_TO", &path)])).await.err().unwrap();
    assert!(matches!(error, StartError::Recipient { .. }), "the private half has no place here: {error:?}");

    std::fs::set_permissions(place.path("master.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = place.try_start(place.config(&[])).await.err().unwrap();
    assert!(one_line(&error).contains("chmod 600"), "{error}");
    private(&place.path("master.key"), "changeme");
    let error = place.try_start(place.config(&[])).await.err().unwrap();
    assert!(matches!(error, StartError::MasterKey { .. }), "{error:?}");
    assert!(!place.path("auth.sqlite").exists(), "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_told() {
    let place = Place::new();
    std::fs::write(place.path("auth.sqlite"), [0x5a; 8192]).unwrap();
    let error = place.try_start(place.config(&[])).await.err().unwrap();
    assert!(matches!(error, StartError::Sqlite(OpenError::Damaged { .. })), "{error:?}");
    assert!(one_line(&error).contains("auth.sqlite"));
}
