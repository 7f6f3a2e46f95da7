//! F35: users disabled and deleted, and roles taken back, under load. Whoever lost something has it nowhere from the answer on,
//! with the tokens that were issued before.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use servers::{Postgres, Sync};
use tokio::time::Instant;

use crate::admin::Admin;
use crate::client::{Care, GRACE, LOGIN_DEADLINE, Repeat};
use crate::observe::{Observed, Plan, observe};
use crate::outcome::{Control, Outcome};
use crate::stack::Setup;
use crate::world::{Family, PASSWORD, World};

/// What the routes `/trap/role` and `/trap/permission` ask for, as those of `/app/admin` and `/app/documents` do.
const ROLE: &str = "app-admin";

#[derive(Default)]
struct Seen {
    disabled: u64,
    deleted: u64,
    dropped: u64,
    /// What was not let in although nothing was taken back yet: then later refusals prove nothing.
    not_in_before: u64,
}

/// The control is left as it is by everybody: its tokens must be let in.
pub async fn changed(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let (observed, seen) = run("F35", &plan, true).await?;
    let mut outcome = Outcome::of("F35", &observed);
    outcome.nothing_lost();
    for (name, count) in [
        ("disabled", seen.disabled),
        ("deleted", seen.deleted),
        ("roles_dropped", seen.dropped),
        ("not_in_before", seen.not_in_before),
    ] {
        outcome.extra(name, count);
    }
    outcome.must("each_was_done", seen.disabled > 0 && seen.deleted > 0 && seen.dropped > 0);
    outcome.must("not_in_before", seen.not_in_before == 0);
    let (control, _) = run("F35-control", &plan.for_control(), false).await?;
    let let_in = control.figures.let_in;
    outcome.control = Control::judge(let_in > 0, format!("let_in:{let_in}"));
    Ok(vec![outcome])
}

async fn run(name: &str, plan: &Plan, is_changed: bool) -> anyhow::Result<(Observed, Seen)> {
    let server = Postgres::start(Sync::Off);
    let mut stack = Setup::new("2", &server.url(), &server.url())?.start(&plan.program).await?;
    let admin = Admin::of(&stack, GRACE).await?;
    let permissions = json!({ "permissions": ["document:read"] });
    admin.does(Method::PUT, &format!("/v1/admin/roles/{ROLE}"), Some(&permissions)).await?;
    let mut seen = Seen::default();
    let observed = observe(name, &mut stack, plan, Care::Full, async |_, world| {
        let until = Instant::now() + Duration::from_secs(plan.seconds / 2);
        for number in 0.. {
            // One of each kind at least.
            if number >= 3 && !plan.goes_on(number, until) {
                break;
            }
            let person = Person::arrives(world, &admin, number, &mut seen).await?;
            match number % 3 {
                0 => person.loses_the_role(world, &admin, is_changed, &mut seen).await?,
                1 => person.is_disabled(world, &admin, is_changed, &mut seen).await?,
                _ => person.is_deleted(world, &admin, is_changed, &mut seen).await?,
            }
        }
        Ok(())
    })
    .await?;
    Ok((observed, seen))
}

/// Somebody whom only this row knows, with everything that can be taken back.
struct Person {
    name: String,
    grant: String,
    family: Family,
    cookie: String,
}

impl Person {
    async fn arrives(world: &World, admin: &Admin, number: usize, seen: &mut Seen) -> anyhow::Result<Person> {
        let name = format!("victim-{number}");
        world.register(&name).await?;
        let grant = admin.gives(&name, ROLE).await?;
        let family = world.surely_family_of(&name, PASSWORD).await?;
        let cookie = cookie(world, &name).await?;
        // Every gateway knows them: what is refused later was remembered before.
        for gateway in 0..world.clients.replicas() {
            for path in ["/app/token/x", "/app/admin/x", "/app/documents/1"] {
                let status = world.calls(gateway, path, &family.access_token, &name).await;
                seen.not_in_before += u64::from(!matches!(status, None | Some(200 | 429 | 503)));
            }
        }
        Ok(Person { name, grant, family, cookie })
    }

    async fn loses_the_role(
        &self,
        world: &World,
        admin: &Admin,
        is_changed: bool,
        seen: &mut Seen,
    ) -> anyhow::Result<()> {
        let object = format!("role-of-{}", self.name);
        if is_changed {
            let path = format!("/v1/admin/grants/{}", self.grant);
            admin.ends(world, &object, Method::DELETE, &path, None).await?;
        }
        seen.dropped += 1;
        for path in ["/trap/role/x", "/trap/permission/1"] {
            world.shows_token(&object, path, &self.family.access_token).await;
            world.shows_cookie(&object, path, &self.cookie).await;
        }
        Ok(())
    }

    async fn is_disabled(
        &self,
        world: &World,
        admin: &Admin,
        is_changed: bool,
        seen: &mut Seen,
    ) -> anyhow::Result<()> {
        if is_changed {
            let (path, body) = (format!("/v1/admin/users/{}", self.name), json!({ "status": "disabled" }));
            admin.ends(world, &self.name, Method::PATCH, &path, Some(&body)).await?;
        }
        seen.disabled += 1;
        self.shows_everything(world).await;
        Ok(())
    }

    async fn is_deleted(
        &self,
        world: &World,
        admin: &Admin,
        is_changed: bool,
        seen: &mut Seen,
    ) -> anyhow::Result<()> {
        if is_changed {
            let path = format!("/v1/admin/users/{}", self.name);
            admin.ends(world, &self.name, Method::DELETE, &path, None).await?;
        }
        seen.deleted += 1;
        self.shows_everything(world).await;
        Ok(())
    }

    async fn shows_everything(&self, world: &World) {
        world.shows_family(&self.name, &self.family).await;
        world.shows_cookie(&self.name, "/trap/session/x", &self.cookie).await;
        for path in ["/trap/role/x", "/trap/permission/1"] {
            world.shows_token(&self.name, path, &self.family.access_token).await;
        }
    }
}

async fn cookie(world: &World, name: &str) -> anyhow::Result<String> {
    let body = json!({ "identifier": name, "password": PASSWORD, "mode": "session" });
    let request = |http: &reqwest::Client, url: &str| http.post(format!("{url}/v1/login")).json(&body);
    for _ in 0..50 {
        let (answer, _) = world.clients.send(LOGIN_DEADLINE, Repeat::NotSafe, request).await;
        if let Ok(answer) = answer
            && let Some(Ok(line)) = answer.headers.get("set-cookie").map(|line| line.to_str())
        {
            return Ok(line.split(';').next().unwrap_or_default().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!("{name} cannot log in")
}
