//! F10: whatever Redis answers instead of an answer, nobody hears that something is not there.

use std::error::Error as _;

use session_service::domain::EndReason;
use session_service::store::{Activity, Ending, Listing, StoreError, Sweep};

use super::*;

/// What each operation says when it fails. Reads and writes apart: some servers still let themselves be read.
struct Said {
    reads: Vec<Result<(), StoreError>>,
    writes: Vec<Result<(), StoreError>>,
}

/// Every operation, about session 1 that is there.
async fn ask_everything(store: &Store) -> Said {
    let nothing = attributes(&[("cart", b"3")]);
    let listing = Listing { subject: None, after: None, most: 10, idle_since: START, now: at(3) };
    let is_there = |there: bool| assert!(there, "a session that is there was not found");
    let reads = vec![
        store.find(secret(1).digest(), at(3)).await.map(|found| is_there(found.is_some())),
        store.get(&id(1), at(3)).await.map(|found| is_there(found.is_some())),
        store
            .list(Listing { idle_since: START - LIFETIMES.idle, ..listing })
            .await
            .map(|found| is_there(!found.is_empty())),
    ];
    let writes = vec![
        store.create(login(900, "usr_1", at(3))).await.map(drop),
        store.rotate(rotation(1, 1, 901, at(3))).await.map(|done| is_there(done == Rotated::Done)),
        store.record_activity(&[Activity { id: id(1), at: at(4) }]).await,
        store.set_attributes(&id(1), 0, &nothing, at(3)).await.map(drop),
        store.end(Ending::One(id(1)), EndReason::Logout, at(3)).await.map(|ended| is_there(ended.len() == 1)),
        store.end(Ending::AllOf(super::super::subject("usr_1")), EndReason::Logout, at(3)).await.map(drop),
    ];
    Said { reads, writes }
}

#[track_caller]
fn all_unavailable(said: &[Result<(), StoreError>], because: &str) {
    for (position, one) in said.iter().enumerate() {
        let Err(StoreError::Unavailable(source)) = one else { panic!("{position}: {one:?}") };
        assert!(source.to_string().contains(because), "{position}: {source}");
    }
}

/// As it was before: nothing of what failed has happened.
async fn is_untouched(store: &Store) {
    let session = store.get(&id(1), at(3)).await.unwrap().unwrap();
    assert_eq!((session.last_active_at, session.attributes_version), (START, 0));
    assert_eq!(found(store, 1, at(3)).await, Some(id(1)));
    assert_eq!(found(store, 900, at(3)).await, None);
    assert_eq!(found(store, 901, at(3)).await, None);
}

async fn with_session_1(settings: &[&str]) -> (Redis, Lifecycle, Store) {
    let (server, life) = (Redis::start_with(settings), life());
    let store = shared_on(&server, &life).await;
    life.readiness("store").ready();
    create(&store, login(1, "usr_1", START)).await;
    (server, life, store)
}

fn told(server: &Redis, command: &str) {
    assert_eq!(server.command(command).unwrap(), "+OK", "{command}");
}

/// Until `said` begins what is answered to `command`.
async fn until(server: &Redis, command: &str, said: &str) {
    while !server.command(command).is_ok_and(|line| line.starts_with(said)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Until the store answers again.
async fn healed(store: &Store) {
    while store.get(&id(1), at(3)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_full_server() {
    let (server, _life, store) = with_session_1(&["maxmemory-policy noeviction"]).await;
    told(&server, "CONFIG SET maxmemory 1mb");
    until(&server, "SET full 1", "-OOM").await;
    let said = ask_everything(&store).await;
    all_unavailable(&said.writes, "OOM");
    assert!(said.reads.iter().all(Result::is_ok), "it can still be read");
    told(&server, "CONFIG SET maxmemory 0");
    is_untouched(&store).await;
}

#[tokio::test]
async fn a_server_that_cannot_write_its_file() {
    let settings = ["enable-protected-configs yes", "appendonly no", "save 3600 1"];
    let (server, _life, store) = with_session_1(&settings).await;
    told(&server, "CONFIG SET dir /proc");
    server.command("BGSAVE").unwrap();
    until(&server, "SET saved 1", "-MISCONF").await;
    let said = ask_everything(&store).await;
    all_unavailable(&said.writes, "MISCONF");
    assert!(said.reads.iter().all(Result::is_ok), "it can still be read");
    told(&server, "CONFIG SET stop-writes-on-bgsave-error no");
    is_untouched(&store).await;
}

/// A replica may hold what was ended since: it is not read either.
#[tokio::test]
async fn a_server_that_became_a_replica() {
    let (server, _life, store) = with_session_1(&[]).await;
    told(&server, "REPLICAOF 127.0.0.1 1");
    let refused = store.set_attributes(&id(1), 0, &attributes(&[]), at(1)).await.unwrap_err();
    assert!(refused.source().unwrap().to_string().contains("ReadOnly"), "{refused:?}");
    let said = ask_everything(&store).await;
    all_unavailable(&said.reads, "");
    all_unavailable(&said.writes, "");
    told(&server, "REPLICAOF NO ONE");
    healed(&store).await;
    is_untouched(&store).await;
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_noticed_by_looking() {
    let (server, life, store) = with_session_1(&[]).await;
    told(&server, "REPLICAOF 127.0.0.1 1");
    while life.conditions()[0].state.is_ok() || store.get(&id(1), at(1)).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let said = ask_everything(&store).await;
    all_unavailable(&said.reads, "is a replica");
    all_unavailable(&said.writes, "is a replica");
    told(&server, "REPLICAOF NO ONE");
    healed(&store).await;
    is_untouched(&store).await;
}

#[tokio::test]
async fn a_user_that_lacks_a_right() {
    let (server, _life, store) = with_session_1(&[]).await;
    told(&server, "ACL SETUSER default -evalsha -hmget");
    let said = ask_everything(&store).await;
    all_unavailable(&said.reads, "NoPerm");
    all_unavailable(&said.writes, "NoPerm");
    told(&server, "ACL SETUSER default +evalsha +hmget");
    is_untouched(&store).await;
    // Without a pointer nothing can be looked for; that does not mean that there is nothing.
    told(&server, "ACL SETUSER default -get");
    let said = ask_everything(&store).await;
    all_unavailable(&said.reads[..2], "NoPerm");
}

#[tokio::test]
async fn a_server_that_wants_a_password_by_now() {
    let (server, life, store) = with_session_1(&[]).await;
    told(&server, "CONFIG SET requirepass elsewhere");
    // Who is in stays in: so everybody is thrown out.
    let client = redis::Client::open(server.url().replace("//", "//:elsewhere@")).unwrap();
    let mut to = client.get_multiplexed_async_connection().await.unwrap();
    let () = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query_async(&mut to).await.unwrap();
    while life.conditions()[0].state.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let said = ask_everything(&store).await;
    all_unavailable(&said.reads, "NOAUTH");
    all_unavailable(&said.writes, "NOAUTH");
    let () = redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("").query_async(&mut to).await.unwrap();
    healed(&store).await;
    is_untouched(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_still_loads_its_file() {
    // It answers while it loads, and takes its time for each of many keys.
    let settings = ["key-load-delay 2000", "loading-process-events-interval-bytes 1024"];
    let (mut server, life, store) = with_session_1(&settings).await;
    let keys = "for n = 1, 2000 do redis.call('SET', 'other' .. n, string.rep('x', 100)) end return 1";
    assert_eq!(server.command(&format!("EVAL \"{keys}\" 0")).unwrap(), ":1");
    server.command("BGREWRITEAOF").unwrap();
    rewritten(&server).await;
    server.kill();
    let restarting = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let mut saw_loading = false;
    while !restarting.is_finished() {
        let said = store.get(&id(1), at(3)).await;
        let Err(StoreError::Unavailable(source)) = said else {
            assert!(said.unwrap().is_some(), "a session that is there was not found");
            continue;
        };
        saw_loading |= source.to_string().contains("LOADING");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(saw_loading, "the server was never seen loading");
    let _server = restarting.await.unwrap();
    healed(&store).await;
    is_untouched(&store).await;
    drop(life);
}

async fn rewritten(server: &Redis) {
    let client = redis::Client::open(server.url()).unwrap();
    let mut to = client.get_multiplexed_async_connection().await.unwrap();
    loop {
        let info: String = redis::cmd("INFO").arg("persistence").query_async(&mut to).await.unwrap();
        let busy = ["aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1"];
        if !busy.iter().any(|line| info.contains(line)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What cannot be is no session and no "not found" either.
#[tokio::test]
async fn keys_that_hold_what_cannot_be() {
    let (server, _life, store) = with_session_1(&[]).await;
    let bucket = "latchkey:{session-12}";
    let session = format!("{bucket}:session:{}", id(1));
    let corrupt =
        |said: Result<(), StoreError>| assert!(matches!(said, Err(StoreError::Corrupt(_))), "{said:?}");
    let mut to = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let bad = [
        ("origin", "{}"),
        ("origin", "usr_1"),
        ("subject", ""),
        ("last_active_at", "x"),
        ("absolute_expires_at", "9999999999999.5"),
        ("attributes_version", "-1"),
        ("attributes", "[]"),
    ];
    for (field, value) in bad {
        let good: String = redis::cmd("HGET").arg(&session).arg(field).query_async(&mut to).await.unwrap();
        let set = redis::cmd("HSET").arg(&session).arg(field).clone();
        let (): () = set.clone().arg(value).query_async(&mut to).await.unwrap();
        corrupt(store.get(&id(1), at(1)).await.map(drop));
        corrupt(store.find(secret(1).digest(), at(1)).await.map(drop));
        let (): () = set.clone().arg(good).query_async(&mut to).await.unwrap();
        assert!(store.get(&id(1), at(1)).await.unwrap().is_some(), "{field}");
        assert_eq!(found(&store, 1, at(3)).await, Some(id(1)), "{field}");
    }
    told(&server, &format!("SET latchkey:session:id:{} 99", id(1)));
    corrupt(store.get(&id(1), at(1)).await.map(drop));
    corrupt(store.end(Ending::One(id(1)), EndReason::Logout, at(1)).await.map(drop));
    told(&server, &format!("SET latchkey:session:id:{} 12", id(1)));
    // A key of another kind is a script that fails, and a login that does not happen.
    assert_eq!(server.command(&format!("DEL {bucket}:proofs")).unwrap(), ":1");
    told(&server, &format!("SET {bucket}:proofs 1"));
    let refused = store.create(login(900, "usr_1", at(3))).await.unwrap_err();
    assert!(refused.source().unwrap().to_string().contains("WRONGTYPE"), "{refused:?}");
    assert!(matches!(refused, StoreError::Unavailable(_)));
    let sweep = Sweep { now: at(0), idle_before: None, most: 10 };
    assert!(matches!(store.sweep(sweep).await, Err(StoreError::Unavailable(_))));
    assert_eq!(found(&store, 1, at(3)).await, Some(id(1)));
    assert_eq!(found(&store, 900, at(3)).await, None);
}

/// Lookups go to the server together, and are answered apart.
#[tokio::test]
async fn a_key_that_cannot_be_read_is_in_nobody_elses_way() {
    let (server, _life, store) = with_session_1(&[]).await;
    create(&store, login(2, "usr_1", START)).await;
    create(&store, login(3, "usr_1", START)).await;
    let digest: String = secret(2).digest().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let keys =
        [format!("latchkey:session:secret:{digest}"), format!("latchkey:{{session-12}}:session:{}", id(3))];
    for key in keys {
        assert_eq!(server.command(&format!("DEL {key}")).unwrap(), ":1");
        assert_eq!(server.command(&format!("LPUSH {key} 1")).unwrap(), ":1");
    }
    let find = |number| store.find(secret(number).digest(), at(1));
    let (first, second, third, nobody) = tokio::join!(find(1), find(2), find(3), find(4));
    assert_eq!(first.unwrap().unwrap().session.id, id(1));
    for said in [second, third] {
        let Err(StoreError::Unavailable(source)) = said else { panic!("{said:?}") };
        assert!(source.to_string().contains("WRONGTYPE"), "{source}");
    }
    assert!(nobody.unwrap().is_none());
}

/// What makes it cheap: Redis runs nothing, it reads.
#[tokio::test]
async fn a_current_secret_needs_no_script() {
    let (server, _life, store) = with_session_1(&[]).await;
    let mut to = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    told(&server, "CONFIG RESETSTAT");
    for number in [1, 1, 2] {
        assert_eq!(found(&store, number, at(1)).await.is_some(), number == 1);
    }
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut to).await.unwrap();
    let calls = |command: &str| info.contains(&format!("cmdstat_{command}:calls="));
    assert!(info.contains("cmdstat_get:calls=3,") && info.contains("cmdstat_hmget:calls=2,"), "{info}");
    assert!(!calls("evalsha"), "{info}");
}
