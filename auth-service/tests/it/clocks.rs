//! Two replicas whose clocks differ: what ends and what begins goes by numbers that the database orders, never by time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use auth_service::app::Injected;
use chassis::clock::{Clock, SystemClock, TestClock};
use proto::auth::v1 as wire;
use servers::{Postgres, Sync};
use time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::stack::{Env, HandsOfTheTest, OTHER_PASSWORD, PASSWORD, Place, Stack, reason};

const APART: Duration = Duration::from_secs(600);
const USERS: usize = 20;
/// Of each user; a change of the password, and disabling, every other.
const ROUNDS: usize = 50;

/// After each ending every token of before is refused by both, and a login made at once, in the same second, on either is
/// good at both: 1,000 of 1,000.
#[tokio::test(flavor = "multi_thread")]
async fn j23_clocks_that_differ_by_ten_minutes_void_nothing_new_and_spare_nothing_old() {
    let server = Postgres::start(Sync::Off);
    let place = Place::new();
    let url = server.url();
    let env: Env<'_> = &[
        ("LATCHKEY__STORE__URL", &url),
        ("LATCHKEY__STORE__TIMEOUT", "20s"),
        // A token of the one that is behind must not be expired for the other: that is another matter.
        ("LATCHKEY__TOKEN__ACCESS_LIFETIME", "1h"),
        // This is about many logins of few.
        ("LATCHKEY__THROTTLE__FREE_FAILURES", "100"),
    ];
    // PostgreSQL's own clock is what forgets.
    place.clock.advance((SystemClock.now() - place.clock.now()).unsigned_abs());
    auth_service::migrate(&place.config(env)).await.unwrap();
    let ahead = Arc::new(TestClock::new(place.clock.now() + APART));
    let injected = Injected { clock: Arc::new(HandsOfTheTest(ahead)), ..place.injected() };
    let replicas = Arc::new([
        Stack::start_in(Arc::clone(&place), env).await,
        Stack::start_injected(Arc::clone(&place), env, injected).await,
    ]);
    let (_, reader) = replicas[0].create_client("reader", &["latchkey"], &[]).await.unwrap();

    let mut users = tokio::task::JoinSet::new();
    for number in 0..USERS {
        let (replicas, reader) = (Arc::clone(&replicas), reader.clone());
        users.spawn(async move {
            let name = format!("user{number}");
            let user = replicas[number % 2].register(&name, PASSWORD).await.unwrap();
            let mut password = PASSWORD;
            let mut before = replicas[number % 2].login(&name, password).await.unwrap().access_token;
            for round in 0..ROUNDS {
                let (ends, begins) = (&replicas[round % 2], &replicas[round / 2 % 2]);
                if number % 2 == 0 {
                    let new = if password == PASSWORD { OTHER_PASSWORD } else { PASSWORD };
                    ends.change_password(&name, password, new).await.unwrap();
                    password = new;
                } else {
                    for status in [wire::Status::Disabled, wire::Status::Active] {
                        let message =
                            wire::SetUserStatusRequest { id: user.id.clone(), status: status.into() };
                        ends.user_admin().set_user_status(ends.call().request(message)).await.unwrap();
                    }
                }
                let now = begins.login(&name, password).await.unwrap().access_token;
                for replica in &*replicas {
                    for (token, is_good) in [(&before, false), (&now, true)] {
                        let keys = std::slice::from_ref(&replica.place.recipient);
                        let token = token::open(token, keys).unwrap();
                        let told = replica.introspect(reader.clone(), &token).await.unwrap();
                        assert_eq!(told.active, is_good, "{name}, round {round}");
                    }
                }
                before = now;
            }
        });
    }
    while let Some(done) = users.join_next().await {
        done.unwrap();
    }
}

/// The machine's clock, so many seconds off.
#[derive(Debug, Default)]
struct Astray(AtomicI64);

impl Clock for Astray {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + time::Duration::seconds(self.0.load(Ordering::Relaxed))
    }

    fn boottime(&self) -> Duration {
        SystemClock.boottime()
    }
}

/// The window in which a spent token is answered with its successor is the database's: a replica whose clock is ahead takes no
/// repeated refresh for a theft, and one whose clock is behind, or is turned back, no theft for a repeated refresh.
#[tokio::test(flavor = "multi_thread")]
async fn f21_o10_a_spent_refresh_token_is_judged_alike_by_replicas_whose_clocks_differ() {
    const GRACE: Duration = Duration::from_secs(10);
    let server = Postgres::start(Sync::Off);
    let place = Place::new();
    let url = server.url();
    let env: Env<'_> = &[("LATCHKEY__STORE__URL", &url), ("LATCHKEY__STORE__TIMEOUT", "20s")];
    auth_service::migrate(&place.config(env)).await.unwrap();
    let start = async |seconds: i64| {
        let clock = Arc::new(Astray(seconds.into()));
        let injected = Injected { clock: Arc::clone(&clock) as _, ..place.injected() };
        (Stack::start_injected(Arc::clone(&place), env, injected).await, clock)
    };
    let right = Arc::new(start(0).await.0);
    let mut all = Vec::new();
    // How far each clock is off from the start, and from when it runs.
    for (at_first, then) in [(30, 30), (-30, -30), (600, 600), (-600, -600), (-3_600, -3_600), (0, -3_600)] {
        all.push((at_first, then, start(at_first).await));
    }
    let mut replicas = JoinSet::new();
    for (at_first, then, (astray, clock)) in all {
        let right = Arc::clone(&right);
        replicas.spawn(async move {
            let name = format!("off{at_first}and{then}");
            right.register(&name, PASSWORD).await.unwrap();
            let first = right.login(&name, PASSWORD).await.unwrap();
            let next = right.refresh(&first.refresh_token).await.unwrap();
            clock.0.store(then, Ordering::Relaxed);
            let again = astray.refresh(&first.refresh_token).await.unwrap();
            assert_eq!(again.refresh_token, next.refresh_token, "{name}");
            tokio::time::sleep(GRACE + Duration::from_secs(2)).await;
            assert_eq!(reason(astray.refresh(&first.refresh_token).await), "INVALID_GRANT", "{name}");
            assert_eq!(reason(right.refresh(&next.refresh_token).await), "INVALID_GRANT", "{name}: it lives");
        });
    }
    while let Some(done) = replicas.join_next().await {
        done.unwrap();
    }
}
