//! F19: signing keys that are replaced again and again, and keys that are taken away.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use servers::{Postgres, Sync};
use tokio::time::{Instant, sleep};

use crate::admin::Admin;
use crate::client::{Care, GRACE};
use crate::observe::{Observed, Plan, observe};
use crate::outcome::{Control, Outcome};
use crate::present::Refreshed;
use crate::stack::Setup;
use crate::world::{Family, PASSWORD, World};

/// A key about every 5 s: a gateway asks for keys twice in the time for which they may be kept.
const FAST: &str = "[signing]\njwks_max_age = \"2s\"\nlook_every = \"200ms\"\nannounce_for = \"2500ms\"\nrotate_every = \"4500ms\"\n";
/// Nobody can have seen a key that signs so soon.
const TOO_FAST: &str = "[signing]\njwks_max_age = \"0s\"\nlook_every = \"100ms\"\nannounce_for = \"200ms\"\nrotate_every = \"2s\"\n";
const PAUSE: Duration = Duration::from_millis(250);
/// By then every replica signs with the active key.
const SETTLED: Duration = Duration::from_millis(2_500);
const USER: &str = "user-0";

#[derive(Default)]
struct Seen {
    /// Calls with a token just issued.
    fresh: u64,
    fresh_refused: u64,
    keys: usize,
    removed: u64,
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
    outcome.must("fresh_refused", seen.fresh_refused == 0);
    outcome.must("keys_changed", seen.keys > 2 && seen.removed > 0);
    let (_, control) = run("F19-control", &plan.for_control(), TOO_FAST, false).await?;
    let refused = control.fresh_refused;
    outcome.control = Control::judge(refused > 0, format!("fresh_refused:{refused}/{}", control.fresh));
    Ok(vec![outcome])
}

async fn run(name: &str, plan: &Plan, signing: &str, removes: bool) -> anyhow::Result<(Observed, Seen)> {
    let server = Postgres::start(Sync::Off);
    let mut setup = Setup::new("2", &server.url(), &server.url())?;
    setup.set("auth", signing)?;
    let mut stack = setup.start(&plan.program).await?;
    let admin = Admin::of(&stack, GRACE).await?;
    let mut seen = Seen::default();
    let observed = observe(name, &mut stack, plan, Care::Full, async |_, world| {
        let mut family = world.surely_family_of(USER, PASSWORD).await?;
        let first = active(&admin).await?;
        let (mut signs, mut since) = (first.clone(), Instant::now());
        let until = Instant::now() + Duration::from_secs(plan.seconds / 2);
        while Instant::now() < until {
            issued_is_good(world, &mut family, &mut seen).await?;
            let now = active(&admin).await?;
            if now != signs {
                (signs, since) = (now, Instant::now());
            }
            // What the background calls with was signed by the first.
            if removes && signs != first && since.elapsed() > SETTLED {
                remove(world, &admin, &signs, &mut family, &mut seen).await?;
            }
            sleep(PAUSE).await;
        }
        let all = admin.does(Method::GET, "/v1/admin/keys", None).await?;
        seen.keys = all["keys"].as_array().map_or(0, Vec::len);
        Ok(())
    })
    .await?;
    Ok((observed, seen))
}

/// The key that signs.
async fn active(admin: &Admin) -> anyhow::Result<String> {
    let all = admin.does(Method::GET, "/v1/admin/keys", None).await?;
    let mut keys = all["keys"].as_array().into_iter().flatten();
    let key = keys.find(|key| key["state"] == "active").context("no key is active")?;
    Ok(key["kid"].as_str().context("a key without a name")?.to_owned())
}

/// A token issued now is good at every gateway.
async fn issued_is_good(world: &World, family: &mut Family, seen: &mut Seen) -> anyhow::Result<()> {
    match world.refreshes_in_grace(Instant::now(), &family.name, &family.refresh_token).await {
        Refreshed::To { refresh_token, access_token } => {
            (family.refresh_token, family.access_token) = (refresh_token, access_token);
        }
        Refreshed::Refused => anyhow::bail!("the family is gone"),
        // Not known which of two tokens it has.
        Refreshed::Unclear => *family = world.surely_family_of(USER, PASSWORD).await?,
    }
    for gateway in 0..world.clients.replicas() {
        let status = world.calls(gateway, "/app/token/x", &family.access_token, USER).await;
        seen.fresh += 1;
        seen.fresh_refused += u64::from(matches!(status, Some(400..=403)));
    }
    Ok(())
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
    if active(admin).await? != kid {
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
