//! F21: gateways and auth-services whose wall clocks are half a minute off, those of each pair in opposite directions. Nobody
//! must notice, and what has expired must not be let in for longer: whoever is behind goes by the time that the feed tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use servers::{Postgres, Sync};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::admin::Admin;
use crate::client::{Asked, Care, Clients, DEADLINE, GRACE};
use crate::crew::Crew;
use crate::figures::{Figures, Window, judge};
use crate::ledger::{Ledger, Op};
use crate::load;
use crate::observe::{Plan, add_routes};
use crate::outcome::{Control, ENOUGH_HOSTILE, Outcome};
use crate::stack::Setup;
use crate::trap::Trap;
use crate::world::{Application, World, foreign_token};

const CLOCKS: [(&str, &str); 4] =
    [("gateway-0", "-30"), ("gateway-1", "+30"), ("auth-0", "-30"), ("auth-1", "+30")];
/// By how much they are off.
const APART: Duration = Duration::from_secs(30);
/// The default, and the most that there can be, which is the control's.
const LEEWAY: Duration = Duration::from_secs(30);
const LENIENT: Duration = Duration::from_secs(60);
/// Logins that are turned away because others are hashed, as in every row.
const TURNED_AWAY_PCT: f64 = 0.1;
/// A token counts in whole seconds, and an answer takes its time.
const MARGIN: Duration = Duration::from_secs(1);
/// Tokens that expire, and how often each gateway is shown each of them once they have.
const TOKENS: usize = 160;
const LOOKS: usize = 20;
const AT_ONCE: usize = 8;
/// What the background calls with was issued so long before it begins, at most.
const BEFORE: u64 = 45;
/// A life for the control, which has no background.
const SHORT: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Seen {
    figures: Figures,
    /// Calls with a token just issued, and those of them that were not let in.
    fresh: usize,
    fresh_unserved: usize,
    /// How often the gateway that is behind was shown a token past its leeway, which by its own clock alone it would let in.
    expired: usize,
    /// Processes that were not ready when the load was over: one that finds its clock wrong has no lease.
    not_ready: usize,
}

pub async fn astray(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let life = Duration::from_secs(plan.seconds + BEFORE);
    let seen = run("F21", &plan, life, LEEWAY, true).await?;
    let mut outcome = Outcome::of_background("F21", seen.figures);
    outcome.nothing_lost();
    outcome.extra("fresh_unserved", format!("{}/{}", seen.fresh_unserved, seen.fresh));
    outcome.extra("expired", seen.expired);
    outcome.extra("not_ready", seen.not_ready);
    outcome.must("fresh_unserved", seen.fresh_unserved == 0 && seen.fresh > 0);
    outcome.must("not_ready", seen.not_ready == 0);
    outcome.at_most("err_pct", outcome.err_pct(), TURNED_AWAY_PCT);
    outcome.at_least("expired", seen.expired, ENOUGH_HOSTILE as usize);
    let control = run("F21-control", &plan.for_control(), SHORT, LENIENT, false).await?.figures.let_in;
    outcome.control = Control::judge(control > 0, format!("let_in:{control}"));
    Ok(vec![outcome])
}

async fn run(
    name: &str,
    plan: &Plan,
    life: Duration,
    leeway: Duration,
    has_background: bool,
) -> anyhow::Result<Seen> {
    let server = Postgres::start(Sync::Off);
    let mut setup = Setup::new("2", &server.url(), &server.url())?;
    setup.set("auth", &format!("[token]\naccess_lifetime = \"{}s\"\n", life.as_secs()))?;
    setup.set("gateway", &format!("[token]\nleeway = \"{}s\"\n", leeway.as_secs()))?;
    let mut stack = setup.start(&plan.program).await?;
    std::fs::create_dir_all(&plan.folder)?;
    let trap = Trap::set().await?;
    let gateways = stack.gateways();
    add_routes(&stack.state().join("routes.toml"), &trap.routes(plan.is_open), &gateways).await?;
    let application = Application::register(&Admin::of(&stack, GRACE).await?, "latchkey").await?;
    let crew = Crew::takes_over(&mut stack, &plan.program, &CLOCKS).await?;

    let clients = Clients::new(&gateways, Care::Full, GRACE)?;
    let world = World::new(Ledger::open(&plan.folder.join(format!("{name}.jsonl")))?, clients, plan.seed);
    if has_background {
        let ended = usize::try_from(plan.rate * plan.seconds / 20)?;
        world.seed(ended / 2 + 40, ended + 20).await?;
        world.pools().foreign_token = foreign_token(&stack).await?;
        load::warm(&world).await;
    }
    let (mut seen, began, begins) = (Seen::default(), Instant::now(), world.ledger.now());
    let (is_over, mut under_way) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    if has_background {
        under_way.spawn(load::run(Arc::clone(&world), plan.rate, Arc::clone(&is_over)));
    }
    let mut tokens = Vec::new();
    for number in 0..TOKENS {
        let (gateway, _) = &gateways[number % gateways.len()];
        let (token, good_for) = application.token(gateway).await?;
        ensure!(good_for == life.as_secs(), "a token is good for {good_for} s");
        seen.fresh += gateways.len();
        seen.fresh_unserved += world.calls_not_let_in(&token).await;
        tokens.push((token, Instant::now() + life + LEEWAY + MARGIN));
    }
    let all_expired = Instant::now() + life + LEEWAY + MARGIN;
    if has_background {
        sleep_until(began + Duration::from_secs(plan.seconds)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let ends = world.ledger.now();
    while let Some(ended) = under_way.join_next().await {
        ended?;
    }
    seen.not_ready = crew.not_ready().await?;
    sleep_until(all_expired).await;
    let looks = (0..LOOKS).flat_map(|_| &tokens);
    let shown = stream::iter(looks).map(async |(token, expired)| {
        world.shows_token("", "/trap/token/x", token).await;
        usize::from(expired.elapsed() < APART - 2 * MARGIN)
    });
    seen.expired = shown.buffer_unordered(AT_ONCE).fold(0, async |all, one| all + one).await;
    if has_background {
        world.audit().await?;
    }
    drop(crew);
    seen.figures = judge(&world.ledger.entries(), Window { begins, ends, load_ends: ends });
    seen.figures.fail_open = trap.hits();
    seen.figures.panics = stack.panics();
    Ok(seen)
}

impl World {
    /// At how many gateways a token that is good is not let in.
    async fn calls_not_let_in(&self, token: &str) -> usize {
        let calls = (0..self.clients.replicas()).map(async |gateway| {
            let t_send = self.ledger.now();
            let request =
                |http: &reqwest::Client, url: &str| http.get(format!("{url}/app/token/x")).bearer_auth(token);
            let sent = (self.clients.send_to(gateway, DEADLINE, request).await, Asked::only(gateway));
            let answer = self.note(Op::Bearer, "", t_send, sent, |_, _| ());
            usize::from(answer.is_none_or(|answer| answer.status != 200))
        });
        join_all(calls).await.into_iter().sum()
    }
}
