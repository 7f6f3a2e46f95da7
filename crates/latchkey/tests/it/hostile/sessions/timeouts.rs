//! When sessions end by themselves, told by a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{Clock, SystemClock, TestClock};
use chassis::config::Shutdown;
use chassis::entropy::TestEntropy;
use chassis::lifecycle::Lifecycle;
use serde_json::Value;

use super::status;
use crate::stack::{Builder, PASSWORD, Stack};

/// A real stack whose session-service runs in this process, by a clock and a randomness of the test's own.
pub(super) struct Timed {
    pub(super) stack: Stack,
    clock: Arc<TestClock>,
    life: Lifecycle,
}

impl Timed {
    pub(super) async fn start(seed: u64) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        let gateway = format!("[peers.session]\nendpoints = [\"{endpoint}\"]\n");
        let stack = Builder::new().settings("gateway", &gateway).start().await;
        let clock = Arc::new(TestClock::new(SystemClock.now()));
        let life = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::from_secs(5) });
        let file = stack.state_dir().join("config/session-0.toml");
        let memory = vec![("LATCHKEY__STORE__URL".to_owned(), "memory".to_owned())];
        let config = chassis::config::load(session_service::config::DEFAULTS, Some(&file), memory).unwrap();
        let injected = session_service::Injected {
            clock: clock.clone(),
            entropy: Arc::new(TestEntropy::new(seed)),
            keys: None,
        };
        session_service::start(config, injected, &life, listener).await.unwrap();
        stack.register("alice").await;
        Self { stack, clock, life }
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.life.end();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s05_idle_and_absolute_timeout_are_the_servers() {
    const IDLE: u64 = 30 * 60;
    const ABSOLUTE: u64 = 12 * 3_600;
    let timed = Timed::start(1).await;
    let stack = &timed.stack;
    let busy = stack.session("alice", PASSWORD).await.cookie;
    let idle = stack.session("alice", PASSWORD).await.cookie;
    let nearly_idle = stack.session("alice", PASSWORD).await.cookie;
    timed.pass(IDLE - 1);
    assert_eq!(status(stack, &busy).await, 200);
    assert_eq!(status(stack, &nearly_idle).await, 200);
    timed.pass(2);
    assert_eq!(status(stack, &idle).await, 401);
    assert_eq!(status(stack, &busy).await, 200, "its activity counted");

    let mut age = IDLE + 1;
    while age + IDLE / 2 < ABSOLUTE - 1 {
        timed.pass(IDLE / 2);
        age += IDLE / 2;
        assert_eq!(status(stack, &busy).await, 200, "{age} s");
    }
    timed.pass(ABSOLUTE - 1 - age);
    assert_eq!(status(stack, &busy).await, 200, "a second before the end");
    timed.pass(2);
    assert_eq!(status(stack, &busy).await, 401, "activity extends nothing");
    let answer = stack.get("/v1/me").header("cookie", &busy).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "session_invalid");
}
