//! J23: a new password, and a user disabled, while the clocks of two auth-services are ten minutes apart. What somebody had before
//! is good nowhere from the answer on, and what is begun at once, in the same second, is good everywhere.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;
use reqwest::{Client, Method};
use serde_json::json;
use servers::{Postgres, Sync};
use tokio::time::{Instant, sleep};

use crate::admin::Admin;
use crate::client::{Care, Clients, DEADLINE, GRACE, LOGIN_DEADLINE, Repeat};
use crate::crew::Crew;
use crate::figures::{Figures, Window, judge};
use crate::ledger::Ledger;
use crate::observe::{Plan, add_routes};
use crate::outcome::{Control, Outcome};
use crate::stack::Setup;
use crate::trap::Trap;
use crate::world::{Family, PASSWORD, World};

pub const ENDINGS_IN_GATE: usize = 1_000;
const OTHER_PASSWORD: &str = "amber harbour beyond twilight";
/// One replica's clock, so far from the other's, either way.
const CLOCKS: [&[(&str, &str)]; 2] = [&[("auth-1", "-600")], &[("auth-1", "+600")]];
/// Of each of them every second ending is of a kind.
const USERS: usize = 4;
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Seen {
    passwords: usize,
    disabled: usize,
    /// Gateways that refused what was begun after the answer, of so many that were asked.
    new_refused: usize,
    new_asked: usize,
}

pub async fn are_numbers(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (name, clocks) in ["J23-behind", "J23-ahead"].into_iter().zip(CLOCKS) {
        let (figures, seen) = run(name, &plan, clocks, true).await?;
        let mut outcome = Outcome::new(name, figures);
        outcome.extra("passwords", seen.passwords);
        outcome.extra("disabled", seen.disabled);
        outcome.extra("new_refused", format!("{}/{}", seen.new_refused, seen.new_asked));
        outcome.must("new_refused", seen.new_refused == 0 && seen.new_asked > 0);
        outcome.must("each_was_done", seen.passwords > 0 && seen.disabled > 0);
        let (control, _) = run(&format!("{name}-control"), &plan.for_control(), clocks, false).await?;
        outcome.control = Control::judge(control.let_in > 0, format!("let_in:{}", control.let_in));
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn run(
    name: &str,
    plan: &Plan,
    clocks: &'static [(&'static str, &'static str)],
    is_ended: bool,
) -> anyhow::Result<(Figures, Seen)> {
    let server = Postgres::start(Sync::Off);
    let mut setup = Setup::new("2", &server.url(), &server.url())?;
    // This is about many logins of few.
    setup.set("auth", "[throttle]\nfree_failures = 100\n")?;
    let mut stack = setup.start(&plan.program).await?;
    std::fs::create_dir_all(&plan.folder)?;
    let trap = Trap::set().await?;
    let gateways = stack.gateways();
    add_routes(&stack.state().join("routes.toml"), &trap.routes(plan.is_open), &gateways).await?;
    let crew = Crew::takes_over(&mut stack, &plan.program, clocks).await?;
    let admin = Admin::of(&stack, GRACE).await?;
    let clients = Clients::new(&gateways, Care::Full, GRACE)?;
    let world = World::new(Ledger::open(&plan.folder.join(format!("{name}.jsonl")))?, clients, plan.seed);
    let (begins, until) = (world.ledger.now(), Instant::now() + Duration::from_secs(plan.seconds));
    let of_each = plan.count.map(|count| count.div_ceil(USERS));
    let users = join_all((0..USERS).map(async |number| {
        let mut person = Person::arrives(&world, number).await?;
        let mut seen = Seen::default();
        for round in 0.. {
            // One of each kind at least.
            if round >= 2 && of_each.map_or_else(|| Instant::now() >= until, |of_each| round >= of_each) {
                break;
            }
            person.begins_anew(&world, &admin, (round, is_ended), &mut seen).await?;
        }
        anyhow::Ok(seen)
    }));
    let mut all = Seen::default();
    for seen in users.await {
        let seen = seen?;
        all.passwords += seen.passwords;
        all.disabled += seen.disabled;
        all.new_refused += seen.new_refused;
        all.new_asked += seen.new_asked;
    }
    drop(crew);
    let ends = world.ledger.now();
    let mut figures = judge(&world.ledger.entries(), Window { begins, ends, load_ends: ends });
    figures.fail_open = trap.hits();
    figures.panics = stack.panics();
    Ok((figures, all))
}

/// Somebody who is logged in by token and by session.
struct Person {
    name: String,
    password: &'static str,
    family: Family,
    cookie: String,
}

impl Person {
    async fn arrives(world: &World, number: usize) -> anyhow::Result<Person> {
        let name = format!("person-{number}");
        world.register(&name).await?;
        let (family, cookie) = logs_in(world, &name, PASSWORD).await?;
        Ok(Person { name, password: PASSWORD, family, cookie })
    }

    /// Everything that they have ends, and they log in at once.
    async fn begins_anew(
        &mut self,
        world: &World,
        admin: &Admin,
        (round, is_ended): (usize, bool),
        seen: &mut Seen,
    ) -> anyhow::Result<()> {
        let object = format!("{}-{round}", self.name);
        if round % 2 == 0 {
            if is_ended {
                self.changes_the_password(world, &object).await?;
            }
            seen.passwords += 1;
        } else {
            let path = format!("/v1/admin/users/{}", self.name);
            if is_ended {
                let disabled = json!({ "status": "disabled" });
                admin.ends(world, &object, Method::PATCH, &path, Some(&disabled)).await?;
                admin.does(Method::PATCH, &path, Some(&json!({ "status": "active" }))).await?;
            }
            seen.disabled += 1;
        }
        let (family, cookie) = logs_in(world, &self.name, self.password).await?;
        for gateway in 0..world.clients.replicas() {
            seen.new_asked += 2;
            let token = &family.access_token;
            seen.new_refused += usize::from(
                !is_let_in(world, gateway, |http, url| {
                    http.get(format!("{url}/app/token/x")).bearer_auth(token)
                })
                .await,
            );
            let cookie = &cookie;
            seen.new_refused += usize::from(
                !is_let_in(world, gateway, |http, url| {
                    http.get(format!("{url}/app/session/x")).header("cookie", cookie)
                })
                .await,
            );
        }
        world.shows_family(&object, &self.family).await;
        world.shows_cookie(&object, "/trap/session/x", &self.cookie).await;
        (self.family, self.cookie) = (family, cookie);
        Ok(())
    }

    async fn changes_the_password(&mut self, world: &World, object: &str) -> anyhow::Result<()> {
        let new = if self.password == PASSWORD { OTHER_PASSWORD } else { PASSWORD };
        let body = json!({ "current_password": self.password, "new_password": new });
        let token = &self.family.access_token;
        let request =
            |http: &Client, url: &str| http.post(format!("{url}/v1/password")).bearer_auth(token).json(&body);
        anyhow::ensure!(world.ends(object, request).await, "the password of {} is never changed", self.name);
        self.password = new;
        Ok(())
    }
}

async fn logs_in(world: &World, name: &str, password: &str) -> anyhow::Result<(Family, String)> {
    let family = world.surely_family_of(name, password).await?;
    let body = json!({ "identifier": name, "password": password, "mode": "session" });
    let request = |http: &Client, url: &str| http.post(format!("{url}/v1/login")).json(&body);
    for _ in 0..TRIES {
        let (answer, _) = world.clients.send(LOGIN_DEADLINE, Repeat::NotSafe, request).await;
        if let Ok(answer) = answer
            && let Some(line) = answer.headers.get("set-cookie")
        {
            return Ok((family, line.to_str()?.split(';').next().context("no cookie")?.to_owned()));
        }
        sleep(PAUSE).await;
    }
    anyhow::bail!("{name} cannot log in by session")
}

/// Whoever cannot be asked, or does not answer in time, is asked again.
async fn is_let_in(
    world: &World,
    gateway: usize,
    request: impl Fn(&Client, &str) -> reqwest::RequestBuilder,
) -> bool {
    for _ in 0..TRIES {
        match world.clients.send_to(gateway, DEADLINE, &request).await {
            Ok(answer) if answer.status != 503 => return answer.status == 200,
            _ => sleep(PAUSE).await,
        }
    }
    false
}
