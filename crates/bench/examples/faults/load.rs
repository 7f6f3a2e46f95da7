//! The background: an open loop, so that whoever is slow is not asked less. Of 100 requests 50 are by cookie and 15 by access
//! token, 5 log in, 10 end something, 5 refresh, and 15 are hostile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep};

use crate::client::{Answer, DEADLINE, ENDING_DEADLINE, Repeat};
use crate::ledger::Op;
use crate::world::{Family, World, is_of_another, logout, refresh, revoke};

/// Within the grace window a refresh that was not answered is tried again, so often and so far apart.
const REFRESH_TRIES: usize = 6;
const REFRESH_PAUSE: Duration = Duration::from_millis(800);
const WARM: usize = 8;
/// Half the grace window: what was sent by then is judged within it, also on a machine that is slow.
pub const REFRESH_WITHIN: Duration = Duration::from_secs(5);

/// `rate` requests a second until it `is_over`; resolves when each has had its answer or has lost it. One that
/// panics ends the run.
pub async fn run(world: Arc<World>, rate: u64, is_over: Arc<AtomicBool>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1).max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut steps = JoinSet::new();
    while !is_over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let world = Arc::clone(&world);
        steps.spawn(async move {
            match world.random(100) {
                0..50 => by_session(&world).await,
                50..65 => by_token(&world).await,
                65..70 => drop(world.create().await),
                70..75 => end_session(&world).await,
                75..80 => end_family(&world).await,
                80..85 => refresh_family(&world).await,
                _ => hostile(&world).await,
            }
        });
        while let Some(ended) = steps.try_join_next() {
            ended.unwrap();
        }
    }
    while let Some(ended) = steps.join_next().await {
        ended.unwrap();
    }
}

/// Endings one after another: with the first the services make connections to each other, which they keep.
pub async fn warm(world: &World) {
    for _ in 0..WARM {
        end_session(world).await;
        end_family(world).await;
    }
}

async fn by_session(world: &World) {
    let session = {
        let pools = world.pools();
        pools.sessions.get(world.random(pools.sessions.len())).cloned()
    };
    let Some(session) = session else { return };
    let t_send = world.ledger.now();
    let request = |http: &reqwest::Client, url: &str| {
        http.get(format!("{url}/app/session/x")).header("cookie", &session.cookie)
    };
    let sent = world.clients.send(DEADLINE, Repeat::Safe, request).await;
    world.note(Op::Session, &session.id, t_send, sent, |answer, entry| {
        entry.wrong_user = is_of_another(answer, &session.owner);
    });
}

async fn by_token(world: &World) {
    let bearer = {
        let pools = world.pools();
        pools.bearers.get(world.random(pools.bearers.len())).cloned()
    };
    let Some((token, owner)) = bearer else { return };
    let t_send = world.ledger.now();
    let request =
        |http: &reqwest::Client, url: &str| http.get(format!("{url}/app/token/x")).bearer_auth(&token);
    let sent = world.clients.send(DEADLINE, Repeat::Safe, request).await;
    world.note(Op::Bearer, "", t_send, sent, |answer, entry| {
        entry.wrong_user = is_of_another(answer, &owner);
    });
}

async fn end_session(world: &World) {
    let session = {
        let mut pools = world.pools();
        // A few stay: they are what the others call with.
        if pools.sessions.len() < 10 {
            return;
        }
        let at = world.random(pools.sessions.len());
        pools.sessions.swap_remove(at)
    };
    let t_send = world.ledger.now();
    let request = |http: &reqwest::Client, url: &str| logout(http, url, &session);
    let sent = world.clients.send(DEADLINE, Repeat::NotSafe, request).await;
    let answer = world.note(Op::End, &session.id, t_send, sent, |_, _| ());
    // What may not have been ended is the audit's alone.
    let mut pools = world.pools();
    if answer.is_some_and(|answer| answer.is_acknowledged()) {
        pools.ended_sessions.push(session);
    } else {
        pools.unclear_sessions.push(session);
    }
}

fn take_family(world: &World) -> Option<Family> {
    let mut pools = world.pools();
    let at = world.random(pools.families.len());
    (at < pools.families.len()).then(|| pools.families.swap_remove(at))
}

async fn end_family(world: &World) {
    let Some(family) = take_family(world) else { return };
    let t_send = world.ledger.now();
    let request = |http: &reqwest::Client, url: &str| revoke(http, url, &family.refresh_token);
    let sent = world.clients.send(ENDING_DEADLINE, Repeat::NotSafe, request).await;
    let answer = world.note(Op::End, &family.name, t_send, sent, |_, _| ());
    let mut pools = world.pools();
    if answer.is_some_and(|answer| answer.is_acknowledged()) {
        pools.ended_families.push(family);
    } else {
        pools.unclear_families.push(family);
    }
}

/// Sometimes two at once, as two tabs would. Without a clear answer it is tried again with the same token, which must give
/// the same successor.
async fn refresh_family(world: &World) {
    let Some(mut family) = take_family(world) else { return };
    let mut successor: Option<String> = None;
    let is_pair = world.random(4) == 0;
    let first = Instant::now();
    for _ in 0..REFRESH_TRIES {
        if first.elapsed() > REFRESH_WITHIN {
            break;
        }
        let one = async { refresh_once(world, &family, successor.as_deref()).await };
        let answers = if is_pair {
            let other = async { refresh_once(world, &family, successor.as_deref()).await };
            let (one, other) = tokio::join!(one, other);
            [one, other]
        } else {
            [one.await, Refreshed::Unclear]
        };
        for answer in answers {
            match answer {
                Refreshed::To(next) => {
                    if successor.as_ref().is_some_and(|known| *known != next) {
                        world.mark_double(&family.name);
                    }
                    successor = Some(next);
                }
                // Noted; the family is gone for its user.
                Refreshed::Refused => return,
                Refreshed::Unclear => {}
            }
        }
        if let Some(refresh_token) = successor {
            family.refresh_token = refresh_token;
            world.pools().families.push(family);
            return;
        }
        sleep(REFRESH_PAUSE).await;
    }
    // Not known which of two tokens it has: nobody's any more.
}

enum Refreshed {
    To(String),
    Refused,
    Unclear,
}

async fn refresh_once(world: &World, family: &Family, known: Option<&str>) -> Refreshed {
    let t_send = world.ledger.now();
    let request = |http: &reqwest::Client, url: &str| refresh(http, url, &family.refresh_token);
    let sent = world.clients.send(DEADLINE, Repeat::NotSafe, request).await;
    let successor = |answer: &Answer| answer.json()["refresh_token"].as_str().map(str::to_owned);
    let answer = world.note(Op::Refresh, &family.name, t_send, sent, |answer, entry| {
        entry.double =
            answer.is_success() && known.is_some_and(|known| successor(answer).as_deref() != Some(known));
    });
    match answer {
        Some(answer) if answer.is_success() => successor(&answer).map_or(Refreshed::Refused, Refreshed::To),
        Some(answer) if (400..=403).contains(&answer.status) => Refreshed::Refused,
        _ => Refreshed::Unclear,
    }
}

/// One of what must not be let in.
async fn hostile(world: &World) {
    let t_send = world.ledger.now();
    let (bearer, ended_session, ended_family, foreign, expired, victim) = {
        let pools = world.pools();
        let at = |of: usize| world.random(of);
        (
            pools.bearers.get(at(pools.bearers.len())).map(|(token, _)| token.clone()).unwrap_or_default(),
            pools.ended_sessions.get(at(pools.ended_sessions.len())).cloned(),
            pools.ended_families.get(at(pools.ended_families.len())).map(|family| {
                (family.name.clone(), family.refresh_token.clone(), family.access_token.clone())
            }),
            pools.foreign_token.clone(),
            pools.expired.clone().filter(|expired| expired.from < Instant::now()),
            pools.sessions.get(at(pools.sessions.len())).cloned(),
        )
    };
    let made_up: String = (0..43).map(|_| char::from(b'a' + world.random(26) as u8)).collect();
    let by_token = |token: String| {
        move |http: &reqwest::Client, url: &str| http.get(format!("{url}/trap/token/x")).bearer_auth(&token)
    };
    let by_cookie = |cookie: String| {
        move |http: &reqwest::Client, url: &str| {
            http.get(format!("{url}/trap/session/x")).header("cookie", &cookie)
        }
    };
    let send = async |op: Op,
                      object: &str,
                      request: &(
                           dyn Fn(&reqwest::Client, &str) -> reqwest::RequestBuilder + std::marker::Sync
                       )| {
        let sent = world.clients.send(DEADLINE, Repeat::NotSafe, request).await;
        world.note(op, object, t_send, sent, |_, _| ());
    };
    match (world.random(10), ended_session, ended_family, victim) {
        (0 | 1, Some(session), ..) => send(Op::Ended, &session.id, &by_cookie(session.cookie.clone())).await,
        (2, _, Some((name, refresh_token, access_token)), _) => {
            if world.random(2) == 0 {
                send(Op::Ended, &name, &by_token(access_token)).await;
            } else {
                send(Op::Ended, &name, &move |http, url| refresh(http, url, &refresh_token)).await;
            }
        }
        (3, ..) => {
            // Of both, when there is an expired one.
            let expired = expired.filter(|_| world.random(2) == 0).map(|expired| expired.token);
            world.pools().expired_shown += u64::from(expired.is_some());
            send(Op::Hostile, "", &by_token(expired.unwrap_or(foreign))).await;
        }
        (4, ..) => send(Op::Hostile, "", &by_token(tampered(&bearer))).await,
        (5, ..) => send(Op::Hostile, "", &by_cookie(format!("latchkey-session={made_up}"))).await,
        (6, ..) => {
            send(Op::Hostile, "", &move |http, url| refresh(http, url, &format!("lkr_{made_up}"))).await
        }
        // Another site ends nobody's session.
        (7, _, _, Some(session)) => {
            let request = |http: &reqwest::Client, url: &str| {
                let request = http.post(format!("{url}/v1/logout"));
                request.header("cookie", &session.cookie).header("sec-fetch-site", "cross-site")
            };
            send(Op::Hostile, "", &request).await;
        }
        // Good, and not enough.
        (9, ..) => {
            let request = |http: &reqwest::Client, url: &str| {
                http.get(format!("{url}/trap/permission/1")).bearer_auth(&bearer)
            };
            send(Op::Hostile, "", &request).await;
        }
        (8, ..) => {
            let nothing = |http: &reqwest::Client, url: &str| http.get(format!("{url}/trap/session/x"));
            send(Op::Hostile, "", &nothing).await;
        }
        _ => send(Op::Hostile, "", &by_token(format!("a.{made_up}.c"))).await,
    }
}

/// One character of the middle is another.
pub fn tampered(token: &str) -> String {
    let middle = token.len() / 2;
    let other = |at: usize, byte: char| match (at == middle, byte) {
        (true, 'A') => 'B',
        (true, _) => 'A',
        (false, byte) => byte,
    };
    token.chars().enumerate().map(|(at, byte)| other(at, byte)).collect()
}
