use crate::stack::{Stack, create, not_found, refused, secs};

#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let mut stack = Stack::start().await;
    let gateway = stack.gateway();
    let (_, kept) = stack.log_in("usr_1").await;
    let (_, ended) = stack.log_in("usr_1").await;
    let (_, former) = stack.log_in("usr_1").await;
    let spent = stack.proof("usr_1");
    gateway.create(create(spent.clone())).await.unwrap();
    let rotated = gateway.rotate(&former).await.unwrap().secret;
    assert!(gateway.log_out(&ended).await.unwrap());
    stack.crash_and_start_again().await;
    let gateway = stack.gateway();
    gateway.resolve(&kept).await.unwrap();
    assert_eq!(gateway.resolve(&former).await.unwrap().current_secret, rotated, "the window is open");
    gateway.resolve(&rotated).await.unwrap();
    assert_eq!(refused(gateway.resolve(&ended).await), not_found());
    assert_eq!(refused(gateway.create(create(spent)).await).1, "PROOF_INVALID", "and spent stays spent");
    stack.clock.advance(secs(10));
    assert_eq!(refused(gateway.resolve(&former).await), not_found());
}

#[tokio::test]
async fn a_stop_loses_no_activity() {
    let mut stack = Stack::start().await;
    let (_, secret) = stack.log_in("usr_1").await;
    stack.clock.advance(secs(29 * 60));
    stack.gateway().resolve(&secret).await.unwrap();
    stack.stop_and_start_again().await;
    stack.clock.advance(secs(29 * 60));
    stack.gateway().resolve(&secret).await.unwrap();
}

/// What the documentation admits: activity that was not written is lost, and the session ends too early, never too late.
#[tokio::test]
async fn a_crash_may_lose_activity_and_nothing_else() {
    let mut stack = Stack::start().await;
    let (session, secret) = stack.log_in("usr_1").await;
    stack.clock.advance(secs(60));
    stack.gateway().resolve(&secret).await.unwrap();
    stack.crash_and_start_again().await;
    let read = stack.gateway().get(&session.id).await.unwrap();
    assert_eq!(read.last_active_at, session.last_active_at);
    stack.clock.advance(secs(29 * 60));
    assert_eq!(refused(stack.gateway().resolve(&secret).await), not_found());
}

#[tokio::test]
async fn sessions_in_memory_end_with_the_process() {
    let mut stack = Stack::start_with(&[("store.url", "memory")]).await;
    let (_, secret) = stack.log_in("usr_1").await;
    stack.gateway().resolve(&secret).await.unwrap();
    stack.stop_and_start_again().await;
    assert_eq!(refused(stack.gateway().resolve(&secret).await), not_found());
}
