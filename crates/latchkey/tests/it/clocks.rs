//! F21: a gateway whose wall clock is wrong, or jumps while it runs. What it believes of the time comes from its own file, by
//! libfaketime; the other processes know the right one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::away::LEASE;
use crate::memory::{Beside, listen, serve, until};
use crate::stack::{Builder, PASSWORD, Stack, eventually};
use crate::taken_back::by_token;

/// A line of its own: what is not so begins otherwise.
const HAS_LEASE: &str = "\nok: auth's feed";
const LIFE: Duration = Duration::from_secs(10);

/// Debian keeps it in a folder for each architecture.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|library| library.exists()).expect("libfaketime is not installed: run `cargo xtask setup`")
}

struct Astray {
    _process: Beside,
    url: String,
    operations: u16,
    file: PathBuf,
}

impl Astray {
    async fn gateway(stack: &Stack, name: &str, leeway: &str) -> Astray {
        let (library, file) = (library(), stack.folder().join(name));
        fs::write(&file, "+0").unwrap();
        let variables = [
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let (mut port, mut operations) = (0, 0);
        let process = serve(stack, ("gateway", "gateway-0"), &variables, |configuration| {
            port = listen(configuration, "server");
            operations = listen(configuration, "operations");
            configuration.remove("internal");
            let token = configuration.entry("token").or_insert_with(|| toml::Table::new().into());
            token.as_table_mut().unwrap().insert("leeway".to_owned(), leeway.into());
        });
        let gateway = Astray { _process: process, url: format!("http://127.0.0.1:{port}"), operations, file };
        until(operations, 200, HAS_LEASE).await;
        gateway
    }

    /// From now on it is so many seconds ahead.
    fn is(&self, ahead: &str) {
        fs::write(&self.file, ahead).unwrap();
    }

    async fn lets_in_somebody(&self, stack: &Stack) {
        eventually("a new token is let in", async || {
            let tokens = stack.token("alice", PASSWORD).await;
            (by_token(&self.url, "/app/token/x", &tokens).await.status() == 200).then_some(())
        })
        .await;
    }
}

async fn begin() -> Stack {
    let life = format!("[token]\naccess_lifetime = \"{}s\"\n", LIFE.as_secs());
    let stack = Builder::new().settings("auth", &life).start().await;
    stack.register("alice").await;
    stack
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_a_clock_within_the_leeway_changes_nothing_and_one_that_is_minutes_off_takes_no_lease() {
    let stack = begin().await;
    let gateway = Astray::gateway(&stack, "astray", "30s").await;
    for ahead in ["-30", "+30"] {
        gateway.is(ahead);
        // What it was granted before is over.
        sleep(LEASE + LEASE / 2).await;
        gateway.lets_in_somebody(&stack).await;
        until(gateway.operations, 200, HAS_LEASE).await;
    }
    gateway.is("-660");
    until(gateway.operations, 200, "not ok: auth's feed").await;
    gateway.is("+0");
    until(gateway.operations, 200, HAS_LEASE).await;
    gateway.lets_in_somebody(&stack).await;
    // Nobody is told that what was issued now has expired, while it says so nor once it has been put right.
    gateway.is("+660");
    until(gateway.operations, 200, "not ok: auth's feed").await;
    for _ in 0..3 {
        let tokens = stack.token("alice", PASSWORD).await;
        assert_eq!(by_token(&gateway.url, "/app/token/x", &tokens).await.status(), 503);
    }
    gateway.is("+0");
    until(gateway.operations, 200, HAS_LEASE).await;
    gateway.lets_in_somebody(&stack).await;
}

/// Beside it one with a leeway, which lets it in for that much longer.
#[tokio::test(flavor = "multi_thread")]
async fn f21_a_clock_that_jumps_back_an_hour_revives_nothing() {
    let stack = begin().await;
    let strict = Astray::gateway(&stack, "strict", "0s").await;
    let lenient = Astray::gateway(&stack, "lenient", "60s").await;
    let seen = eventually("it is let in", async || {
        let tokens = stack.token("alice", PASSWORD).await;
        (by_token(&strict.url, "/app/token/x", &tokens).await.status() == 200).then_some(tokens)
    })
    .await;
    let unseen = stack.token("alice", PASSWORD).await;
    let expired = Instant::now() + LIFE;
    strict.is("-3600");
    sleep_until(expired + Duration::from_secs(1)).await;
    for _ in 0..50 {
        for tokens in [&seen, &unseen] {
            let status = by_token(&strict.url, "/app/token/x", tokens).await.status().as_u16();
            assert!(matches!(status, 401 | 503), "{status}");
        }
    }
    assert_eq!(by_token(&lenient.url, "/app/token/x", &unseen).await.status(), 200);
    strict.is("+0");
    strict.lets_in_somebody(&stack).await;
}
