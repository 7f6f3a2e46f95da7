//! An auth-service that stands still between the append of an ending and its commit. The transaction is its own, and holds the lock
//! that every append waits for until PostgreSQL ends it.

use reqwest::StatusCode;
use rustix::process::Signal;
use servers::Postgres;
use tokio::task::JoinSet;

use crate::stack::{Stack, Tokens, eventually};
use crate::taken_back::log_out;

const LOCK: &str = "SELECT pg_advisory_xact_lock('auth.feed_log'::regclass::oid::bigint)";
/// Of connections whose last statement is an append.
const APPENDS: &str = "SELECT concat_ws(' ', state, wait_event) FROM pg_stat_activity \
                       WHERE query LIKE 'SELECT n, tag_before FROM feed_append_after%' AND state <> 'idle'";
const WAITS: &str = "active advisory";
const IS_OPEN: &str = "idle in transaction ClientRead";

/// Whether something was appended and is not committed, because nothing is heard of who is to commit it.
pub fn is_open(server: &Postgres) -> bool {
    server.psql(APPENDS) == IS_OPEN
}

/// Asks auth-0, which gateway-0 knows alone, to log out, and stops it before it commits that. `None`: on a machine that is slow
/// now it had given up before.
pub async fn stopped(stack: &Stack, server: &Postgres, ends: &Tokens) -> Option<JoinSet<StatusCode>> {
    let held = server.hold(LOCK);
    let (gateway, its, mut asks) = (stack.file.gateways[0].clone(), ends.clone(), JoinSet::new());
    asks.spawn(async move { log_out(&gateway, &its).await.status() });
    let mut is_answered = false;
    eventually("its append waits", async || {
        is_answered = asks.try_join_next().is_some();
        (is_answered || server.psql(APPENDS) == WAITS).then_some(())
    })
    .await;
    stack.signal("auth-0", Signal::STOP);
    drop(held);
    eventually("it is appended", async || (!server.psql(APPENDS).starts_with("active")).then_some(())).await;
    if !is_answered && is_open(server) {
        return Some(asks);
    }
    stack.signal("auth-0", Signal::CONT);
    None
}
