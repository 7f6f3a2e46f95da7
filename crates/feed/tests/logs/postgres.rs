//! The PostgreSQL adapter on a server of the test's own: what the suite needs, and what only it promises.

use std::sync::Arc;

use async_trait::async_trait;
use latchkey_feed::{
    Position,
    log::{
        Beat, Log,
        postgres::{APPEND, PostgresLog, TABLES, append_within},
    },
};
use servers::{Postgres, Sync};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    Subject,
    conformance::{member, numbered, one},
};

pub(crate) struct OnServer {
    server: Postgres,
}

impl OnServer {
    pub(crate) async fn new() -> Self {
        let server = Self { server: Postgres::start(Sync::Off) };
        for part in [TABLES, APPEND] {
            sqlx::raw_sql(part).execute(&server.pool().await).await.unwrap();
        }
        server
    }

    async fn pool(&self) -> PgPool {
        PgPoolOptions::new().max_connections(3).connect(&self.server.url()).await.unwrap()
    }
}

#[async_trait]
impl Subject for OnServer {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::new(PostgresLog::new(self.pool().await))
    }

    async fn lose_tail(&self, count: usize) {
        let lose = "DELETE FROM feed_log WHERE n > (SELECT max(n) FROM feed_log) - $1";
        sqlx::query(lose).bind(count as i64).execute(&self.pool().await).await.unwrap();
    }
}

#[tokio::test]
async fn an_entry_is_committed_with_its_callers_transaction_or_not_at_all() {
    let server = OnServer::new().await;
    let (pool, log) = (server.pool().await, server.open().await);
    for (commits, entries) in [(false, 0), (true, 1)] {
        let mut transaction = pool.begin().await.unwrap();
        let position = append_within(&mut transaction, &one(7)).await.unwrap().last;
        assert_eq!(position.number, 1);
        assert_eq!(numbered(&log.read(Position::START).await.unwrap()), []);
        if commits {
            transaction.commit().await.unwrap()
        } else {
            transaction.rollback().await.unwrap()
        }
        assert_eq!(numbered(&log.read(Position::START).await.unwrap()).len(), entries);
    }
}

/// An append that has its number, but is not committed, holds up the next: nobody sees 2 before 1.
#[tokio::test]
async fn an_append_waits_for_the_one_that_is_not_committed() {
    let server = OnServer::new().await;
    let (pool, log) = (server.pool().await, server.open().await);
    let mut first = pool.begin().await.unwrap();
    append_within(&mut first, &one(1)).await.unwrap();
    // It gives up after its lock timeout, and leaves no number behind.
    assert!(log.append(&one(2)).await.is_err());
    first.commit().await.unwrap();
    log.append(&one(3)).await.unwrap();
    assert_eq!(numbered(&log.read(Position::START).await.unwrap()), [(1, 1), (2, 3)]);
}

#[tokio::test]
async fn a_snapshot_from_before_the_lock_is_refused() {
    let server = OnServer::new().await;
    let mut transaction =
        server.pool().await.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert!(append_within(&mut transaction, &one(1)).await.is_err());
}

/// A server that was deposed, and does not know it, answers a plain SELECT from its past. What writes it cannot commit. Whoever is no member writes nothing, and is told nothing.
#[tokio::test]
async fn what_an_answer_rests_on_is_committed_as_a_write() {
    let server = OnServer::new().await;
    let (pool, log) = (server.pool().await, server.open().await);
    let writes = async || -> i64 {
        let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        sqlx::query_scalar(next).fetch_one(&pool).await.unwrap()
    };
    let before = writes().await;
    log.read(Position::START).await.unwrap();
    assert_eq!(writes().await, before + 1);
    log.members().await.unwrap();
    assert_eq!(writes().await, before + 2);

    let id = member(1).id;
    log.register(&member(1)).await.unwrap();
    let before = writes().await;
    for beats in 1..=3 {
        assert!(matches!(log.beat(id, Position::START).await.unwrap(), Beat::Current { .. }));
        assert_eq!(writes().await, before + beats);
    }
    log.fence(id).await.unwrap();
    let before = writes().await;
    for unheard in [id, member(2).id] {
        assert_eq!(log.beat(unheard, Position::START).await.unwrap(), Beat::Fenced);
    }
    assert_eq!(writes().await, before);
}

#[tokio::test]
async fn a_standby_answers_nothing() {
    let server = OnServer::new().await;
    let (id, log) = (member(1).id, server.open().await);
    log.register(&member(1)).await.unwrap();
    log.append(&one(1)).await.unwrap();
    let standby = server.server.standby(false);
    standby.follows(&server.server);
    let standby = OnServer { server: standby };
    let log = standby.open().await;
    assert!(log.members().await.is_err());
    assert!(log.beat(id, Position::START).await.is_err());
    assert!(log.read(Position::START).await.is_err());
    standby.server.promote();
    assert_eq!(log.members().await.unwrap(), [member(1)]);
    assert!(matches!(log.beat(id, Position::START).await.unwrap(), Beat::Current { .. }));
}
