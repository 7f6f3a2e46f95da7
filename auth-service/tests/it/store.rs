//! The conformance suite: what every store promises, run on every adapter. An adapter is a line at the end.

use std::{future::Future, sync::Arc, time::Duration};

use auth_service::{
    domain::{
        client::{Audience, Client, ClientKind, ClientName},
        id::{ClientId, FamilyId, UserId},
        phc::PasswordHash,
        refresh::Family,
        scope::Scope,
        secret::Digest,
        user::Status,
        username::Username,
    },
    store::{
        FamilyEnd, Inserted, NewEnding, NewFamily, NewUser, Store,
        postgres::{PostgresSettings, PostgresStore},
        sqlite::{SqliteSettings, SqliteStore},
    },
};
use chassis::{
    clock::{Clock as _, SystemClock},
    config::Shutdown,
    lifecycle::Lifecycle,
};
use feed::{
    Tag, Wall,
    log::{Log, postgres::PostgresLog},
};
use servers::{Postgres, Sync};
use time::OffsetDateTime;
use token::Epochs;

mod clients;
mod durability;
mod endings;
mod families;
mod files;
mod replicas;
mod signing_keys;
mod sweep;
mod throttle;
mod users;

pub const T0: OffsetDateTime = time::macros::datetime!(2026-11-23 12:00:00 UTC);
pub const SECOND: Duration = Duration::from_secs(1);

/// What goes into the feed's log with the rows that change at that moment.
pub fn ending(at: OffsetDateTime) -> NewEnding<'static> {
    let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap();
    NewEnding {
        at,
        until: Wall::from_unix_millis(millis + 3_600_000),
        tag: Tag(7),
        clock: &SystemClock,
        reckoned: SystemClock.boottime(),
    }
}

/// A store of its own for one test.
pub struct Fixture {
    pub store: Arc<dyn Store>,
    /// The feed's log beside it.
    pub log: Arc<dyn Log>,
    place: Place,
}

#[expect(dead_code, reason = "held until the test is over")]
enum Place {
    Folder(tempfile::TempDir),
    Server(Postgres),
}

pub async fn sqlite() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&sqlite_settings(&directory.path().join("auth.sqlite"))).await.unwrap();
    let log = Arc::new(store.log(feed::grpc::clock(SystemClock::shared())));
    Fixture { store: Arc::new(store), log, place: Place::Folder(directory) }
}

pub async fn postgres() -> Fixture {
    let server = Postgres::start(Sync::Off);
    let settings = schema_on(&server);
    let store = migrated(&settings).await;
    let log = Arc::new(PostgresLog::new(chassis::postgres::apart(&settings).unwrap()()));
    Fixture { store: Arc::new(store), log, place: Place::Server(server) }
}

pub fn schema_on(server: &Postgres) -> PostgresSettings {
    PostgresSettings {
        server: server.url().parse().unwrap(),
        password_file: None,
        tls_files: Vec::new(),
        schema: "auth".to_owned(),
        connections: 8,
        timeout: 30 * SECOND,
    }
}

pub async fn migrated(settings: &PostgresSettings) -> PostgresStore {
    PostgresStore::migrate(settings).await.unwrap();
    let lifecycle = Lifecycle::new(Shutdown::default());
    PostgresStore::open(settings, &lifecycle.readiness("store")).await.unwrap()
}

pub fn sqlite_settings(path: &std::path::Path) -> SqliteSettings {
    let wait = Duration::from_secs(20);
    SqliteSettings { path: path.to_owned(), readers: 4, read_wait: wait, write_wait: wait }
}

/// Runs `count` of them at once, on all threads, and collects what they answer.
pub async fn at_once<F, T>(count: usize, make: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let barrier = Arc::new(tokio::sync::Barrier::new(count));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let (barrier, one) = (Arc::clone(&barrier), make(number));
        tasks.spawn(async move {
            barrier.wait().await;
            one.await
        });
    }
    tasks.join_all().await
}

pub fn body(number: usize) -> String {
    format!("{number:026}")
}

pub fn user_id(number: usize) -> UserId {
    UserId::parse(&format!("usr_{}", body(number))).unwrap()
}

pub fn client_id(number: usize) -> ClientId {
    ClientId::parse(&format!("cli_{}", body(number))).unwrap()
}

pub fn family_id(number: usize) -> FamilyId {
    FamilyId::parse(&format!("fam_{}", body(number))).unwrap()
}

pub fn hash(byte: u8) -> PasswordHash {
    PasswordHash::new([byte; 16], &[byte; 32])
}

pub fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

pub fn new_user(number: usize, name: &str) -> NewUser {
    NewUser {
        id: user_id(number),
        username: Username::parse(name).unwrap(),
        password_hash: hash(1),
        must_change_password: false,
        created_at: T0,
    }
}

pub fn new_client(number: usize, name: &str) -> Client {
    Client {
        id: client_id(number),
        name: ClientName::parse(name).unwrap(),
        status: Status::Active,
        audiences: vec![
            Audience::parse("latchkey").unwrap(),
            Audience::parse("https://api.example").unwrap(),
        ],
        scopes: Scope::parse("read write").unwrap(),
        kind: ClientKind::Confidential { secret: digest(200) },
        epoch: 0,
        created_at: T0,
    }
}

/// A family of user 1 with the built-in client, its token's digest made of `token`.
pub fn new_family(number: usize, token: u8) -> NewFamily {
    NewFamily {
        family: Family {
            id: family_id(number),
            subject: user_id(1),
            client: ClientId::first_party(),
            epochs: Epochs { subject: 0, client: 0 },
            scope: Scope::parse("a b").unwrap(),
            audience: "latchkey".into(),
            amr: vec!["pwd".into()],
            created_at: T0,
            expires_at: T0 + 1_000 * SECOND,
            ended: false,
        },
        token: digest(token),
        idle_until: T0 + 100 * SECOND,
    }
}

/// Whether there is a family that this token belongs to, and it has neither ended nor passed its absolute age.
pub async fn family_is_alive(store: &dyn Store, token: &Digest, now: OffsetDateTime) -> bool {
    let standing = store.standing(token).await.unwrap();
    standing.is_some_and(|standing| !standing.family.ended && now < standing.family.expires_at)
}

impl Fixture {
    /// User 1 is there, and its family 1 with token 1.
    pub async fn with_family(self) -> Self {
        assert_eq!(self.store.insert_user(new_user(1, "alice")).await.unwrap(), Inserted::Done);
        assert!(self.store.begin_family(&new_family(1, 1)).await.unwrap());
        self
    }
}

macro_rules! promises {
    ($adapter:ident, $room:ident: $($promise:ident),* $(,)?) => {
        mod $room {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                crate::store::$room::$promise(crate::store::$adapter().await).await;
            })*
        }
    };
}

macro_rules! conformance {
    ($adapter:ident) => {
        mod $adapter {
            promises!(
                $adapter, users:
                a_user_is_found_as_it_was_inserted,
                a_name_is_unique_in_all_its_spellings,
                of_many_insertions_of_one_name_one_wins,
                pages_follow_one_another,
                what_no_row_can_hold_is_not_found,
                disabling_raises_the_epoch_once,
                revoking_raises_the_epoch_and_changes_nothing_else,
                a_password_is_replaced_only_while_the_epoch_holds,
                of_many_changes_of_one_password_one_wins,
                a_hash_is_upgraded_only_while_it_is_the_same,
                a_deleted_user_is_gone,
            );
            promises!(
                $adapter, clients:
                a_name_that_no_row_can_hold_is_not_found,
                the_built_in_client_is_there_and_is_not_changed,
                a_client_is_found_as_it_was_inserted,
                a_secret_is_replaced_at_once_and_raises_the_epoch,
                revoking_raises_the_epoch_and_the_secret_stays,
                disabling_raises_the_epoch,
                a_deleted_client_is_gone,
            );
            promises!(
                $adapter, families:
                a_family_stands_as_it_was_begun,
                a_family_is_found_by_its_id_until_it_is_swept,
                a_family_begins_only_under_the_epochs_that_authorised_it,
                of_many_rotations_of_one_token_one_wins,
                a_rotation_repeats_every_precondition,
                a_rotation_leaves_the_spent_token_known,
                ending_wins_over_rotating,
                a_family_ends_once_and_only_for_its_subject,
                raising_an_epoch_ends_the_families,
                a_new_client_secret_voids_the_families_of_that_client,
            );
            promises!(
                $adapter, endings:
                an_ending_of_a_user_is_in_the_log,
                an_ending_of_a_client_is_in_the_log,
                an_ending_of_a_family_is_in_the_log,
                an_ending_of_a_key_is_in_the_log,
                races_leave_as_many_entries_as_endings,
                an_ending_that_comes_too_late_ends_nothing,
            );
            promises!(
                $adapter, throttle:
                the_delays_are_those_of_the_policy,
                a_burst_gets_no_more_than_the_limit,
                success_and_time_forget,
                an_attempt_that_was_not_made_is_returned,
                accounts_and_addresses_are_apart,
            );
            promises!(
                $adapter, signing_keys:
                keys_are_found_as_they_were_inserted,
                only_one_is_active_and_one_announced,
                of_many_first_keys_one_wins,
                a_key_takes_over_only_from_the_one_that_is_active,
                a_key_is_wiped_when_its_time_is_over,
                a_revoked_key_is_wiped_whatever_its_state,
            );
            promises!(
                $adapter, sweep:
                what_has_expired_goes_and_nothing_else,
                successors_are_wiped_when_the_window_closes,
                a_batch_is_bounded,
            );
        }
    };
}

mod on {
    conformance!(sqlite);
    conformance!(postgres);
}

/// What a deposed server answers does not hold everywhere.
#[tokio::test]
async fn that_there_is_nothing_to_end_is_committed_as_a_write() {
    let it = postgres().await.with_family().await;
    let Place::Server(server) = &it.place else { unreachable!() };
    // The number that the next transaction that writes will have, and whether one came since then and was committed.
    let next =
        || server.psql("SELECT pg_snapshot_xmax(pg_current_snapshot())").trim().parse::<u64>().unwrap();
    let is_committed = |number: u64| {
        let became = server.psql(&format!("SELECT pg_xact_status('{number}')"));
        became.trim() == "committed" && next() == number + 1
    };
    let end = async || it.store.end_family(&family_id(1), None, FamilyEnd::Logout, ending(T0)).await.unwrap();
    assert!(end().await);
    let first = next();
    assert!(!end().await);
    assert!(is_committed(first));
    assert!(it.store.standing_for_certain(&digest(200)).await.unwrap().is_none());
    assert!(is_committed(first + 1));
    assert!(it.store.standing(&digest(1)).await.unwrap().is_some());
    assert_eq!(next(), first + 2, "the control: this only reads");
    assert!(it.store.standing_for_certain(&digest(1)).await.unwrap().is_some());
    for status in [Status::Disabled, Status::Active] {
        it.store.set_user_status(&user_id(1), status, ending(T0)).await.unwrap().unwrap();
        let before = next();
        it.store.set_user_status(&user_id(1), status, ending(T0)).await.unwrap().unwrap();
        assert!(is_committed(before), "{status:?} already");
    }
    let (user, client) = (user_id(9), client_id(9));
    for number in 0..8 {
        let before = next();
        let is_found = match number {
            0 => it.store.revoke_user(&user, ending(T0)).await.unwrap(),
            1 => it.store.delete_user(&user, ending(T0)).await.unwrap(),
            2 => it.store.set_password(&user, None, &hash(2), false, ending(T0)).await.unwrap().is_some(),
            // Of another epoch.
            3 => {
                let (id, at) = (user_id(1), ending(T0));
                it.store.set_password(&id, Some(99), &hash(2), false, at).await.unwrap().is_some()
            }
            4 => it.store.revoke_client(&client, ending(T0)).await.unwrap(),
            5 => it.store.delete_client(&client, ending(T0)).await.unwrap(),
            6 => it.store.set_client_secret(&client, &digest(7), ending(T0)).await.unwrap().is_some(),
            _ => it.store.revoke_signing_key("k", ending(T0)).await.unwrap(),
        };
        assert!(!is_found && is_committed(before), "{number}");
    }
}
