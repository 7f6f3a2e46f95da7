//! Two session-services, of which one alone is cut off from Redis, or dies with lookups under way.

use futures_util::future::select_all;
use reqwest::StatusCode;
use rustix::process::Signal;
use servers::Redis;

use crate::cable::Cable;
use crate::stack::{Browser, Builder, PASSWORD, Stack, client, eventually};

async fn two(builder: Builder) -> (Stack, Browser) {
    // Each thread of a gateway finds out by itself whom it calls.
    let builder = builder.arguments(&["--replicas", "session=2"]).settings("gateway", "workers = 1\n");
    let stack = builder.start().await;
    stack.register("alice").await;
    let browser = stack.session("alice", PASSWORD).await;
    (stack, browser)
}

async fn look_up(stack: &Stack, browser: &Browser) -> StatusCode {
    stack.get("/app/session/x").header("cookie", &browser.cookie).send().await.unwrap().status()
}

/// Lookups that a session-service has answered, and those of them that it found.
async fn answered(stack: &Stack, process: &str) -> (u64, u64) {
    let metrics = stack.metrics(process).await;
    let lookups = metrics.lines().filter(|line| {
        line.starts_with("latchkey_session_rpcs_total") && line.contains("SessionService/ResolveSession\"")
    });
    lookups.fold((0, 0), |(all, found), line| {
        let count = line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        (all + count, if line.contains("code=\"OK\"") { found + count } else { found })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_alone_loses_redis_gets_hardly_a_lookup_until_it_is_back() {
    let mut redis = Redis::start();
    let builder = Builder::new().arguments(&["--sessions", &redis.url()]);
    let (mut stack, browser) = two(builder.settings("session", "[store]\ntimeout = \"1s\"\n")).await;
    let mut cable = Cable::new();
    let url = cable.through(&format!("redis://127.0.0.1:{}", redis.port())).await;
    stack.reconfigure("session-1", |table| table["store"]["url"] = url.into()).await;
    let takes_part = async |stack: &Stack| {
        let (_, before) = answered(stack, "session-1").await;
        eventually("it takes part", async || {
            look_up(stack, &browser).await;
            (answered(stack, "session-1").await.1 > before).then_some(())
        })
        .await;
    };
    takes_part(&stack).await;

    cable.cut();
    eventually("it knows that Redis is away", async || {
        look_up(&stack, &browser).await;
        let readyz = client().get(format!("{}/readyz?verbose", stack.file.operations["session-1"]));
        readyz.send().await.unwrap().text().await.unwrap().contains("not ok: store").then_some(())
    })
    .await;
    // Until it was slow long enough ago to be asked like the other.
    let known = answered(&stack, "session-1").await.0;
    eventually("it answers at once", async || {
        assert_eq!(look_up(&stack, &browser).await, StatusCode::OK);
        (answered(&stack, "session-1").await.0 > known).then_some(())
    })
    .await;
    let before = [answered(&stack, "session-0").await.0, answered(&stack, "session-1").await.0];
    for _ in 0..100 {
        assert_eq!(look_up(&stack, &browser).await, StatusCode::OK);
    }
    assert!(answered(&stack, "session-0").await.0 - before[0] >= 100, "each lookup has asked");
    let at_it = answered(&stack, "session-1").await.0 - before[1];
    assert!(at_it <= 20, "{at_it} of 100");
    cable.mend();
    takes_part(&stack).await;

    let pids = stack.file.pids.clone();
    redis.kill();
    for _ in 0..20 {
        assert_eq!(look_up(&stack, &browser).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    redis.restart();
    eventually("lookups are answered again", async || {
        (look_up(&stack, &browser).await == StatusCode::OK).then_some(())
    })
    .await;
    assert_eq!(stack.file.pids, pids);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_with_lookups_under_way_fails_none() {
    let (stack, browser) = two(Builder::new()).await;
    for _ in 0..10 {
        assert_eq!(look_up(&stack, &browser).await, StatusCode::OK);
    }
    stack.signal("session-1", Signal::STOP);
    // Those that are done before it dies were at the other.
    let mut under_way: Vec<_> = (0..16).map(|_| Box::pin(look_up(&stack, &browser))).collect();
    for _ in 0..4 {
        let (status, _, rest) = select_all(under_way).await;
        assert_eq!(status, StatusCode::OK);
        under_way = rest;
    }
    stack.kill("session-1");
    for lookup in under_way {
        assert_eq!(lookup.await, StatusCode::OK);
    }
}
