//! The server that stops, hangs, is not there yet, or would delete what is needed: what is said meanwhile, and that it
//! heals by itself.

use session_service::store::redis::{OpenError, RedisSettings, RedisStore};
use session_service::store::{Activity, Listing, StoreError};

use super::*;

const PROMPT: Duration = Duration::from_millis(500);

fn settings(server: &Redis) -> RedisSettings {
    RedisSettings::new(&server.url(), None, PROMPT).unwrap()
}

/// The two ways in which a session is read: a call of its own, and a lookup that goes together with others.
#[derive(Clone, Copy)]
enum Read {
    ById,
    BySecret,
}

impl Read {
    const BOTH: [Read; 2] = [Read::ById, Read::BySecret];

    /// Whether session 1 is there.
    async fn ask(self, store: &Store) -> Result<bool, String> {
        let said = match self {
            Read::ById => store.get(&id(1), at(1)).await.map(|session| session.is_some()),
            Read::BySecret => store.find(secret(1).digest(), at(1)).await.map(|found| found.is_some()),
        };
        said.map_err(|error| match error {
            StoreError::Unavailable(source) => source.to_string(),
            error => panic!("{error:?}"),
        })
    }
}

async fn get(store: &Store) -> Result<bool, String> {
    Read::ById.ask(store).await
}

/// What the condition `store` says, until `is_it`.
async fn until(life: &Lifecycle, is_it: impl Fn(&Result<(), String>) -> bool) -> Result<(), String> {
    loop {
        let conditions = life.conditions();
        if let Some(store) = conditions.into_iter().find(|one| &*one.name == "store" && is_it(&one.state)) {
            return store.state;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn prompt_on(server: &Redis, life: &Lifecycle) -> Store {
    let store = store_on(server, life, PROMPT).await;
    life.readiness("store").ready();
    Arc::new(store)
}

#[tokio::test]
async fn f08_a_server_that_was_killed_is_said_at_once_and_found_again() {
    // Flushed every second, a busy disk makes Redis hold back what it has acknowledged, and a kill loses it.
    let (mut server, life) = (Redis::start_with(&["appendfsync always"]), life());
    let store = prompt_on(&server, &life).await;
    create(&store, login(1, "usr_1", START)).await;
    for read in Read::BOTH {
        server.kill();
        // Ten times as many calls as could wait for a deadline each, if any did.
        let said = all_at_once((0..500).map(|_| {
            let store = store.clone();
            async move { read.ask(&store).await }
        }))
        .await;
        assert!(said.iter().all(Result::is_err), "nobody hears of a session that it is not there");
        let reason = until(&life, |state| state.as_ref().is_err_and(|said| said.contains("refused"))).await;
        assert!(reason.is_err());
        server.restart();
        until(&life, Result::is_ok).await.unwrap();
        assert_eq!(read.ask(&store).await, Ok(true));
    }
}

/// Callers with deadlines shorter than ours.
#[tokio::test]
async fn f09_those_who_leave_before_the_deadline_have_waited_in_vain_too() {
    for read in Read::BOTH {
        let (server, life) = (Redis::start(), life());
        // The look at the server finds out by itself, later than these.
        let store: Store = Arc::new(store_on(&server, &life, Duration::from_secs(8)).await);
        server.freeze();
        for _ in 0..3 {
            let left = tokio::time::timeout(Duration::from_millis(2_050), read.ask(&store)).await;
            assert!(left.is_err());
        }
        let said = read.ask(&store).await.unwrap_err();
        assert!(said.starts_with("not asked"), "{said}");
    }
}

/// More than go together, on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_lookups_that_come_at_once_all_have_an_answer() {
    let (server, life) = (Redis::start(), life());
    let store = prompt_on(&server, &life).await;
    create(&store, login(1, "usr_1", START)).await;
    let many = async || {
        all_at_once((0..600).map(|_| {
            let store = store.clone();
            async move { Read::BySecret.ask(&store).await }
        }))
        .await
    };
    for _ in 0..3 {
        server.freeze();
        let said = many().await;
        assert!(said.iter().all(Result::is_err), "nobody hears of a session that it is not there");
        let said = Read::BySecret.ask(&store).await.unwrap_err();
        assert!(said.starts_with("not asked"), "{said}");
        until(&life, Result::is_err).await.unwrap_err();
        server.resume();
        until(&life, Result::is_ok).await.unwrap();
        assert!(many().await.iter().all(|said| *said == Ok(true)));
    }
}

#[tokio::test]
async fn f09_a_frozen_server_is_waited_for_by_few_and_not_for_long() {
    let (server, life) = (Redis::start(), life());
    let store = prompt_on(&server, &life).await;
    create(&store, login(1, "usr_1", START)).await;
    for read in Read::BOTH {
        server.freeze();
        let mut waited = 0;
        while !read.ask(&store).await.unwrap_err().starts_with("not asked") {
            waited += 1;
        }
        assert!(waited <= 3, "{waited} calls waited, and then still nobody knew");
        for _ in 0..1_000 {
            let said = read.ask(&store).await.unwrap_err();
            assert!(said.starts_with("not asked"), "{said}");
        }
        let told = until(&life, Result::is_err).await.unwrap_err();
        assert!(told.contains("no answer within 500ms"), "{told}");
        server.resume();
        until(&life, Result::is_ok).await.unwrap();
        assert_eq!(read.ask(&store).await, Ok(true));
    }
}

#[tokio::test]
async fn f09_what_timed_out_is_there_in_whole_or_not_at_all() {
    let (server, life) = (Redis::start(), life());
    let store = prompt_on(&server, &life).await;
    create(&store, login(1, "usr_1", START)).await;
    server.freeze();
    let (created, ended) = tokio::join!(
        store.create(login(2, "usr_1", at(0))),
        store.end(Ending::One(id(1)), EndReason::Logout, at(1)),
    );
    assert!(matches!(created, Err(StoreError::Unavailable(_))), "{created:?}");
    assert!(matches!(ended, Err(StoreError::Unavailable(_))), "{ended:?}");
    server.resume();
    while store.get(&id(1), at(1)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Neither was sent twice; each may be done again.
    store.create(login(2, "usr_1", at(0))).await.unwrap();
    assert_eq!(found(&store, 2, at(1)).await, Some(id(2)));
    store.end(Ending::One(id(1)), EndReason::Logout, at(1)).await.unwrap();
    assert_eq!(found(&store, 1, at(1)).await, None);
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let (mut server, life) = (Redis::start(), life());
    server.kill();
    let (settings, of) = (settings(&server), life.clone());
    let mut opening = Box::pin(RedisStore::open(&settings, &of));
    let reason = tokio::select! {
        opened = &mut opening => panic!("{:?}", opened.err()),
        reason = until(&life, |state| state.as_ref().is_err_and(|reason| reason.contains("waiting"))) => reason,
    };
    let reason = reason.unwrap_err();
    assert!(reason.contains(&format!("the Redis at 127.0.0.1:{}", server.port())), "{reason}");
    server.restart();
    let store: Store = Arc::new(opening.await.unwrap());
    create(&store, login(1, "usr_1", START)).await;
}

#[tokio::test]
async fn f11_a_server_that_may_evict_is_refused_at_the_start() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl"] {
        let server = Redis::start_with(&[&format!("maxmemory-policy {policy}"), "maxmemory 100mb"]);
        let refused = RedisStore::open(&settings(&server), &life()).await.err().unwrap();
        assert!(matches!(refused, OpenError::Unfit { .. }), "{refused:?}");
        let said = refused.to_string();
        assert!(
            said.contains(&format!("maxmemory-policy {policy}")) && said.contains("noeviction"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn f11_a_server_that_begins_to_evict_is_not_used_until_it_stops() {
    let (server, life) = (Redis::start(), life());
    let store = prompt_on(&server, &life).await;
    create(&store, login(1, "usr_1", START)).await;
    assert_eq!(server.command("CONFIG SET maxmemory-policy allkeys-lru").unwrap(), "+OK");
    let told = until(&life, Result::is_err).await.unwrap_err();
    assert!(told.contains("maxmemory-policy allkeys-lru"), "{told}");
    assert!(get(&store).await.unwrap_err().contains("maxmemory-policy allkeys-lru"));
    assert_eq!(server.command("CONFIG SET maxmemory-policy noeviction").unwrap(), "+OK");
    until(&life, Result::is_ok).await.unwrap();
    assert_eq!(get(&store).await, Ok(true));
}

/// Two hundred sessions, and what a server that evicts has left of them: faster than it is looked at.
async fn evicting(life: &Lifecycle) -> (Redis, Store) {
    let server = Redis::start();
    let store = shared_on(&server, life).await;
    for number in 1..=200 {
        create(&store, login(number, &format!("usr_{number}"), START)).await;
    }
    for setting in ["maxmemory-policy allkeys-random", "maxmemory 1mb"] {
        assert_eq!(server.command(&format!("CONFIG SET {setting}")).unwrap(), "+OK");
    }
    server.command("SET one-more 1").unwrap();
    for setting in ["maxmemory 0", "maxmemory-policy noeviction"] {
        assert_eq!(server.command(&format!("CONFIG SET {setting}")).unwrap(), "+OK");
    }
    (server, store)
}

/// A session of which a part is left could be found, and ended by nobody.
#[tokio::test]
async fn f11_a_server_that_has_evicted_is_not_used_until_it_was_emptied() {
    let life = life();
    life.readiness("store").ready();
    let (server, store) = evicting(&life).await;
    let told = until(&life, Result::is_err).await.unwrap_err();
    assert!(told.contains("evicted_keys"), "{told}");
    assert!(get(&store).await.unwrap_err().contains("evicted_keys"));
    let refused = RedisStore::open(&settings(&server), &Lifecycle::new(Shutdown::default())).await.err();
    assert!(matches!(refused, Some(OpenError::Unfit { .. })), "{refused:?}");
    for command in ["FLUSHALL", "CONFIG RESETSTAT"] {
        assert_eq!(server.command(command).unwrap(), "+OK");
    }
    until(&life, Result::is_ok).await.unwrap();
    assert_eq!(get(&store).await, Ok(false));
}

/// The negative control of those before: what an evicting server does to sessions that nobody ended.
#[tokio::test]
async fn f11_an_evicting_server_loses_what_was_answered() {
    let life = life();
    let (server, store) = evicting(&life).await;
    // By hand: the store would not go on.
    assert_eq!(server.command("CONFIG RESETSTAT").unwrap(), "+OK");
    let mut lost = 0;
    for number in 1..=200 {
        loop {
            match store.find(secret(number).digest(), at(1)).await {
                Ok(found) => break lost += usize::from(found.is_none()),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
    assert!(lost > 0, "nothing was lost: the control shows nothing");
}

#[tokio::test]
async fn who_is_not_let_in_does_not_wait() {
    let server = Redis::start_with(&["requirepass right"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let open = async |password: Option<&str>| {
        let of_file = password.map(|password| private(&file, password));
        let settings = RedisSettings::new(&server.url(), of_file, PROMPT).unwrap();
        let life = life();
        RedisStore::open(&settings, &life).await.map(|store| (Arc::new(store) as Store, life))
    };
    for wrong in [None, Some("wrong")] {
        let refused = open(wrong).await.err().unwrap();
        assert!(matches!(refused, OpenError::Refused { .. }), "{refused:?}");
        let said = refused.to_string();
        assert!(said.contains("store.password_file"), "{said}");
    }
    let (store, _life) = open(Some("right")).await.unwrap();
    create(&store, login(1, "usr_1", START)).await;
    assert_eq!(get(&store).await, Ok(true));
}

/// As docs/operations.md says it.
const RIGHTS: &str = "+info +get +mget +script|load +evalsha +set +del +hget +hmget +hgetall +hkeys +hset +hdel \
    +hincrby +zadd +zrem +zrange +zrangebyscore +zrevrangebyscore +zscore +pttl +pexpire";

#[tokio::test]
async fn a_user_with_the_documented_rights_is_enough() {
    let server = Redis::start();
    let user = format!("ACL SETUSER latchkey reset on >right ~latchkey:* {RIGHTS}");
    assert_eq!(server.command(&user).unwrap(), "+OK");
    let folder = tempfile::tempdir().unwrap();
    let file = private(&folder.path().join("password"), "right");
    let url = server.url().replace("redis://", "redis://latchkey@");
    let (life, settings) = (life(), RedisSettings::new(&url, Some(file), PROMPT).unwrap());
    let store: Store = Arc::new(RedisStore::open(&settings, &life).await.unwrap());
    create(&store, login(1, "usr_1", START)).await;
    let former = Some(secret(1).digest());
    create(&store, NewSession { former, ..login(2, "usr_2", START) }).await;
    rotate(&store, 2, 2, 12, at(1)).await;
    store.record_activity(&[Activity { id: id(2), at: at(2) }]).await.unwrap();
    store.set_attributes(&id(2), 0, &attributes(&[("cart", b"3")]), at(2)).await.unwrap();
    for known in [2, 12] {
        assert_eq!(found(&store, known, at(3)).await, Some(id(2)));
    }
    let listing = Listing { subject: None, after: None, most: 10, idle_since: START, now: at(3) };
    assert_eq!(store.list(listing).await.unwrap().len(), 1);
    let refused = NewSession { proof: login(1, "usr_1", START).proof, ..login(3, "usr_1", START) };
    assert_eq!(store.create(refused).await.unwrap(), Created::ProofSpent);
    assert_eq!(store.end(Ending::One(id(2)), EndReason::Logout, at(4)).await.unwrap().len(), 1);
    let over = Sweep { now: START + LIFETIMES.absolute, idle_before: Some(at(4)), most: 100 };
    assert_eq!(store.sweep(over).await.unwrap().sessions, 2);
}

fn private(path: &std::path::Path, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_owned()
}
