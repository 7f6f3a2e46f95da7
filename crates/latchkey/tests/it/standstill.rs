//! An auth-service that stands still in the middle of an append: its entry is committed, and it does not hear of that. Whoever ends
//! the same thing elsewhere must neither be held up for ever nor be told too early.

use reqwest::StatusCode;
use rustix::process::Signal;
use servers::{Postgres, Sync};
use tokio::task::JoinSet;

use crate::away::{EXACT, becomes, is_refused, is_stale, with_routes};
use crate::cut_off::{apart, is_let_in, never_lets_in, surely_token};
use crate::endings::ids;
use crate::stack::{Builder, Stack, Tokens, client, eventually};
use crate::taken_back::acknowledged;

/// Half of it is how long an append is waited for.
const LEASE: &str = "[feed]\nlease = \"4s\"\n";
/// What every append to auth-service's log waits for.
const LOCK: &str = "SELECT pg_advisory_xact_lock('auth.feed_log'::regclass::oid::bigint)";

/// An append that waits for that lock.
fn waits(server: &Postgres) -> bool {
    let sql = "SELECT count(*) FROM pg_locks \
               WHERE locktype = 'advisory' AND objid = 'auth.feed_log'::regclass::oid AND NOT granted";
    server.psql(sql) == "1"
}

fn is_in_the_log(server: &Postgres, jti: &str) -> bool {
    server.psql(&format!("SELECT count(*) FROM auth.feed_log WHERE key = '{jti}'")) == "1"
}

/// Ends one token, through the gateway that asks the auth-service of that number.
async fn end(gateway: String, administrator: Tokens, jti: String) -> StatusCode {
    let url = format!("{gateway}/v1/admin/tokens/{jti}");
    client().delete(url).bearer_auth(&administrator.access_token).send().await.unwrap().status()
}

/// A token that every gateway lets in, and what asked auth-0 to end it. That stands still since its append waited. `None`: on a
/// machine that is slow now the append was given up before.
async fn stopped(
    stack: &Stack,
    server: &Postgres,
    administrator: &Tokens,
) -> Option<(Tokens, String, JoinSet<StatusCode>)> {
    let tokens = surely_token(&stack.file.gateways[0]).await;
    is_let_in(&stack.file.gateways, &tokens).await;
    let jti = ids(stack, &tokens).0;
    let held = server.hold(LOCK);
    let mut first = JoinSet::new();
    first.spawn(end(stack.file.internal[0].clone(), administrator.clone(), jti.clone()));
    let mut answered = None;
    eventually("the append waits", async || {
        answered = first.try_join_next();
        (answered.is_some() || waits(server)).then_some(())
    })
    .await;
    stack.signal("auth-0", Signal::STOP);
    let waited = waits(server);
    drop(held);
    eventually("it waits no more", async || (!waits(server)).then_some(())).await;
    answered = answered.or_else(|| first.try_join_next());
    if waited && answered.is_none() && is_in_the_log(server, &jti) {
        return Some((tokens, jti, first));
    }
    stack.signal("auth-0", Signal::CONT);
    None
}

/// The control is gateway-0, which hears auth-0 alone: on a route that says `stale_for` it still lets in what has ended, so it
/// would everywhere if whoever acknowledged had not waited for its lease.
#[tokio::test(flavor = "multi_thread")]
async fn an_auth_service_that_stands_still_in_the_middle_of_an_append_costs_nothing_but_time() {
    let server = Postgres::start(Sync::Off);
    let mut stack = with_routes(Builder::new().settings("auth", LEASE), &server.url()).await;
    apart(&mut stack).await;
    let gateways = &stack.file.gateways;
    let administrator = stack.token("admin", &stack.admin_password()).await;
    becomes(&gateways[1], EXACT, &administrator, 200).await;
    let (tokens, jti, mut first) = eventually("it stands still in the middle of an append", async || {
        stopped(&stack, &server, &administrator).await
    })
    .await;

    eventually("it is acknowledged by the other", async || {
        acknowledged(end(stack.file.internal[1].clone(), administrator.clone(), jti.clone()).await)
    })
    .await;
    never_lets_in(&gateways[0], &tokens).await;
    never_lets_in(&gateways[1], &tokens).await;
    is_stale(&gateways[0], &tokens).await;

    stack.signal("auth-0", Signal::CONT);
    // Whatever it was told: it was repeated, and that was acknowledged.
    acknowledged(first.join_next().await.unwrap().unwrap());
    for gateway in gateways {
        is_refused(gateway, EXACT, &tokens, 401).await;
    }
    becomes(&gateways[0], EXACT, &administrator, 200).await;
}
