//! F30, F31, F32: refresh tokens that are stolen, raced for, and ended while somebody refreshes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use rustix::process::Signal;
use serde_json::json;
use servers::{Postgres, Sync};
use tokio::time::{Instant, sleep};

use crate::client::{Asked, Care, LOGIN_DEADLINE, Repeat};
use crate::ledger::Op;
use crate::observe::{Observed, Plan, observe};
use crate::outcome::{Control, Outcome};
use crate::present::Refreshed;
use crate::stack::{Setup, Stack};
use crate::world::{Family, PASSWORD, World, refresh};

/// `refresh.grace`, and a little.
const GRACE_OVER: Duration = Duration::from_millis(10_300);
const RACERS: usize = 50;
const AT_ONCE: usize = 4;
/// Under `--gate`: families that are stolen from, families that are raced for, and rounds of [`AT_ONCE`] logouts each.
pub const STOLEN_IN_GATE: usize = 1_000;
/// As many as the catalogue asks for, and some that may be too slow to say anything.
pub const RACED_IN_GATE: usize = 210;
pub const ROUNDS_IN_GATE: usize = 1_000 / AT_ONCE;
const OTHER_PASSWORD: &str = "granite lemon window cello";

async fn two_of_everything(plan: &Plan, auth: &str) -> anyhow::Result<(Postgres, Stack)> {
    let server = Postgres::start(Sync::Off);
    let mut setup = Setup::new("2", &server.url(), &server.url())?;
    // In gate they last for longer than a token that the background calls with is good for by default.
    setup.set("auth", "[token]\naccess_lifetime = \"1h\"\n")?;
    setup.set("auth", auth)?;
    let stack = setup.start(&plan.program).await?;
    Ok((server, stack))
}

async fn families(world: &World, count: usize) -> anyhow::Result<Vec<Family>> {
    let mut families = Vec::new();
    while families.len() < count {
        let wave = (families.len()..count).take(AT_ONCE).map(|_| async {
            let owner = world.user();
            world.surely_family_of(&owner, PASSWORD).await
        });
        families.extend(join_all(wave).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
    }
    Ok(families)
}

#[derive(Default)]
struct Thefts {
    /// Both, the owner and the thief, were answered in the grace window.
    families: usize,
    /// In the grace window the thief was answered with what the owner had.
    same_in_grace: usize,
    /// After it, refused.
    refused_after: usize,
    /// Lines of the audit that say so.
    audited: usize,
}

/// F30. The control has no family that ended: the owner's and the thief's tokens must then be let in.
pub async fn replayed(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let (observed, thefts) = stolen("F30", &plan, true).await?;
    let mut outcome = Outcome::of("F30", &observed);
    outcome.nothing_lost();
    outcome.extra("families", thefts.families);
    outcome.extra("same_in_grace", thefts.same_in_grace);
    outcome.extra("refused_after", thefts.refused_after);
    outcome.extra("audited", thefts.audited);
    outcome.must("the_fault_was_felt", thefts.families > 0);
    outcome.must("same_in_grace", thefts.same_in_grace == thefts.families);
    outcome.must("refused_after", thefts.refused_after == thefts.families);
    outcome.must("audited", thefts.audited >= thefts.families);
    outcome.at_least("families", thefts.families, plan.count.unwrap_or(1));
    let (control, _) = stolen("F30-control", &plan.for_control(), false).await?;
    let let_in = control.figures.let_in;
    outcome.control = Control::judge(let_in > 0, format!("let_in:{let_in}"));
    Ok(vec![outcome])
}

async fn stolen(name: &str, plan: &Plan, is_used: bool) -> anyhow::Result<(Observed, Thefts)> {
    let (_server, mut stack) = two_of_everything(plan, "").await?;
    let mut thefts = Thefts::default();
    let observed = observe(name, &mut stack, plan, Care::Full, async |_, world| {
        let families = families(world, plan.times(plan.seconds * 2)).await?;
        let mut pairs = Vec::new();
        for stolen in families {
            // The owner rotates, the thief right after.
            let since = Instant::now();
            let owner = world.refreshes_in_grace(since, &stolen.name, &stolen.refresh_token).await;
            let thief = world.refreshes_in_grace(since, &stolen.name, &stolen.refresh_token).await;
            if let (
                Refreshed::To { refresh_token, access_token },
                Refreshed::To { refresh_token: same, access_token: thiefs },
            ) = (owner, thief)
            {
                thefts.families += 1;
                thefts.same_in_grace += usize::from(refresh_token == same);
                let owners = Family { name: stolen.name.clone(), refresh_token, access_token };
                pairs.push((stolen, owners, thiefs));
            }
        }
        sleep(GRACE_OVER).await;
        for (stolen, owners, thiefs) in &pairs {
            if is_used {
                let first = world.first_replay(&stolen.name, &stolen.refresh_token).await;
                thefts.refused_after += usize::from(first);
            }
            world.shows_family(&stolen.name, owners).await;
            world.shows_token(&stolen.name, "/trap/token/x", &stolen.access_token).await;
            world.shows_token(&stolen.name, "/trap/token/x", thiefs).await;
        }
        Ok(())
    })
    .await?;
    thefts.audited = stack.log_lines(|line| line.contains("\"THEFT\""));
    Ok((observed, thefts))
}

impl World {
    /// A spent token, presented once the grace window has closed: the answer ends its family, so it is noted as an end.
    async fn first_replay(&self, object: &str, refresh_token: &str) -> bool {
        for at in 0..20 {
            let t_send = self.ledger.now();
            let gateway = at % self.clients.replicas();
            let request = |http: &Client, url: &str| refresh(http, url, refresh_token);
            let sent = self.clients.send_to(gateway, crate::client::ENDING_DEADLINE, request).await;
            let refused = sent.as_ref().is_ok_and(|answer| answer.status == 400);
            let sent = sent.map(|mut answer| {
                // In the ledger a success: what was asked for, the end of the family, is acknowledged by the refusal.
                if refused {
                    answer.status = 204;
                }
                answer
            });
            self.note(Op::End, object, t_send, (sent, Asked::only(gateway)), |_, _| ());
            if refused {
                return true;
            }
            sleep(Duration::from_millis(200)).await;
        }
        false
    }
}

#[derive(Default)]
struct Races {
    families: usize,
    one_successor: usize,
    double: usize,
    /// Without a living token, although its client did nothing wrong.
    orphaned: usize,
    /// Not answered clearly before the grace window may have closed: these say nothing.
    too_slow: usize,
}

/// F31. The control is strict, which is known to cost a login where an answer is lost: `orphaned` must show it. A rotation
/// that reads and then writes, which would show in `double`, cannot be configured.
pub async fn raced(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let (observed, races) = race("F31", &plan, "", Races::default()).await?;
    let mut outcome = Outcome::of("F31", &observed);
    outcome.nothing_lost();
    outcome.extra("families", races.families);
    outcome.extra("racers", RACERS);
    outcome.extra("one_successor", races.one_successor);
    outcome.extra("two_successors", races.double);
    outcome.extra("orphaned", races.orphaned);
    outcome.must("two_successors", races.double == 0);
    outcome.must("orphaned", races.orphaned == 0);
    outcome.extra("too_slow", races.too_slow);
    outcome.must("one_successor", races.one_successor + races.too_slow == races.families);
    outcome.must("the_fault_was_felt", races.one_successor > 0);
    outcome.at_least("one_successor", races.one_successor, plan.count.map_or(1, |count| count - count / 20));
    outcome.control = Control::Skipped;
    if !plan.is_smoke {
        let strict = "[refresh]\ngrace = \"0s\"\n";
        let (_, control) = race("F31-control", &plan.for_control(), strict, Races::default()).await?;
        let saw =
            format!("orphaned:{}/{},two_successors:{}", control.orphaned, control.families, control.double);
        outcome.must("two_successors_when_strict", control.double == 0);
        outcome.control = Control::judge(control.orphaned > 0, saw);
    }
    Ok(vec![outcome])
}

async fn race(name: &str, plan: &Plan, auth: &str, mut races: Races) -> anyhow::Result<(Observed, Races)> {
    let is_strict = !auth.is_empty();
    let (_server, mut stack) = two_of_everything(plan, auth).await?;
    let observed = observe(name, &mut stack, plan, Care::Full, async |stack, world| {
        let families = families(world, plan.times(plan.seconds)).await?;
        races.families = families.len();
        let middle = families.len() / 2;
        for (number, family) in families.into_iter().enumerate() {
            let kill = async {
                if number == middle {
                    // While the first of them are on their way.
                    sleep(Duration::from_millis(20)).await;
                    stack.signal("auth-0", Signal::KILL)?;
                }
                anyhow::Ok(())
            };
            let racers = (0..RACERS).map(|at| {
                let gateway = at % world.clients.replicas();
                // Strict refuses all but one, and says so to those who did nothing wrong: that is what it is for.
                let op = if is_strict { Op::Wrong } else { Op::Refresh };
                world.refreshes(gateway, op, &family.name, &family.refresh_token)
            });
            let since = Instant::now();
            let (answers, killed) = tokio::join!(join_all(racers), kill);
            killed?;
            let mut successors: BTreeSet<String> = answers.into_iter().filter_map(successor).collect();
            if is_strict {
                races.double += usize::from(successors.len() > 1);
                let mut lives = false;
                for token in &successors {
                    let again = world.refreshes(0, Op::Wrong, &family.name, token).await;
                    lives |= successor(again).is_some();
                }
                races.orphaned += usize::from(!lives);
                continue;
            }
            // Whoever was not answered comes again.
            let again = world.refreshes_in_grace(since, &family.name, &family.refresh_token).await;
            let was_refused = matches!(again, Refreshed::Refused);
            let was_clear = !matches!(again, Refreshed::Unclear);
            successors.extend(successor(again));
            if successors.len() > 1 {
                races.double += 1;
                world.mark_double(&family.name);
            }
            let mut is_dead = was_refused;
            for token in &successors {
                let next = world.refreshes_in_grace(Instant::now(), &family.name, token).await;
                is_dead |= matches!(next, Refreshed::Refused);
            }
            races.orphaned += usize::from(is_dead);
            races.too_slow += usize::from(!was_clear);
            races.one_successor += usize::from(was_clear && successors.len() == 1);
        }
        stack.replaced("auth-0").await
    })
    .await?;
    Ok((observed, races))
}

fn successor(answer: Refreshed) -> Option<String> {
    match answer {
        Refreshed::To { refresh_token, .. } => Some(refresh_token),
        Refreshed::Refused | Refreshed::Unclear => None,
    }
}

#[derive(Default)]
struct Endings {
    logouts: usize,
    /// Of the refreshes that raced with a logout, those that were answered with tokens.
    refreshed_meanwhile: usize,
    passwords: usize,
    logged_in_meanwhile: usize,
}

/// F32, of logging out and refreshing, and of a new password and a login with the old. (There is no authorization code.) The
/// control is not ended by anybody: its tokens must be let in.
pub async fn ended_in_a_race(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let (observed, endings) = ended("F32", &plan, true).await?;
    let mut outcome = Outcome::of("F32", &observed);
    outcome.nothing_lost();
    outcome.extra("logouts", endings.logouts);
    outcome.extra("refreshed_meanwhile", endings.refreshed_meanwhile);
    outcome.extra("passwords", endings.passwords);
    outcome.extra("logged_in_meanwhile", endings.logged_in_meanwhile);
    let were_felt = endings.refreshed_meanwhile > 0 && endings.logged_in_meanwhile > 0;
    outcome.must("the_fault_was_felt", were_felt);
    outcome.at_least("logouts", endings.logouts, AT_ONCE * plan.count.unwrap_or(1));
    let (control, _) = ended("F32-control", &plan.for_control(), false).await?;
    let let_in = control.figures.let_in;
    outcome.control = Control::judge(let_in > 0, format!("let_in:{let_in}"));
    Ok(vec![outcome])
}

async fn ended(name: &str, plan: &Plan, is_ended: bool) -> anyhow::Result<(Observed, Endings)> {
    let (_server, mut stack) = two_of_everything(plan, "").await?;
    let mut seen = Endings::default();
    let observed = observe(name, &mut stack, plan, Care::Full, async |_, world| {
        let until = Instant::now() + Duration::from_secs(plan.seconds / 2);
        let mut number = 0;
        while plan.goes_on(number, until) {
            logout_and_refresh(world, is_ended, &mut seen).await?;
            password_and_login(world, number, is_ended, &mut seen).await?;
            number += 1;
        }
        Ok(())
    })
    .await?;
    Ok((observed, seen))
}

async fn logout_and_refresh(world: &World, is_ended: bool, seen: &mut Endings) -> anyhow::Result<()> {
    for family in families(world, AT_ONCE).await? {
        let log_out = async {
            // A different moment of the refresh each time.
            sleep(Duration::from_millis(world.random(30) as u64)).await;
            let request = |http: &Client, url: &str| {
                http.post(format!("{url}/v1/logout")).bearer_auth(&family.access_token)
            };
            !is_ended || world.ends(&family.name, request).await
        };
        let gateway = world.random(2);
        let refresh = world.refreshes(gateway, Op::Refresh, &family.name, &family.refresh_token);
        let (is_out, refreshed) = tokio::join!(log_out, refresh);
        anyhow::ensure!(is_out, "logging out is never acknowledged");
        seen.logouts += 1;
        if let Refreshed::To { refresh_token, access_token } = refreshed {
            seen.refreshed_meanwhile += 1;
            let issued = Family { name: family.name.clone(), refresh_token, access_token };
            world.shows_family(&family.name, &issued).await;
        }
        world.shows_family(&family.name, &family).await;
    }
    Ok(())
}

async fn password_and_login(
    world: &World,
    number: usize,
    is_ended: bool,
    seen: &mut Endings,
) -> anyhow::Result<()> {
    let name = format!("racer-{number}");
    world.register(&name).await?;
    let before = world.surely_family_of(&name, PASSWORD).await?;
    let object = format!("password-of-{name}");
    let change = async {
        sleep(Duration::from_millis(world.random(60) as u64)).await;
        let body = json!({ "current_password": PASSWORD, "new_password": OTHER_PASSWORD });
        let request = |http: &Client, url: &str| {
            http.post(format!("{url}/v1/password")).bearer_auth(&before.access_token).json(&body)
        };
        !is_ended || world.ends_once(&object, request).await
    };
    let login = async {
        let body = json!({ "identifier": name, "password": PASSWORD, "mode": "token" });
        let request = |http: &Client, url: &str| http.post(format!("{url}/v1/login")).json(&body);
        world.clients.send(LOGIN_DEADLINE, Repeat::NotSafe, request).await.0
    };
    let (is_changed, login) = tokio::join!(change, login);
    // Stopped halfway the old password may be gone, and with it the way to repeat: not acknowledged, so it counts on no side.
    if !is_changed {
        return Ok(());
    }
    seen.passwords += 1;
    if let Ok(answer) = login
        && let Refreshed::To { refresh_token, access_token } = crate::present::refreshed(&answer)
    {
        seen.logged_in_meanwhile += 1;
        let issued = Family { name: object.clone(), refresh_token, access_token };
        world.shows_family(&object, &issued).await;
    }
    world.shows_family(&object, &before).await;
    Ok(())
}

impl World {
    /// Asks once for the end of `object`; whether it was acknowledged.
    async fn ends_once(
        &self,
        object: &str,
        request: impl Fn(&Client, &str) -> reqwest::RequestBuilder,
    ) -> bool {
        let t_send = self.ledger.now();
        let sent = self.clients.send(crate::client::ENDING_DEADLINE, Repeat::NotSafe, request).await;
        self.note(Op::End, object, t_send, sent, |_, _| ()).is_some_and(|answer| answer.is_acknowledged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_everywhere_has_not_ended() {
        let folder = tempfile::tempdir().unwrap();
        let world = crate::client::world_of(&[202, 204], folder.path()).await.unwrap();
        let request = |http: &Client, url: &str| http.post(format!("{url}/v1/password"));
        assert!(!world.ends_once("password-of-a", request).await);
        assert!(world.ends_once("password-of-b", request).await);
    }
}
