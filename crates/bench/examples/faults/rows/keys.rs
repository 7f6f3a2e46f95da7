//! F19: signing keys that are replaced again and again, keys that are taken away, and one that is gone.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use rustix::process::Signal;
use servers::{Postgres, Sync};
use tokio::time::{Instant, sleep, sleep_until};

use crate::admin::Admin;
use crate::client::{Care, GRACE};
use crate::observe::{Observed, Plan, observe};
use crate::outcome::{Control, Outcome};
use crate::present::Refreshed;
use crate::stack::{Setup, Stack};
use crate::world::{Family, PASSWORD, World};

/// A key about every 5 s: a gateway asks for keys twice in the time for which they may be kept.
const FAST: &str = "[signing]\njwks_max_age = \"2s\"\nlook_every = \"200ms\"\nannounce_for = \"2500ms\"\nrotate_every = \"4500ms\"\n";
/// Nobody can have seen a key that signs so soon.
const TOO_FAST: &str = "[signing]\njwks_max_age = \"0s\"\nlook_every = \"100ms\"\nannounce_for = \"200ms\"\nrotate_every = \"2s\"\n";
/// How often a gateway asks for the keys by itself, under [`FAST`]: twice in `jwks_max_age`.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// Of key sets that a change of key may make a gateway ask for out of turn.
const OUT_OF_TURN: u64 = 2;
/// Half of it is the fault: twelve keys, one about every 5 s.
pub const SECONDS_IN_GATE: u64 = 120;
const SECONDS_A_ROTATION: u64 = 5;
/// So far apart keys are taken away, on average.
const SECONDS_A_REMOVAL: u64 = 20;
const PAUSE: Duration = Duration::from_millis(250);
/// Tokens are issued and shown while a gateway starts that has no key yet.
const COLD_ROUNDS: usize = 40;
const COLD_PAUSE: Duration = Duration::from_millis(50);
/// Issued and shown once that gateway says that it is ready.
const COLD_TOKENS: u64 = 10;
/// How often each gateway is shown the token whose key is gone.
const LOOKS: usize = 10;
/// By then every replica signs with the active key.
const SETTLED: Duration = Duration::from_millis(2_500);
const GONE_WITHIN: Duration = Duration::from_secs(20);
const USER: &str = "user-0";

#[derive(Default)]
struct Seen {
    /// Calls with a token just issued.
    fresh: u64,
    fresh_refused: u64,
    keys: usize,
    /// How often another key began to sign, the one after a key that was taken away among them.
    rotations: u64,
    removed: u64,
    /// Key sets that the gateway asked for that was there all the time, and how many it asks for in that time by itself.
    fetches: u64,
    fetches_by_itself: u64,
    /// A gateway that began anew, with no key in memory, was ready: fresh tokens that it was shown from then on, and of these
    /// those that it let in.
    cold_shown: u64,
    cold_let_in: u64,
    /// How often the token was shown that had expired and whose key was gone.
    gone_shown: usize,
}

impl Seen {
    fn by_schedule(&self) -> u64 {
        self.rotations.saturating_sub(self.removed)
    }
}

/// The control announces keys for less time than gateways may keep the key set.
pub async fn rotated(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let (observed, seen) = run("F19", &plan, FAST, true).await?;
    let mut outcome = Outcome::of("F19", &observed);
    outcome.nothing_lost();
    outcome.extra("fresh_tokens", seen.fresh);
    outcome.extra("fresh_refused", seen.fresh_refused);
    outcome.extra("keys", seen.keys);
    outcome.extra("removed", seen.removed);
    outcome.extra("rotations", seen.rotations);
    outcome.extra("jwks_fetches", format!("{}/{}", seen.fetches, seen.fetches_by_itself));
    outcome.extra("cold", format!("{}/{}", seen.cold_let_in, seen.cold_shown));
    outcome.extra("gone_shown", seen.gone_shown);
    outcome.must("fresh_refused", seen.fresh_refused == 0);
    outcome.extra("by_schedule", seen.by_schedule());
    outcome.must("keys_changed", seen.by_schedule() > 0 && seen.removed > 0);
    let by_schedule = usize::try_from(seen.by_schedule())?;
    outcome.at_least("by_schedule", by_schedule, usize::try_from(rotations(&plan))?);
    outcome.must("cold", seen.cold_let_in == COLD_TOKENS);
    outcome.must("gone_shown", seen.gone_shown > 0 || !observed.is_whole);
    let out_of_turn = seen.fetches.saturating_sub(seen.fetches_by_itself);
    outcome.must("jwks_fetches", out_of_turn <= OUT_OF_TURN * seen.rotations);
    let (_, control) = run("F19-control", &plan.for_control(), TOO_FAST, false).await?;
    let refused = control.fresh_refused;
    outcome.control = Control::judge(refused > 0, format!("fresh_refused:{refused}/{}", control.fresh));
    Ok(vec![outcome])
}

/// How many there must be by schedule at least.
fn rotations(plan: &Plan) -> u64 {
    plan.seconds / 2 / SECONDS_A_ROTATION
}

async fn run(name: &str, plan: &Plan, signing: &str, removes: bool) -> anyhow::Result<(Observed, Seen)> {
    let server = Postgres::start(Sync::Off);
    let mut setup = Setup::new("2", &server.url(), &server.url())?;
    setup.set("auth", signing)?;
    let mut stack = setup.start(&plan.program).await?;
    let admin = Admin::of(&stack, GRACE).await?;
    let mut seen = Seen::default();
    let observed = observe(name, &mut stack, plan, Care::Full, async |stack, world| {
        let (asked_before, began) = (fetches(stack).await?, Instant::now());
        let mut family = world.surely_family_of(USER, PASSWORD).await?;
        let first = admin.active_key().await?;
        let (mut signs, mut since) = (first.clone(), Instant::now());
        let time = Duration::from_secs(plan.seconds / 2);
        // As many as there must be, also on a machine that is slow, which must not take more than twice as long.
        let (until, at_last) = (began + time, began + 2 * time);
        let goes_on = |seen: &Seen| match Instant::now() {
            now if now < until => true,
            now => seen.by_schedule() < rotations(plan) && now < at_last,
        };
        while goes_on(&seen) {
            issued_is_good(world, &mut family, &mut seen).await?;
            let now = admin.active_key().await?;
            if now != signs {
                (signs, since) = (now, Instant::now());
                seen.rotations += 1;
            }
            if seen.cold_shown == 0 && began.elapsed() > time / 3 {
                stack.signal("gateway-1", Signal::TERM)?;
                let issuing = async {
                    for _ in 0..COLD_ROUNDS {
                        issued_is_good(world, &mut family, &mut seen).await?;
                        sleep(COLD_PAUSE).await;
                    }
                    anyhow::Ok(())
                };
                tokio::try_join!(stack.replaced("gateway-1"), issuing)?;
                for _ in 0..COLD_TOKENS {
                    let token = issued(world, &mut family).await?;
                    seen.cold_shown += 1;
                    let status = world.calls(1, "/app/token/x", token, USER).await;
                    seen.cold_let_in += u64::from(status == Some(200));
                }
            }
            // What the background calls with was signed by the first.
            let may_remove = removes && seen.removed * SECONDS_A_REMOVAL <= began.elapsed().as_secs();
            if may_remove && signs != first && since.elapsed() > SETTLED {
                remove(world, &admin, &signs, &mut family, &mut seen).await?;
            }
            sleep(PAUSE).await;
        }
        seen.keys = admin.keys().await?.len();
        seen.fetches = fetches(stack).await? - asked_before;
        seen.fetches_by_itself = began.elapsed().as_secs() / ASKED_EVERY.as_secs() + 1;
        // Last: a gateway asks for keys out of turn when it is shown one that it does not know.
        if removes {
            seen.gone_shown = is_gone(world, &admin, &server).await?;
        }
        Ok(())
    })
    .await?;
    Ok((observed, seen))
}

/// How many key sets the first gateway has asked for.
async fn fetches(stack: &Stack) -> anyhow::Result<u64> {
    let url =
        stack.file.operations.get("gateway-0").context("a gateway without an address for operations")?;
    let text = crate::client::http()?.get(format!("{url}/metrics")).send().await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix("latchkey_gateway_key_fetches_total"));
    let number = line.and_then(|line| line.split_whitespace().last()).context("no such metric")?;
    Ok(number.parse::<f64>()? as u64)
}

/// A token issued now is good at every gateway.
async fn issued_is_good(world: &World, family: &mut Family, seen: &mut Seen) -> anyhow::Result<()> {
    let token = issued(world, family).await?;
    for gateway in 0..world.clients.replicas() {
        let status = world.calls(gateway, "/app/token/x", token, USER).await;
        seen.fresh += 1;
        seen.fresh_refused += u64::from(matches!(status, Some(400..=403)));
    }
    Ok(())
}

async fn issued<'a>(world: &World, family: &'a mut Family) -> anyhow::Result<&'a str> {
    match world.refreshes_in_grace(Instant::now(), &family.name, &family.refresh_token).await {
        Refreshed::To { refresh_token, access_token } => {
            (family.refresh_token, family.access_token) = (refresh_token, access_token);
        }
        Refreshed::Refused => anyhow::bail!("the family is gone"),
        // Not known which of two tokens it has.
        Refreshed::Unclear => *family = world.surely_family_of(USER, PASSWORD).await?,
    }
    Ok(&family.access_token)
}

/// The active key is in other hands: nothing that it signed is let in from the answer on, and everybody else goes on.
async fn remove(
    world: &World,
    admin: &Admin,
    kid: &str,
    family: &mut Family,
    seen: &mut Seen,
) -> anyhow::Result<()> {
    issued_is_good(world, family, seen).await?;
    if admin.active_key().await? != kid {
        return Ok(());
    }
    let (signed, object) = (family.access_token.clone(), format!("key-{kid}"));
    admin.ends(world, &object, Method::DELETE, &format!("/v1/admin/keys/{kid}"), None).await?;
    seen.removed += 1;
    world.shows_token(&object, "/trap/token/x", &signed).await;
    for _ in 0..8 {
        issued_is_good(world, family, seen).await?;
        sleep(PAUSE).await;
    }
    world.shows_token(&object, "/trap/token/x", &signed).await;
    Ok(())
}

/// The key that signed the token that has expired is taken out of the key set, and the token is shown. A key stays there for
/// eleven minutes and the life of a token after it has signed its last: no row lasts so long, so its time is brought forward
/// in the database, and auth-service does the rest. How often it was shown; where there is no such token, never.
async fn is_gone(world: &World, admin: &Admin, server: &Postgres) -> anyhow::Result<usize> {
    let Some(expired) = world.pools().expired.clone() else { return Ok(0) };
    sleep_until(expired.from).await;
    anyhow::ensure!(admin.active_key().await? != expired.kid, "the first key signs to the end");
    // What the background calls with may have been signed by it.
    let owners: Vec<String> = world.pools().bearers.iter().map(|(_, owner)| owner.clone()).collect();
    let mut bearers = Vec::new();
    for owner in owners {
        bearers.push((world.surely_family_of(&owner, PASSWORD).await?.access_token, owner));
    }
    world.pools().bearers = bearers;
    sleep(SETTLED).await;
    let sql = format!(
        "UPDATE auth.signing_keys SET moment = 0 WHERE kid = '{}' AND state = 'retiring' RETURNING kid",
        expired.kid
    );
    anyhow::ensure!(server.psql(&sql).contains(&expired.kid), "the first key does not retire");
    let until = Instant::now() + GONE_WITHIN;
    while admin.keys().await?.iter().any(|(kid, state)| *kid == expired.kid && state != "gone") {
        anyhow::ensure!(Instant::now() < until, "the first key does not go");
        sleep(PAUSE).await;
    }
    // By then every gateway has asked for keys again.
    sleep(2 * ASKED_EVERY).await;
    for _ in 0..LOOKS {
        world.shows_token("", "/trap/token/x", &expired.token).await;
    }
    Ok(LOOKS * world.clients.replicas())
}
