use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::*;

fn life(settle: u64, drain: u64) -> Lifecycle {
    Lifecycle::new(Shutdown { settle: Duration::from_secs(settle), drain: Duration::from_secs(drain) })
}

async fn stumble() {
    panic!("a secret")
}

#[tokio::test(start_paused = true)]
async fn it_settles_then_drains_and_waits_for_work_in_flight() {
    let life = life(2, 10);
    let (ready, done) = (life.readiness("store"), Arc::new(AtomicBool::new(false)));
    ready.ready();
    assert!(life.is_ready());

    let (draining, finished) = (life.draining(), done.clone());
    let begun = Instant::now();
    life.spawn("server", async move {
        draining.cancelled().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(2), "it goes on accepting while others notice");
        tokio::time::sleep(Duration::from_secs(3)).await;
        finished.store(true, Ordering::SeqCst);
    });
    life.trigger();
    assert!(!life.is_ready(), "not ready at once");
    ready.not_ready("a while");
    ready.ready();
    assert!(!life.is_ready(), "and never again");
    assert_eq!(life.run_until_stopped().await, Exit::Clean);
    assert!(done.load(Ordering::SeqCst));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn work_that_outlasts_the_deadline_is_cut_off() {
    let life = life(0, 4);
    let begun = Instant::now();
    life.spawn_work("endless", std::future::pending());
    life.spawn_support("probes", std::future::pending::<()>());
    life.trigger();
    let exit = life.run_until_stopped().await;
    assert_eq!(exit, Exit::CutOff { tasks: 1 }, "support is not work");
    assert_eq!(exit.status(), 3);
    assert_eq!(begun.elapsed(), Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_task_that_must_run_stops_the_process_with_a_failure() {
    let life = life(5, 5);
    life.spawn("watcher", stumble());
    let exit = life.run_until_stopped().await;
    assert_eq!(exit, Exit::Failed { task: "watcher".into(), reason: "panicked".into() });
    assert_eq!(exit.status(), 1);
    assert!(!format!("{exit:?}").contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn an_early_end_or_an_error_is_a_failure_too_and_the_first_counts() {
    let life = life(0, 1);
    life.spawn("ended", async {});
    let exit = life.run_until_stopped().await;
    assert!(matches!(exit, Exit::Failed { ref task, .. } if task == "ended"), "{exit:?}");

    let life = self::life(0, 1);
    life.spawn("failed", async { Err::<(), _>("no more disk") });
    life.spawn_work("harmless", stumble());
    let exit = life.run_until_stopped().await;
    assert_eq!(exit, Exit::Failed { task: "failed".into(), reason: "no more disk".into() });
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_piece_of_work_ends_nothing_else() {
    let life = life(0, 1);
    life.spawn_work("request", stumble());
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert!(!life.is_stopping());
    life.trigger();
    assert_eq!(life.run_until_stopped().await, Exit::Clean);
}

#[tokio::test]
async fn a_thread_is_a_task_that_must_run() {
    let life = life(0, 5);
    life.spawn_thread("worker-0", || -> () { panic!("gone") }).unwrap();
    let exit = life.run_until_stopped().await;
    assert_eq!(exit, Exit::Failed { task: "worker-0".into(), reason: "panicked".into() });

    let life = self::life(0, 5);
    let draining = life.draining();
    life.spawn_thread("worker-0", move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(draining.cancelled());
    })
    .unwrap();
    life.trigger();
    assert_eq!(life.run_until_stopped().await, Exit::Clean, "draining waits for threads");
}

#[tokio::test(start_paused = true)]
async fn ended_cuts_off_without_draining() {
    let life = life(60, 60);
    let begun = Instant::now();
    life.spawn("server", std::future::pending::<()>());
    life.end();
    assert_eq!(life.run_until_stopped().await, Exit::CutOff { tasks: 1 });
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn once_ready_losing_a_condition_does_not_unready() {
    let life = life(0, 0);
    assert!(!life.is_ready(), "nothing registered is not ready");
    let (store, keys) = (life.readiness("store"), life.readiness("keys"));
    let peer = life.dependency("policy");
    store.ready();
    assert!(!life.is_ready());
    keys.ready();
    assert!(life.is_ready(), "a neighbour is not waited for");
    store.not_ready("the database is gone");
    assert!(life.is_ready());
    peer.not_ready("unreachable");
    let conditions = life.conditions();
    assert_eq!(conditions.iter().map(|c| &*c.name).collect::<Vec<_>>(), ["store", "keys", "policy"]);
    assert_eq!(conditions.first().unwrap().state, Err("the database is gone".into()));
    assert_eq!(conditions.last().unwrap().state, Err("unreachable".into()));
}
