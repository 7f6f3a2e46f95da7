//! Starts: waited for, or refused in one line.

use futures_util::future::join_all;
use latchkey_chassis::postgres::{Database, OpenError};

use super::{Place, TABLE, VERSION, migrations, read, write};

/// What `/readyz?verbose` says of the store, once it says something else than `not`.
async fn said(place: &Place, not: &str) -> String {
    loop {
        let condition = place.lifecycle.conditions().into_iter().next();
        match condition.map(|condition| condition.state) {
            Some(Err(reason)) if reason != not && reason != "starting" => return reason,
            _ => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn a_schema_that_is_behind_is_waited_for() {
    let place = Place::new().await;
    let (opened, ()) = tokio::join!(place.open(), async {
        assert_eq!(
            said(&place, "").await,
            "the schema things is behind this version: run `latchkey migrate`"
        );
        let applied = place.migrate().await.unwrap();
        assert_eq!(applied.migrations, ["things"]);
    });
    let database = opened.unwrap();
    assert_eq!(read(&database, 1).await.unwrap(), 0);
    assert!(place.migrate().await.unwrap().migrations.is_empty(), "nothing is left to do");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for() {
    let mut place = Place::new().await;
    place.migrate().await.unwrap();
    place.server.stop();
    let settings = place.settings.clone();
    let (migrations, readiness) = (place.migrations.clone(), place.lifecycle.readiness("store"));
    let opening = tokio::spawn(async move { Database::open(&settings, &migrations, &readiness).await });
    let reason = said(&place, "").await;
    assert!(reason.starts_with("waiting for the database latchkey at 127.0.0.1:"), "{reason}");
    place.server.restart();
    opening.await.unwrap().unwrap();
}

#[tokio::test]
async fn migrating_many_times_at_once_applies_once() {
    let place = Place::new().await;
    let migrated = join_all((0..8).map(|_| place.migrate())).await;
    for migrated in migrated {
        migrated.unwrap();
    }
    let database = place.open().await.unwrap();
    assert_eq!(read(&database, 2).await.unwrap(), 0);
}

#[tokio::test]
async fn wrong_credentials_and_databases_are_told() {
    let mut place = Place::new().await;
    place.server.require_password("keeper", "right");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    place.settings.server = place.settings.server.username("keeper");
    place.settings.password_file = Some(file.clone());

    let OpenError::Password(error) = place.refused().await else { panic!() };
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    private(&file, "wrong\n");
    let error = place.refused().await;
    assert!(matches!(error, OpenError::Refused { .. }), "{error}");
    let line = error.to_string();
    assert!(line.contains("keeper") && line.contains("store.password_file"), "{line}");
    assert!(!line.contains("wrong"), "{line}");

    private(&file, "right\n");
    let error = place.migrate().await.unwrap_err();
    assert!(matches!(error, OpenError::Refused { .. }), "it may not make a schema: {error}");
    place.server.psql("CREATE SCHEMA things AUTHORIZATION keeper");
    place.migrate().await.unwrap();
    place.open().await.unwrap();

    place.settings.server = place.settings.server.database("nowhere");
    let error = place.refused().await;
    assert!(matches!(error, OpenError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

fn private(file: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_newer_versions_schema_is_lived_with_or_refused() {
    let (mut place, _) = Place::opened().await;
    let older = std::mem::replace(
        &mut place.migrations,
        migrations(&[
            (VERSION, "things", TABLE),
            (VERSION + 1, "expand_colours", "ALTER TABLE things ADD COLUMN colour TEXT"),
        ])
        .await,
    );
    place.migrate().await.unwrap();
    place.migrations = older;
    let database = place.open().await.unwrap();
    write(&database, 1).await.unwrap();
    assert!(place.migrate().await.unwrap().migrations.is_empty(), "an older version has nothing to apply");

    let older = std::mem::replace(
        &mut place.migrations,
        migrations(&[
            (VERSION, "things", TABLE),
            (VERSION + 1, "expand_colours", "ALTER TABLE things ADD COLUMN colour TEXT"),
            (VERSION + 2, "numbers_go", "ALTER TABLE things DROP COLUMN number"),
        ])
        .await,
    );
    assert_eq!(place.migrate().await.unwrap().migrations, ["numbers go"]);
    place.migrations = older;
    for error in [place.refused().await, place.migrate().await.unwrap_err()] {
        assert!(
            matches!(error, OpenError::FromTheFuture { found, known: VERSION, .. } if found == VERSION + 2),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_another_service_or_a_hand_has_written_is_refused() {
    let (place, _) = Place::opened().await;
    let change = |sql: &str| place.server.psql(&format!("SET search_path = things; {sql}"));

    change("UPDATE _sqlx_migrations SET success = false");
    let error = place.refused().await;
    assert!(matches!(&error, OpenError::Altered { reason, .. } if reason.contains("half-way")), "{error}");

    change("UPDATE _sqlx_migrations SET success = true, checksum = 'x'");
    for error in [place.refused().await, place.migrate().await.unwrap_err()] {
        assert!(matches!(error, OpenError::Altered { .. }), "{error}");
    }

    change("UPDATE _sqlx_migrations SET version = 20200101000000");
    for error in [place.refused().await, place.migrate().await.unwrap_err()] {
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    }
}
