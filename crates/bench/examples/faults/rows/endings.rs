//! L03, L04: what endings promise while replicas of auth-service die. The numbers are those of the scenarios that the feed's
//! specification asks for on real processes.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;
use reqwest::Client;
use rustix::process::Signal;
use servers::{Postgres, Sync};
use tokio::time::{Instant, sleep};

use crate::client::{Care, Clients, ENDING_DEADLINE, GRACE, Repeat, SMOKE_GRACE};
use crate::crew::Crew;
use crate::figures::{Figures, Window, judge};
use crate::ledger::{Ledger, Op};
use crate::observe::{Observed, Plan, add_routes, observe};
use crate::outcome::{Control, ENOUGH_REVOKED, Outcome};
use crate::stack::Setup;
use crate::trap::Trap;
use crate::world::{Family, PASSWORD, World};

/// The default, which the README promises by.
const LEASE_MS: u64 = 5_000;
const LONGER_MS: u64 = 9_000;
/// What an ending may take where a lease must be waited out: the lease, the margin of the specification, and what the answer
/// takes.
const MARGIN_MS: u64 = 500;
const SLOW_MS: u64 = 1_000;
/// Endings that one restart of L04 meets, and its restarts under `--gate`: as many endings as a zero needs. Each of them is
/// looked at more than three times as often.
const AT_ONCE: usize = 20;
pub const RESTARTS_IN_GATE: usize = (ENOUGH_REVOKED as usize).div_ceil(AT_ONCE);
/// They are asked for so long before the kill and so long after it, at most.
const AROUND: Duration = Duration::from_millis(25);
const LOGINS_AT_ONCE: usize = 4;
/// After the answer, so often each gateway is shown what has ended, and so far apart.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(100);
/// For two leases.
const KEPT_TRIES: usize = 100;

#[derive(Default)]
struct Slow {
    endings: u64,
    slow: u64,
    slowest_ms: u64,
    /// From the kill to the moment at which the last slow ending was asked for.
    until_ms: u64,
}

/// L03. The control's lease is longer than what the row allows.
pub async fn waited_for(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let (observed, slow) = kill_and_end("L03", &plan, LEASE_MS).await?;
    let mut outcome = Outcome::of("L03", &observed);
    outcome.nothing_lost();
    outcome.extra("lease_ms", LEASE_MS);
    outcome.extra("endings", slow.endings);
    outcome.extra("slow", slow.slow);
    outcome.extra("slowest_ms", slow.slowest_ms);
    outcome.extra("slow_until_ms", slow.until_ms);
    outcome.at_most("slowest_ms", slow.slowest_ms as f64, (LEASE_MS + MARGIN_MS) as f64);
    outcome.at_most("slow_until_ms", slow.until_ms as f64, (2 * LEASE_MS + MARGIN_MS) as f64);
    let (_, control) = kill_and_end("L03-control", &plan.for_control(), LONGER_MS).await?;
    let slowest = control.slowest_ms;
    outcome.control = Control::judge(slowest > LEASE_MS + MARGIN_MS, format!("slowest_ms:{slowest}"));
    Ok(vec![outcome])
}

async fn kill_and_end(name: &str, plan: &Plan, lease_ms: u64) -> anyhow::Result<(Observed, Slow)> {
    let server = Postgres::start(Sync::Off);
    let mut setup = Setup::new("2", &server.url(), &server.url())?;
    setup.set("auth", &format!("[feed]\nlease = \"{lease_ms}ms\"\n"))?;
    let mut stack = setup.start(&plan.program).await?;
    let mut slow = Slow::default();
    let observed = observe(name, &mut stack, plan, Care::Full, async |stack, world| {
        let mut families = Vec::new();
        for _ in 0..plan.times(plan.seconds) {
            families.push(world.surely_family_of(&world.user(), PASSWORD).await?);
        }
        let killed = Instant::now();
        stack.signal("auth-0", Signal::KILL)?;
        for family in families {
            let began = Instant::now();
            anyhow::ensure!(logged_out(world, &family).await, "an ending is never acknowledged");
            let took = u64::try_from(began.elapsed().as_millis())?;
            slow.endings += 1;
            slow.slowest_ms = slow.slowest_ms.max(took);
            if took > SLOW_MS {
                slow.slow += 1;
                slow.until_ms = u64::try_from((began - killed).as_millis())?;
            }
            world.shows_family(&family.name, &family).await;
            // Over more than two leases, whatever the count.
            sleep(Duration::from_millis(3 * lease_ms / plan.times(plan.seconds) as u64)).await;
        }
        stack.replaced("auth-0").await
    })
    .await?;
    Ok((observed, slow))
}

async fn logged_out(world: &World, family: &Family) -> bool {
    let request =
        |http: &Client, url: &str| http.post(format!("{url}/v1/logout")).bearer_auth(&family.access_token);
    world.ends(&family.name, request).await
}

#[derive(Default)]
struct Moments {
    restarts: usize,
    /// Endings that were told to be repeated, or whose answer was lost.
    repeated: u64,
    /// Of the token of each round that nobody ends: gateways that let it in when the new one was ready, of so many.
    kept: u64,
    to_be_kept: u64,
}

/// One round: what ends, and what does not.
struct Round {
    families: Vec<Family>,
    stays: Family,
}

/// L04, `--count` times. In turn one of both is killed while endings are asked for, a few milliseconds before some and after
/// others, and started again at once, so that the new one takes part in endings that the old one may have begun. In the control
/// nobody asks for an end: the same tokens must be let in.
pub async fn restarted_in_the_moment(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let (figures, seen) = restart("L04", &plan, true).await?;
    let mut outcome = Outcome::new("L04", figures);
    outcome.extra("restarts", seen.restarts);
    outcome.extra("repeated", seen.repeated);
    outcome.extra("kept", format!("{}/{}", seen.kept, seen.to_be_kept));
    outcome.must("kept", seen.kept == seen.to_be_kept && seen.kept > 0);
    outcome.control = Control::Skipped;
    if !plan.is_smoke {
        let let_in = restart("L04-control", &plan.for_control(), false).await?.0.let_in;
        outcome.control = Control::judge(let_in > 0, format!("let_in:{let_in}"));
    }
    Ok(vec![outcome])
}

async fn restart(name: &str, plan: &Plan, is_ended: bool) -> anyhow::Result<(Figures, Moments)> {
    let server = Postgres::start(Sync::Off);
    let mut stack = Setup::new("2", &server.url(), &server.url())?.start(&plan.program).await?;
    std::fs::create_dir_all(&plan.folder)?;
    let trap = Trap::set().await?;
    let gateways = stack.gateways();
    add_routes(&stack.state().join("routes.toml"), &trap.routes(plan.is_open), &gateways).await?;
    let mut crew = Crew::takes_over(&mut stack, &plan.program, &[]).await?;
    let grace = if plan.is_smoke { SMOKE_GRACE } else { GRACE };
    let clients = Clients::new(&gateways, Care::Full, grace)?;
    let world = World::new(Ledger::open(&plan.folder.join(format!("{name}.jsonl")))?, clients, plan.seed);
    world.register("user-0").await?;
    let begins = world.ledger.now();
    let mut seen = Moments::default();
    let rounds = plan.times(plan.seconds / 3);
    let mut next = Some(known_everywhere(&world).await?);
    for number in 0..rounds {
        let Some(Round { families, stays }) = next.take() else { break };
        let victim = format!("auth-{}", number % 2);
        let restart = async {
            sleep(AROUND).await;
            crew.kill(&victim)?;
            crew.start(&victim)
        };
        let ends = join_all(families.iter().map(async |family| {
            sleep(Duration::from_micros(world.random(2 * AROUND.as_micros() as usize) as u64)).await;
            if is_ended { acknowledged(&world, family).await } else { Ok(0) }
        }));
        let (restarted, ended) = tokio::join!(restart, ends);
        restarted?;
        for repeated in ended {
            seen.repeated += repeated?;
        }
        let looks = async {
            for _ in 0..LOOKS {
                let shown = families.iter().map(async |family| {
                    world.shows_token(&family.name, "/trap/token/x", &family.access_token).await;
                });
                join_all(shown).await;
                sleep(PAUSE).await;
            }
            crew.is_ready(&victim).await?;
            join_all(families.iter().map(|family| world.shows_family(&family.name, family))).await;
            anyhow::Ok(())
        };
        // The next ones log in meanwhile, which takes as long.
        let log_in =
            async { Ok(if number + 1 < rounds { Some(known_everywhere(&world).await?) } else { None }) };
        ((), next) = tokio::try_join!(looks, log_in)?;
        // What nobody ended: it is not the restart that refuses.
        for gateway in 0..world.clients.replicas() {
            seen.to_be_kept += 1;
            seen.kept += u64::from(is_kept(&world, gateway, &stays).await);
        }
        seen.restarts += 1;
    }
    let ends = world.ledger.now();
    drop(crew);
    let mut figures = judge(&world.ledger.entries(), Window { begins, ends, load_ends: ends });
    figures.fail_open = trap.hits();
    figures.panics = stack.panics();
    Ok((figures, seen))
}

/// Families whose tokens every gateway has let in.
async fn known_everywhere(world: &World) -> anyhow::Result<Round> {
    let mut families = Vec::new();
    while families.len() <= AT_ONCE {
        let wave = (families.len()..=AT_ONCE).take(LOGINS_AT_ONCE);
        let wave = wave.map(|_| world.surely_family_of("user-0", PASSWORD));
        families.extend(join_all(wave).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
    }
    for family in &families {
        for gateway in 0..world.clients.replicas() {
            world.calls(gateway, "/app/token/x", &family.access_token, "user-0").await;
        }
    }
    let stays = families.pop().context("no families")?;
    Ok(Round { families, stays })
}

/// Let in, also where the gateway has to say first that it cannot tell.
async fn is_kept(world: &World, gateway: usize, stays: &Family) -> bool {
    for _ in 0..KEPT_TRIES {
        match world.calls(gateway, "/app/token/x", &stays.access_token, "user-0").await {
            Some(200) => return true,
            Some(400..=403) => return false,
            _ => sleep(PAUSE).await,
        }
    }
    false
}

/// Asked for until it is acknowledged, at any gateway. How often it was repeated.
async fn acknowledged(world: &World, family: &Family) -> anyhow::Result<u64> {
    for repeated in 0..60 {
        let t_send = world.ledger.now();
        let request = |http: &Client, url: &str| {
            http.post(format!("{url}/v1/logout")).bearer_auth(&family.access_token)
        };
        let sent = world.clients.send(ENDING_DEADLINE, Repeat::NotSafe, request).await;
        let answer = world.note(Op::End, &family.name, t_send, sent, |_, _| ());
        if answer.is_some_and(|answer| answer.is_acknowledged()) {
            return Ok(repeated);
        }
        sleep(PAUSE).await;
    }
    anyhow::bail!("an ending is never acknowledged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_everywhere_is_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let world = crate::client::world_of(&[202, 204], folder.path()).await.unwrap();
        let [name, refresh_token, access_token] = ["family-0", "", ""].map(str::to_owned);
        let family = Family { name, refresh_token, access_token };
        assert_eq!(acknowledged(&world, &family).await.unwrap(), 1);
    }
}
