//! An auth-service that stands still in the middle of an append: it has sent the entry to its database, and does not hear what became
//! of it. Whoever ends the same thing elsewhere must neither be held up for ever nor be told too early.

use std::fmt;

use reqwest::{Method, RequestBuilder};
use rustix::process::Signal;
use servers::{Postgres, Sync};
use tokio::task::JoinSet;

use crate::away::{EXACT, becomes, is_refused, is_stale, with_routes};
use crate::cut_off::{apart, is_let_in, never_lets_in};
use crate::endings::ids;
use crate::stack::{Builder, PASSWORD, Stack, Tokens, client, eventually};
use crate::taken_back::{SHORT, acknowledged};

/// What every append to auth-service's log waits for.
const LOCK: &str = "SELECT pg_advisory_xact_lock('auth.feed_log'::regclass::oid::bigint)";

/// How many hold that lock, or wait for it.
fn at_the_lock(server: &Postgres, which: &str) -> u32 {
    let sql = format!(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
         WHERE locktype = 'advisory' AND objid = 'auth.feed_log'::regclass::oid AND {which}"
    );
    server.psql(&sql).parse().unwrap()
}

/// What is appended, and what is then left in the database.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Within the transaction that ends the login: its number is given, and it is not committed.
    Login,
    /// By itself: it is committed, and nobody knows.
    Token,
}

struct Ending<'a> {
    way: Way,
    stack: &'a Stack,
    administrator: &'a Tokens,
    tokens: &'a Tokens,
    jti: String,
}

impl Ending<'_> {
    /// Through the gateway that asks the auth-service of that number.
    fn request(&self, replica: usize) -> RequestBuilder {
        match self.way {
            Way::Login => {
                let url = format!("{}/v1/logout", self.stack.file.gateways[replica]);
                client().request(Method::POST, url).bearer_auth(&self.tokens.access_token)
            }
            Way::Token => {
                let url = format!("{}/v1/admin/tokens/{}", self.stack.file.internal[replica], self.jti);
                client().delete(url).bearer_auth(&self.administrator.access_token)
            }
        }
    }

    /// Where its entry is once nobody is in its way.
    fn is_half_done(&self, server: &Postgres) -> bool {
        let entries = format!("SELECT count(*) FROM auth.feed_log WHERE key = '{}'", self.jti);
        match self.way {
            Way::Login => at_the_lock(server, "granted AND state = 'idle in transaction'") == 1,
            Way::Token => server.psql(&entries) == "1",
        }
    }
}

impl fmt::Display for Ending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.way)
    }
}

/// The control is gateway-0, which hears auth-0 alone: on a route that says `stale_for` it still lets in what has ended, so it
/// would everywhere if whoever acknowledged had not waited for its lease.
#[tokio::test(flavor = "multi_thread")]
async fn an_auth_service_that_stands_still_in_the_middle_of_an_append_costs_nothing_but_time() {
    let server = Postgres::start(Sync::Off);
    let mut stack = with_routes(Builder::new().settings("auth", SHORT), &server.url()).await;
    apart(&mut stack).await;
    let gateways = stack.file.gateways.clone();
    let administrator = stack.token("admin", &stack.admin_password()).await;
    for way in [Way::Login, Way::Token] {
        let tokens = stack.token("alice", PASSWORD).await;
        is_let_in(&gateways, &tokens).await;
        // auth-1 has seen the administrator too.
        becomes(&gateways[1], EXACT, &administrator, 200).await;
        let jti = ids(&stack, &tokens).0;
        let ending = Ending { way, stack: &stack, administrator: &administrator, tokens: &tokens, jti };

        let held = server.hold(LOCK);
        let request = ending.request(0);
        let mut first = JoinSet::new();
        first.spawn(async move { request.send().await.unwrap().status() });
        eventually("the append waits", async || (at_the_lock(&server, "NOT granted") == 1).then_some(()))
            .await;
        stack.signal("auth-0", Signal::STOP);
        drop(held);
        eventually(&format!("{ending} is half done"), async || ending.is_half_done(&server).then_some(()))
            .await;
        assert!(first.try_join_next().is_none(), "{ending}: it was answered by nobody");

        eventually(&format!("{ending} is acknowledged by the other"), async || {
            acknowledged(ending.request(1).send().await.unwrap().status())
        })
        .await;
        never_lets_in(&gateways[0], &tokens).await;
        never_lets_in(&gateways[1], &tokens).await;
        is_stale(&gateways[0], &tokens).await;

        stack.signal("auth-0", Signal::CONT);
        // Whatever it was told: it was repeated, and that was acknowledged.
        acknowledged(first.join_next().await.unwrap().unwrap());
        for gateway in &gateways {
            is_refused(gateway, EXACT, &tokens, 401).await;
        }
        becomes(&gateways[0], EXACT, &administrator, 200).await;
    }
}
