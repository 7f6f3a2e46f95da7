//! What every store promises, run on every adapter. A promise is a function of a store; the list at the end runs it on each.

mod attributes;
mod creation;
mod endings;
mod postgres;
mod reading;
mod redis;
mod replicas;
mod rotation;
mod sqlite;
mod sweeping;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chassis::config::Shutdown;
use chassis::lifecycle::Lifecycle;
use servers::{Postgres, Redis, Sync};
use session_service::domain::{
    AtLimit, Attributes, EndReason, Lifetimes, Limit, Origin, SealedSuccessor, Session, SessionId,
    SessionSecret, Shard, Subject,
};
use session_service::store::memory::MemoryStore;
use session_service::store::postgres::{PostgresSettings, PostgresStore};
use session_service::store::redis::{RedisSettings, RedisStore};
use session_service::store::sqlite::{SqliteSettings, SqliteStore};
use session_service::store::{Created, Ended, NewSession, Rotated, Rotation, SessionStore, SpentProof};
use time::OffsetDateTime;
use time::macros::datetime;

pub const START: OffsetDateTime = datetime!(2026-11-01 08:00 UTC);
pub const LIFETIMES: Lifetimes = Lifetimes {
    idle: Duration::from_secs(30 * 60),
    absolute: Duration::from_secs(12 * 3600),
    rotation_grace: Duration::from_secs(10),
};

pub type Store = Arc<dyn SessionStore>;

pub fn at(seconds: u64) -> OffsetDateTime {
    START + Duration::from_secs(seconds)
}

/// Sessions from this number on are in another shard than those before.
pub const ELSEWHERE: u64 = 1_000_000;

fn shard(number: u64) -> Shard {
    let of = if number < ELSEWHERE { "usr_1" } else { "usr_2" };
    Shard::of(&Subject::parse(of).unwrap())
}

pub fn secret(number: u64) -> SessionSecret {
    let mut tried = 0_u64;
    SessionSecret::draw(shard(number), || {
        tried += 1;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..16].copy_from_slice(&tried.to_be_bytes());
        bytes
    })
}

pub fn id(number: u64) -> SessionId {
    SessionId::new(shard(number), u128::from(number * 16).to_be_bytes())
}

/// Whoever of that name is in the shard of the first sessions.
pub fn subject(name: &str) -> Subject {
    subject_of(0, name)
}

/// Whoever of that name is in the shard of session `number`.
fn subject_of(number: u64, name: &str) -> Subject {
    let names = std::iter::once(name.to_owned()).chain((0..).map(|other| format!("{name}-{other}")));
    names
        .map(|name| Subject::parse(&name).unwrap())
        .find(|subject| Shard::of(subject) == shard(number))
        .unwrap()
}

/// Session `number`, with the id, secret and proof of that number.
pub fn login(number: u64, of: &str, now: OffsetDateTime) -> NewSession {
    let origin = Origin {
        subject: subject_of(number, of),
        username: format!("{of} ✓"),
        epoch: number,
        methods: vec!["pwd".to_owned(), "otp".to_owned()],
        authenticated_at: now - Duration::from_secs(1),
        user_agent: "Mozilla/5.0 \"quoted\"".to_owned(),
        client_address: "::1".to_owned(),
    };
    NewSession {
        session: Session::begin(id(number), origin, now, &LIFETIMES),
        secret: secret(number).digest(),
        proof: SpentProof { jti: format!("proof-{number}"), keep_until: now + Duration::from_secs(60) },
        former: None,
        limit: Limit { most: 20, at_limit: AtLimit::EndOldest },
        idle_since: LIFETIMES.idle_since(now),
        activity: Vec::new(),
        now,
    }
}

/// Patient: these tests ask for promises and not for speed.
pub fn sqlite_at(path: &Path) -> SqliteSettings {
    let wait = Duration::from_secs(30);
    SqliteSettings { path: path.to_owned(), readers: 4, read_wait: wait, write_wait: wait }
}

/// As patient.
pub fn schema_on(server: &Postgres) -> PostgresSettings {
    PostgresSettings {
        server: server.url().parse().unwrap(),
        password_file: None,
        tls_files: Vec::new(),
        schema: "session".to_owned(),
        connections: 8,
        timeout: Duration::from_secs(30),
    }
}

pub async fn migrated(settings: &PostgresSettings) -> PostgresStore {
    PostgresStore::migrate(settings).await.unwrap();
    let lifecycle = Lifecycle::new(Shutdown::default());
    PostgresStore::open(settings, &lifecycle.readiness("store")).await.unwrap()
}

/// A store on `server`, kept by a life that the caller holds.
pub async fn store_on(server: &Redis, life: &Lifecycle, timeout: Duration) -> RedisStore {
    let settings = RedisSettings::new(&server.url(), None, timeout).unwrap();
    RedisStore::open(&settings, life).await.unwrap()
}

pub async fn create(store: &Store, new: NewSession) -> Vec<Ended> {
    match store.create(new).await.unwrap() {
        Created::Stored { ended } => ended,
        other => panic!("{other:?}"),
    }
}

/// From secret `from` of session `number` to secret `to`.
pub fn rotation(number: u64, from: u64, to: u64, now: OffsetDateTime) -> Rotation {
    Rotation {
        id: id(number),
        from: secret(from).digest(),
        to: secret(to).digest(),
        sealed: SealedSuccessor::seal(&secret(to), &secret(from), &id(number), [1; 12]).unwrap(),
        accepted_until: now + LIFETIMES.rotation_grace,
        now,
    }
}

pub async fn rotate(store: &Store, number: u64, from: u64, to: u64, now: OffsetDateTime) {
    assert_eq!(store.rotate(rotation(number, from, to, now)).await.unwrap(), Rotated::Done);
}

pub async fn found(store: &Store, number: u64, now: OffsetDateTime) -> Option<SessionId> {
    store.find(secret(number).digest(), now).await.unwrap().map(|found| found.session.id)
}

pub fn attributes(entries: &[(&str, &[u8])]) -> Attributes {
    Attributes::new(entries.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect())
        .unwrap()
}

pub fn ids(ended: &[Ended]) -> Vec<(SessionId, EndReason)> {
    let mut ids: Vec<_> = ended.iter().map(|one| (one.id.clone(), one.reason)).collect();
    ids.sort_by(|one, other| one.0.cmp(&other.0));
    ids
}

/// Runs many at once and hands back what they said.
pub async fn all_at_once<F, T>(calls: impl IntoIterator<Item = F>) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut set = tokio::task::JoinSet::new();
    for call in calls {
        set.spawn(call);
    }
    set.join_all().await
}

macro_rules! on_every_store {
    ($($room:ident::$promise:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                super::$room::$promise(Arc::new(MemoryStore::new())).await;
            })*
        }
        mod on_sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                let folder = tempfile::tempdir().unwrap();
                let store = SqliteStore::open(&sqlite_at(&folder.path().join("session.sqlite"))).await.unwrap();
                super::$room::$promise(Arc::new(store.clone())).await;
                store.close().await;
            })*
        }
        mod on_postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                let server = Postgres::start(Sync::Off);
                let store = migrated(&schema_on(&server)).await;
                super::$room::$promise(Arc::new(store.clone())).await;
                store.close().await;
            })*
        }
        mod on_redis {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                let server = Redis::start();
                let life = Lifecycle::new(Shutdown::default());
                let store = store_on(&server, &life, Duration::from_secs(30)).await;
                super::$room::$promise(Arc::new(store)).await;
            })*
        }
    };
}

on_every_store! {
    creation::a_session_reads_back_as_it_was_made,
    creation::a_proof_is_spent_once,
    creation::a_proof_is_spent_once_by_racing_logins,
    creation::a_refused_login_changes_nothing,
    creation::s11_the_limit_ends_the_oldest,
    creation::s11_the_limit_holds_under_racing_logins,
    creation::s11_the_limit_can_refuse_under_racing_logins,
    creation::sessions_that_are_over_do_not_count,
    creation::activity_counts_before_anything_is_idle,
    creation::s03_the_former_session_ends_with_the_login,
    creation::s03_a_rotated_former_secret_ends_its_session_within_its_window,
    reading::nothing_is_found_that_was_not_made,
    reading::the_absolute_expiry_has_an_edge,
    reading::activity_only_moves_forward,
    reading::a_list_is_paged_and_leaves_out_what_is_over,
    rotation::the_former_secret_has_a_window,
    rotation::a_chain_of_rotations_leads_to_the_current_secret,
    rotation::a_chain_is_bounded,
    rotation::racing_rotations_leave_one_successor,
    rotation::only_the_current_secret_of_an_open_session_rotates,
    endings::an_ending_is_final,
    endings::an_ending_closes_the_rotation_window,
    endings::an_ending_is_told_once,
    endings::an_ending_told_once_under_a_race,
    endings::another_subjects_session_is_left_alone,
    endings::all_and_all_others,
    endings::an_ending_races_with_a_rotation,
    attributes::attributes_change_by_compare_and_set,
    attributes::of_racing_writers_one_wins,
    attributes::the_missing_and_the_ended_have_none,
    attributes::bytes_read_back,
    sweeping::what_is_over_goes,
    sweeping::tombstones_stay_until_the_absolute_expiry,
    sweeping::idle_sessions_go_when_told,
    sweeping::a_sweep_is_bounded,
}
