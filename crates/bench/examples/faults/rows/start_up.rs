//! F36: everything is started in every kind of order, one part after another, with what it needs not there yet.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use servers::{Postgres, Redis, Sync};
use tokio::time::{Instant, sleep};

use crate::client::{Answer, Care, Clients, DEADLINE, GRACE, Lost};
use crate::figures::Figures;
use crate::ledger::{Ledger, is_wrong};
use crate::load::tampered;
use crate::observe::Plan;
use crate::outcome::{ENOUGH_HOSTILE, Outcome};
use crate::panics;
use crate::stack::{Setup, Stack};
use crate::world::World;

const PARTS: [&str; 7] = ["postgres", "redis", "auth", "session", "policy", "gateway", "echo"];
const SERVICES: [&str; 4] = ["auth", "session", "policy", "gateway"];
/// Between two starts.
const PAUSE: Duration = Duration::from_millis(400);
/// A process that is not even alive by then never will be.
const ALIVE_WITHIN: Duration = Duration::from_secs(20);
/// Of a process that waits for nothing.
const READY_WITHIN: Duration = Duration::from_secs(5);
const USABLE_WITHIN: Duration = Duration::from_secs(60);
/// Calls with bad credentials in each look.
const BAD: usize = 5;
/// After each part, and once more when everything was usable.
const BAD_AN_ORDER: usize = BAD * (PARTS.len() + 1);
/// As many orders as a zero needs.
pub const ORDERS_IN_GATE: usize = (ENOUGH_HOSTILE as usize).div_ceil(BAD_AN_ORDER);

/// What may be asked before everything is there, and what is known about the answer.
struct Callers {
    cookie: String,
    token: String,
}

struct Machine {
    program: PathBuf,
    state: PathBuf,
    folder: PathBuf,
    echo: String,
    operations: BTreeMap<&'static str, String>,
    postgres: Postgres,
    redis: Redis,
    /// Each with when it was started.
    running: BTreeMap<&'static str, (Child, Instant)>,
    /// In this order the gateway was looked at.
    is_gateway_seen: bool,
    has_stores: BTreeMap<&'static str, bool>,
}

#[derive(Default)]
struct Seen {
    figures: Figures,
    good_calls: u64,
    crashed: u64,
    not_alive: u64,
    ready_too_soon: u64,
    /// Looks at a gateway that was not ready although it waits for nobody, or not any more.
    gateway_not_ready: u64,
    /// Answers with success although something that they need was not there.
    served_with_defaults: u64,
    slowest: Duration,
    slowest_gateway: Duration,
}

/// What became of the calls of one look.
struct Called {
    /// The good ones, all of them.
    are_served: bool,
    /// Every one had an answer.
    is_answered: bool,
}

pub async fn any_order(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    fs::create_dir_all(&plan.folder)?;
    let (postgres, redis) = (Postgres::start(Sync::Off), Redis::start());
    let mut setup = Setup::new("1", &postgres.url(), &redis.url())?;
    setup.set("auth", "[token]\naccess_lifetime = \"1h\"\n")?;
    let mut stack = setup.start(&plan.program).await?;
    let gateways = [(stack.file.gateways[0].clone(), stack.file.operations["gateway-0"].clone())];
    let clients = Clients::new(&gateways, Care::None, GRACE)?;
    let world = World::new(Ledger::open(&plan.folder.join("F36.jsonl"))?, clients, plan.seed);
    world.seed(1, 0).await?;
    let callers = {
        let pools = world.pools();
        Callers { cookie: pools.sessions[0].cookie.clone(), token: pools.bearers[0].0.clone() }
    };
    stack.stop();

    let mut machine = Machine::of(&plan, &stack, postgres, redis);
    let mut seen = Seen::default();
    let orders = plan.times(plan.seconds / 3);
    for order in 0..orders {
        machine.stop_everything();
        let mut parts = PARTS;
        // Fisher and Yates.
        for at in (1..parts.len()).rev() {
            parts.swap(at, world.random(at + 1));
        }
        eprintln!("  order {order}: {}", parts.join(" "));
        let mut began = Instant::now();
        for (at, part) in parts.into_iter().enumerate() {
            machine.start(part, order)?;
            began = Instant::now();
            // How long it takes from the last one is what is measured.
            if at + 1 < parts.len() {
                sleep(PAUSE).await;
                machine.look(&world, &callers, &mut seen).await?;
            }
        }
        while !machine.is_usable(&world, &callers, &mut seen).await? {
            anyhow::ensure!(
                began.elapsed() < USABLE_WITHIN,
                "order {order} is not usable after {USABLE_WITHIN:?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
        seen.slowest = seen.slowest.max(began.elapsed());
        machine.look(&world, &callers, &mut seen).await?;
    }
    machine.stop_everything();
    seen.figures.panics = panics::told_in(&machine.folder);
    seen.figures.recover_ms = u64::try_from(seen.slowest.as_millis())?;

    let mut outcome = Outcome::new("F36", seen.figures);
    outcome.extra("orders", orders);
    outcome.extra("good_calls", seen.good_calls);
    for (name, count) in [
        ("crashed", seen.crashed),
        ("not_alive", seen.not_alive),
        ("ready_too_soon", seen.ready_too_soon),
        ("gateway_not_ready", seen.gateway_not_ready),
        ("served_with_defaults", seen.served_with_defaults),
    ] {
        outcome.extra(name, count);
        outcome.must(name, count == 0);
    }
    outcome.extra("gateway_ready_ms", seen.slowest_gateway.as_millis());
    outcome.at_most("gateway_ready_ms", seen.slowest_gateway.as_millis() as f64, 5_000.0);
    outcome.at_most("recover_ms", seen.slowest.as_millis() as f64, 5_000.0);
    Ok(vec![outcome])
}

impl Machine {
    fn of(plan: &Plan, stack: &Stack, postgres: Postgres, redis: Redis) -> Machine {
        let operations = SERVICES.map(|name| (name, stack.file.operations[&format!("{name}-0")].clone()));
        let folder = plan.folder.join("F36.logs");
        let _ = fs::remove_dir_all(&folder);
        Machine {
            program: plan.program.clone(),
            state: stack.state(),
            folder,
            echo: stack.file.echo[0].trim_start_matches("http://").to_owned(),
            operations: operations.into(),
            postgres,
            redis,
            running: BTreeMap::new(),
            is_gateway_seen: false,
            has_stores: [("postgres", true), ("redis", true)].into(),
        }
    }

    fn stop_everything(&mut self) {
        self.is_gateway_seen = false;
        for (_, (mut child, _)) in std::mem::take(&mut self.running) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.has_stores.insert("postgres", false) == Some(true) {
            self.postgres.stop();
        }
        if self.has_stores.insert("redis", false) == Some(true) {
            self.redis.stop();
        }
    }

    fn start(&mut self, part: &'static str, order: usize) -> anyhow::Result<()> {
        match part {
            "postgres" => self.postgres.restart(),
            "redis" => self.redis.restart(),
            service => {
                fs::create_dir_all(&self.folder)?;
                let log = fs::File::create(self.folder.join(format!("{order}-{service}.log")))?;
                let mut command = Command::new(&self.program);
                command.args(["serve", service]);
                if service == "echo" {
                    command.args(["--listen", &self.echo, "--replica", "echo-0"]);
                } else {
                    command.arg("--config").arg(self.state.join(format!("config/{service}-0.toml")));
                }
                command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
                self.running.insert(service, (command.spawn()?, Instant::now()));
                return Ok(());
            }
        }
        self.has_stores.insert(part, true);
        Ok(())
    }

    fn is_there(&self, part: &str) -> bool {
        self.running.contains_key(part) || self.has_stores.get(part) == Some(&true)
    }

    /// What holds at every moment of every order.
    async fn look(&mut self, world: &World, callers: &Callers, seen: &mut Seen) -> anyhow::Result<()> {
        let http = crate::client::http()?;
        for (name, (child, _)) in &mut self.running {
            if child.try_wait()?.is_some() {
                eprintln!("  {name} ended by itself");
                seen.crashed += 1;
            }
        }
        let mut is_gateway_ready = false;
        for name in SERVICES {
            let Some((_, started)) = self.running.get(name) else { continue };
            let operations = &self.operations[name];
            let status = async |path: &str| {
                let asked = http.get(format!("{operations}{path}")).timeout(Duration::from_secs(5));
                asked.send().await.map(|answer| answer.status().as_u16())
            };
            let until = Instant::now() + ALIVE_WITHIN;
            let mut alive = status("/livez").await;
            while alive.is_err() && Instant::now() < until {
                sleep(Duration::from_millis(50)).await;
                alive = status("/livez").await;
            }
            seen.not_alive += u64::from(alive.ok() != Some(200));
            let mut is_ready = status("/readyz").await.ok() == Some(200);
            let needs = match name {
                "session" => "redis",
                // It waits for nobody, and once it is ready it stays that. Whoever needs who is not there is told so.
                "gateway" => {
                    while !is_ready && started.elapsed() < READY_WITHIN {
                        sleep(Duration::from_millis(20)).await;
                        is_ready = status("/readyz").await.ok() == Some(200);
                    }
                    if !self.is_gateway_seen {
                        self.is_gateway_seen = true;
                        seen.slowest_gateway = seen.slowest_gateway.max(started.elapsed());
                    }
                    seen.gateway_not_ready += u64::from(!is_ready);
                    is_gateway_ready = is_ready;
                    continue;
                }
                _ => "postgres",
            };
            seen.ready_too_soon += u64::from(is_ready && !self.is_there(needs));
        }
        let called = self.call(world, callers, seen).await;
        // Ready is who answers, be it with 503.
        seen.ready_too_soon += u64::from(is_gateway_ready && !called.is_answered);
        Ok(())
    }

    /// Calls with good and with bad credentials.
    async fn call(&self, world: &World, callers: &Callers, seen: &mut Seen) -> Called {
        let ask = async |path: &str, name: &'static str, value: &str| -> Result<Answer, Lost> {
            let request =
                |http: &reqwest::Client, url: &str| http.get(format!("{url}{path}")).header(name, value);
            world.clients.send_to(0, DEADLINE, request).await
        };
        let bearer = format!("Bearer {}", callers.token);
        let good = [
            (ask("/app/session/x", "cookie", &callers.cookie).await, ["redis", "session", "echo"]),
            (ask("/app/token/x", "authorization", &bearer).await, ["postgres", "auth", "echo"]),
        ];
        let bad: [_; BAD] = [
            ask("/app/session/x", "cookie", "latchkey-session=made-up").await,
            ask("/app/session/x", "accept", "*/*").await,
            ask("/app/token/x", "authorization", "Bearer a.b.c").await,
            ask("/app/token/x", "authorization", &tampered(&bearer)).await,
            ask("/app/any/x", "x-latchkey-subject", "usr_admin").await,
        ];
        let mut called = Called { are_served: true, is_answered: true };
        for (answer, needs) in good {
            seen.good_calls += 1;
            seen.figures.hung += u64::from(matches!(answer, Err(Lost::Hung)));
            let status = answer.as_ref().map_or(0, |answer| answer.status);
            called.is_answered &= answer.is_ok();
            seen.figures.not_503 += u64::from(answer.as_ref().is_ok_and(|answer| is_wrong(answer.status)));
            seen.figures.rude += u64::from(answer.is_ok_and(|answer| answer.is_rude()));
            seen.figures.false_401 += u64::from(matches!(status, 400..=403));
            let is_served = status == 200;
            let all_there = needs.iter().all(|part| self.is_there(part));
            seen.served_with_defaults += u64::from(is_served && !all_there);
            called.are_served &= is_served;
        }
        for answer in bad {
            seen.figures.hostile += 1;
            seen.figures.hung += u64::from(matches!(answer, Err(Lost::Hung)));
            called.is_answered &= answer.is_ok();
            seen.figures.not_503 += u64::from(answer.as_ref().is_ok_and(|answer| is_wrong(answer.status)));
            seen.figures.let_in += u64::from(answer.is_ok_and(|answer| answer.is_success()));
        }
        called
    }

    async fn is_usable(&self, world: &World, callers: &Callers, seen: &mut Seen) -> anyhow::Result<bool> {
        let http = crate::client::http()?;
        for operations in self.operations.values() {
            let asked = http.get(format!("{operations}/readyz")).timeout(Duration::from_secs(2)).send().await;
            if !asked.is_ok_and(|answer| answer.status() == 200) {
                return Ok(false);
            }
        }
        Ok(self.call(world, callers, seen).await.are_served && world.create().await)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for (child, _) in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
