//! One conformance suite for logs, on every adapter.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "only tests use this")]

mod conformance;
mod postgres;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use latchkey_feed::{
    Wall,
    log::{Log, MemoryLog},
};

/// A log to test, and what a test may do to it behind its back.
#[async_trait]
trait Subject: Send + Sync {
    /// Another process's view of the same log.
    async fn open(&self) -> Arc<dyn Log>;
    /// The last entries are gone, as after a failover to a database that lagged, or a restored copy.
    async fn lose_tail(&self, count: usize);
}

const WALL: Wall = Wall::from_unix_millis(1_800_000_000_000);

struct InMemory(Arc<MemoryLog>);

#[async_trait]
impl Subject for InMemory {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::clone(&self.0) as Arc<dyn Log>
    }

    async fn lose_tail(&self, count: usize) {
        self.0.lose_tail(count);
    }
}

macro_rules! conformance {
    ($adapter:ident, $subject:expr) => {
        mod $adapter {
            conformance!(@ $subject, everything_comes_back_as_it_was);
            conformance!(@ $subject, overlapping_writers_leave_no_gap);
            conformance!(@ $subject, a_beat_sees_what_was_answered_before);
            conformance!(@ $subject, a_fence_is_for_ever);
            conformance!(@ $subject, a_position_is_its_number_and_its_tag);
            conformance!(@ $subject, trimming_keeps_the_newest_entry_and_the_horizon);
            conformance!(@ $subject, a_large_log_is_trimmed_and_read_whole);
            conformance!(@ $subject, members_come_and_go);
        }
    };
    (@ $subject:expr, $test:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $test() {
            crate::conformance::$test(&$subject).await;
        }
    };
}

conformance!(
    memory,
    crate::InMemory(std::sync::Arc::new(latchkey_feed::log::MemoryLog::new(|| crate::WALL)))
);
conformance!(on_postgres, crate::postgres::OnServer::new().await);
conformance!(on_sqlite, crate::sqlite::InFile::new().await);

/// What the suite runs on is what the services make.
#[test]
fn the_services_migrations_make_the_tables_that_are_tested_here() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for service in ["auth-service", "policy-service"] {
        for (migration, part) in [
            ("postgres/20261128000000_feed.sql", latchkey_feed::log::postgres::TABLES),
            ("postgres/20261129000000_expand_feed_append.sql", latchkey_feed::log::postgres::APPEND),
            ("sqlite/20261128000000_feed.sql", latchkey_feed::log::sqlite::SCHEMA),
        ] {
            let file = root.join(service).join("migrations").join(migration);
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.contains(part), "{}", file.display());
            assert!(
                part == latchkey_feed::log::postgres::TABLES || text.ends_with(part),
                "{}",
                file.display()
            );
        }
    }
}
