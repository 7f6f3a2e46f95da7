//! A whole service on Redis, when Redis goes and comes back.

use proto::session::v1 as wire;
use servers::Redis;
use tonic::{Code, Status};

use crate::stack::{Stack, create, not_found, refused};

fn unavailable<T: std::fmt::Debug>(result: Result<T, Status>) {
    let status = result.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(chassis::status::retry_after(&status).is_some(), "says when to come back");
    for inner in ["redis", "Redis", "latchkey:", "127.0.0.1"] {
        assert!(!status.message().contains(inner), "{status:?}");
    }
}

#[tokio::test]
async fn f08_every_call_is_unavailable_without_redis_and_nobody_is_logged_out() {
    let mut server = Redis::start_with(&["appendfsync always"]);
    let stack = Stack::start_with(&[("store.url", &server.url())]).await;
    let gateway = stack.gateway();
    let (session, secret) = stack.log_in("usr_1").await;
    let (_, ended) = stack.log_in("usr_1").await;
    let (_, former) = stack.log_in("usr_2").await;
    let rotated = gateway.rotate(&former).await.unwrap().secret;
    assert!(gateway.log_out(&ended).await.unwrap());

    server.kill();
    unavailable(gateway.resolve(&secret).await);
    unavailable(gateway.rotate(&secret).await);
    unavailable(gateway.log_out(&secret).await);
    unavailable(gateway.end_others(&secret).await);
    unavailable(gateway.get(&session.id).await);
    unavailable(gateway.list(wire::ListSessionsRequest::default()).await);
    unavailable(gateway.create(create(stack.proof("usr_1"))).await);
    unavailable(gateway.end_by_id(&session.id).await);
    unavailable(gateway.end_subject("usr_1").await);
    let attributes = wire::SetAttributesRequest { id: session.id.clone(), ..Default::default() };
    unavailable(gateway.set_attributes(attributes).await);
    // What is lost is shown, and takes the process out of no balancer.
    let lost = || stack.life.conditions().into_iter().find_map(|one| one.state.err());
    while lost().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(lost().unwrap().contains("refused"));
    assert!(stack.life.is_ready());

    server.restart();
    while lost().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(gateway.resolve(&secret).await.unwrap().session.unwrap().id, session.id);
    gateway.resolve(&rotated).await.unwrap();
    assert_eq!(gateway.resolve(&former).await.unwrap().current_secret, rotated, "the window is open");
    assert_eq!(refused(gateway.resolve(&ended).await), not_found());
    assert!(gateway.log_out(&secret).await.unwrap());
}

#[tokio::test]
async fn replicas_on_one_redis_know_the_same_sessions() {
    let server = Redis::start();
    let url = server.url();
    let one = Stack::start_with(&[("store.url", &url)]).await;
    let other = Stack::start_with(&[("store.url", &url)]).await;
    let (_, secret) = one.log_in("usr_1").await;
    other.gateway().resolve(&secret).await.unwrap();
    assert!(other.gateway().log_out(&secret).await.unwrap());
    assert_eq!(refused(one.gateway().resolve(&secret).await), not_found());
}
