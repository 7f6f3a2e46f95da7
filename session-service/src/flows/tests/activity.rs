//! Activity and time: what ends a session that nobody ends.

use super::*;

#[tokio::test]
async fn s05_a_session_is_idle_after_its_time_and_not_before() {
    let bench = Bench::new();
    let (session, secret) = bench.log_in("usr_1").await;
    bench.clock.advance(LIFETIMES.idle - SECOND);
    assert!(bench.sessions.get(&session.id).await.unwrap().is_some(), "looking is no activity");
    assert!(bench.is_live(&secret).await);
    bench.clock.advance(LIFETIMES.idle - SECOND);
    assert!(bench.is_live(&secret).await, "the last request counted");
    bench.clock.advance(LIFETIMES.idle + SECOND);
    assert!(!bench.is_live(&secret).await);
    assert!(bench.sessions.get(&session.id).await.unwrap().is_none());
}

#[tokio::test]
async fn s05_activity_does_not_extend_the_absolute_time() {
    let bench = Bench::new();
    let (_, secret) = bench.log_in("usr_1").await;
    let step = LIFETIMES.idle / 2;
    let mut age = Duration::ZERO;
    while age + step < LIFETIMES.absolute {
        bench.clock.advance(step);
        age += step;
        assert!(bench.is_live(&secret).await, "{age:?}");
    }
    bench.clock.advance(LIFETIMES.absolute - age - SECOND);
    assert!(bench.is_live(&secret).await);
    bench.clock.advance(2 * SECOND);
    assert!(!bench.is_live(&secret).await);
}

#[tokio::test]
async fn activity_is_seen_at_once_and_written_in_batches() {
    let bench = Bench::new();
    let (session, secret) = bench.log_in("usr_1").await;
    for _ in 0..100 {
        bench.clock.advance(SECOND);
        assert!(bench.is_live(&secret).await);
    }
    let now = START + 100 * SECOND;
    assert_eq!(bench.sessions.get(&session.id).await.unwrap().unwrap().last_active_at, now);
    assert_eq!(bench.store.activity_writes(), 0);
    assert_eq!(bench.store.get(&session.id, now).await.unwrap().unwrap().last_active_at, START);
    bench.sessions.flush_activity().await.unwrap();
    bench.sessions.flush_activity().await.unwrap();
    assert_eq!(bench.store.activity_writes(), 1, "one write for all of it");
    assert_eq!(bench.store.get(&session.id, now).await.unwrap().unwrap().last_active_at, now);
}

/// Two replicas: what was used on one a moment ago is not idle on the other, neither for a request nor for a login.
#[tokio::test]
async fn s05_activity_on_another_replica_counts() {
    let bench = Bench::new();
    let other = bench.beside();
    let live_there = async |secret| other.resolve(secret).await.unwrap().is_some();
    let (session, secret) = bench.log_in("usr_1").await;
    for _ in 0..3 {
        bench.clock.advance(LIFETIMES.idle - SECOND);
        assert!(live_there(&secret).await);
        other.write_returned().await.unwrap();
        bench.clock.advance(2 * SECOND);
        bench.log_in("usr_1").await;
        assert!(bench.is_live(&secret).await, "used two seconds ago");
        // What happens within 90 seconds.
        bench.sessions.flush_activity().await.unwrap();
    }
    // Of many that come back at once, one writes; the next ones are in the batch.
    let writes = bench.store.activity_writes();
    bench.clock.advance(LIFETIMES.idle / 2);
    for _ in 0..20 {
        assert!(live_there(&secret).await);
    }
    bench.clock.advance(SECOND);
    assert!(live_there(&secret).await);
    other.write_returned().await.unwrap();
    assert_eq!(bench.store.activity_writes(), writes + 1);
    assert!(bench.sessions.end_by_id(session.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_failed_write_of_activity_is_made_up_for() {
    let bench = Bench::new();
    let (session, secret) = bench.log_in("usr_1").await;
    bench.clock.advance(LIFETIMES.idle - SECOND);
    assert!(bench.is_live(&secret).await);
    bench.store.fail(true);
    assert!(bench.sessions.flush_activity().await.is_err());
    bench.store.fail(false);
    bench.clock.advance(10 * SECOND);
    assert!(bench.is_live(&secret).await);
    bench.sessions.flush_activity().await.unwrap();
    let written = bench.store.get(&session.id, bench.clock.now()).await.unwrap().unwrap().last_active_at;
    assert_eq!(written, bench.clock.now());
}

#[tokio::test]
async fn sessions_kept_alive_in_memory_only_are_listed_counted_and_not_swept() {
    let bench = Bench::with_limit(Limit { most: 1, at_limit: AtLimit::Refuse });
    let (session, secret) = bench.log_in("usr_1").await;
    bench.clock.advance(LIFETIMES.idle - SECOND);
    assert!(bench.is_live(&secret).await);
    bench.clock.advance(10 * SECOND);
    let login = Login { proof: &bench.proof("usr_1"), user_agent: "", client_address: "", former: None };
    assert!(matches!(bench.sessions.create(login).await.unwrap(), Creation::LimitReached));
    bench.clock.advance(LIFETIMES.idle - 20 * SECOND);
    bench.sessions.flush_activity().await.unwrap();
    bench.sessions.sweep().await.unwrap();
    let query = ListQuery { subject: None, size: PageSize::parse(0).unwrap(), after: None };
    let page = bench.sessions.list(query).await.unwrap();
    assert_eq!(page.sessions.iter().map(|one| &one.id).collect::<Vec<_>>(), [&session.id]);
}

#[tokio::test]
async fn idle_sessions_are_swept_in_the_end() {
    let bench = Bench::new();
    let (session, _) = bench.log_in("usr_1").await;
    bench.clock.advance(LIFETIMES.idle + 3 * LIFETIMES.activity_granularity());
    assert_eq!(bench.sessions.sweep().await.unwrap().sessions, 0);
    assert_eq!(bench.sessions.flush_activity().await.unwrap().sessions, 1);
    assert!(
        bench.store.get(&session.id, START).await.unwrap().is_none(),
        "not even for a clock that goes back"
    );
}
