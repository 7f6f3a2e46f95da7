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
    // Endings come last, and take something away.
    let (writes, endings) = said.writes.split_at(4);
    all_unavailable(writes, "OOM");
    assert!(said.reads.iter().chain(endings).all(Result::is_ok), "it can still be read, and end");
    told(&server, "CONFIG SET maxmemory 0");
    for number in [1, 900, 901] {
        assert_eq!(found(&store, number, at(3)).await, None, "{number}");
    }
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
    told(&server, "ACL SETUSER default -evalsha -mget");
    let said = ask_everything(&store).await;
    all_unavailable(&said.reads, "NoPerm");
    all_unavailable(&said.writes, "NoPerm");
    told(&server, "ACL SETUSER default +evalsha +mget");
    is_untouched(&store).await;
    // Whether there is nothing under a secret cannot be asked: that does not mean that there is nothing.
    told(&server, "ACL SETUSER default -get");
    let Err(StoreError::Unavailable(source)) = store.find(secret(900).digest(), at(3)).await else {
        panic!()
    };
    assert!(source.to_string().contains("NoPerm"), "{source}");
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

/// Where the session of secret `number` is kept.
fn secret_key(number: u64) -> Vec<u8> {
    [b"latchkey:2:{sessions-12}:secret:", secret(number).digest().as_bytes()].concat()
}

/// Nobody of the version before is told that the store is damaged: they log in again.
#[tokio::test]
async fn what_another_layout_left_is_not_found() {
    let (server, _life, store) = with_session_1(&[]).await;
    let mut to = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let kept: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut to).await.unwrap();
    for key in kept {
        let layout_1 = [b"latchkey:", key.strip_prefix(b"latchkey:2:").unwrap()].concat();
        let (): () = redis::cmd("RENAME").arg(key).arg(layout_1).query_async(&mut to).await.unwrap();
    }
    assert_eq!(found(&store, 1, at(1)).await, None);
    assert!(store.get(&id(1), at(1)).await.unwrap().is_none());
    create(&store, login(1, "usr_1", START)).await;
    assert_eq!(found(&store, 1, at(1)).await, Some(id(1)));
}

/// What cannot be is no session and no "not found" either.
#[tokio::test]
async fn keys_that_hold_what_cannot_be() {
    let (server, _life, store) = with_session_1(&[]).await;
    let shard = "latchkey:2:{sessions-12}";
    let key = secret_key(1);
    let corrupt =
        |said: Result<(), StoreError>| assert!(matches!(said, Err(StoreError::Corrupt(_))), "{said:?}");
    let mut to = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let good: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut to).await.unwrap();
    let set = redis::cmd("SET").arg(&key).clone();
    let line = good.iter().position(|byte| *byte == b'\n').unwrap();
    let (head, beginning) = (str::from_utf8(&good[..line]).unwrap(), &good[line + 1..]);
    let with_head = |head: String| [head.as_bytes(), b"\n", beginning].concat();
    let with_beginning = |beginning: &[u8]| [head.as_bytes(), b"\n", beginning].concat();
    let subject = beginning.windows(5).position(|bytes| bytes == b"usr_1").unwrap();
    // The last of what is kept is when it expires: its tag, and six bytes.
    let (rest, expires_at) = beginning.split_at(beginning.len() - 7);
    assert_eq!(expires_at[0], 9 << 3);
    let bad = [
        Vec::new(),
        b"usr_1".to_vec(),
        head[..id(1).as_str().len()].replace("ses_", "fam_").into_bytes(),
        good[..good.len() - 1].to_vec(),
        good[..40].to_vec(),
        head.as_bytes().to_vec(),
        with_beginning(b""),
        with_beginning(b"{}"),
        with_beginning(rest),
        with_beginning(&[rest, &[9 << 3], &[0xff; 9], &[1]].concat()),
        with_beginning(&[&beginning[..subject], b"usr 1", &beginning[subject + 5..]].concat()),
        with_head(head.replace(" {}", " []")),
        with_head(head.replace(" {}", "")),
        with_head(head.replace("0 {}", "-1 {}")),
        with_head(head.replace("00", "0x")),
    ];
    for bad in bad {
        assert_ne!(bad, good);
        let (): () = set.clone().arg(&bad).query_async(&mut to).await.unwrap();
        corrupt(store.get(&id(1), at(1)).await.map(drop));
        corrupt(store.find(secret(1).digest(), at(1)).await.map(drop));
        let (): () = set.clone().arg(&good).query_async(&mut to).await.unwrap();
        assert!(store.get(&id(1), at(1)).await.unwrap().is_some(), "{bad:?}");
        assert_eq!(found(&store, 1, at(3)).await, Some(id(1)), "{bad:?}");
    }
    // What transitions decide by: nothing is done by halves.
    let session = format!("{shard}:session:{}", id(1));
    for field in ["last_active_at", "absolute_expires_at"] {
        let good: String = redis::cmd("HGET").arg(&session).arg(field).query_async(&mut to).await.unwrap();
        let set = redis::cmd("HSET").arg(&session).arg(field).clone();
        let (): () = set.clone().arg("x").query_async(&mut to).await.unwrap();
        let said = store.end(Ending::AllOf(super::super::subject("usr_1")), EndReason::Logout, at(1)).await;
        assert!(matches!(said, Err(StoreError::Unavailable(_))), "{said:?}");
        let (): () = set.clone().arg(good).query_async(&mut to).await.unwrap();
        assert_eq!(found(&store, 1, at(3)).await, Some(id(1)), "{field}");
    }
    // A session of which nothing is kept under its secret is not one that is not there, and in nobody else's way.
    create(&store, login(2, "usr_1", START)).await;
    let (): () = redis::cmd("DEL").arg(&key).query_async(&mut to).await.unwrap();
    assert!(matches!(store.get(&id(1), at(1)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.rotate(rotation(1, 1, 901, at(1))).await, Err(StoreError::Unavailable(_))));
    store.record_activity(&[Activity { id: id(1), at: at(1) }]).await.unwrap();
    assert_eq!(found(&store, 1, at(3)).await, None);
    let all =
        Listing { subject: None, after: None, most: 10, idle_since: START - LIFETIMES.idle, now: at(3) };
    let listed = store.list(all).await.unwrap();
    assert_eq!(listed.iter().map(|session| &session.id).collect::<Vec<_>>(), [&id(2)]);
    let (): () = set.clone().arg(&good).query_async(&mut to).await.unwrap();
    // A key of another kind is a script that fails, and a login that does not happen.
    assert_eq!(server.command(&format!("DEL {shard}:proofs")).unwrap(), ":1");
    told(&server, &format!("SET {shard}:proofs 1"));
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
    let mut to = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let key = secret_key(2);
    let (): () = redis::cmd("DEL").arg(&key).query_async(&mut to).await.unwrap();
    let (): () = redis::cmd("LPUSH").arg(&key).arg(1).query_async(&mut to).await.unwrap();
    let (): () = redis::cmd("SET").arg(secret_key(3)).arg("1").query_async(&mut to).await.unwrap();
    let find = |number| store.find(secret(number).digest(), at(1));
    let (first, second, third, nobody) = tokio::join!(find(1), find(2), find(3), find(4));
    assert_eq!(first.unwrap().unwrap().session.id, id(1));
    let Err(StoreError::Unavailable(source)) = second else { panic!("{second:?}") };
    assert!(source.to_string().contains("WRONGTYPE"), "{source}");
    assert!(matches!(third, Err(StoreError::Corrupt(_))), "{third:?}");
    assert!(nobody.unwrap().is_none());
}

/// A server that denies a command in the middle of a change: nobody keeps a session that was ended.
#[tokio::test]
async fn what_is_half_done_is_over_with_its_ending() {
    for (denied, position) in
        [("hincrby", 0), ("zadd", 0), ("hset", 0), ("hdel", 1), ("zrem", 1), ("hset", 1)]
    {
        let (server, _life, store) = with_session_1(&[]).await;
        told(&server, &format!("ACL SETUSER default -{denied}"));
        let ended = async || store.end(Ending::One(id(1)), EndReason::Logout, at(2)).await;
        let refused = match position {
            0 => store.rotate(rotation(1, 1, 901, at(1))).await.map(drop),
            _ => ended().await.map(drop),
        };
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{denied}: {refused:?}");
        told(&server, &format!("ACL SETUSER default +{denied}"));
        ended().await.unwrap();
        for number in [1, 901] {
            assert_eq!(found(&store, number, at(3)).await, None, "{denied}, secret {number}");
        }
    }
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
    assert!(info.contains("cmdstat_mget:calls=3,") && info.contains("cmdstat_get:calls=1,"), "{info}");
    assert!(!calls("evalsha"), "{info}");
    // And those that are asked for at once it reads together.
    told(&server, "CONFIG RESETSTAT");
    let many = futures_util::future::join_all((0..100).map(|_| found(&store, 1, at(1)))).await;
    assert!(many.iter().all(Option::is_some));
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut to).await.unwrap();
    let commands: u32 = info
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_mget:calls=")?.split(',').next()?.parse().ok())
        .unwrap();
    assert!(commands <= 10, "{info}");
}
