//! Who uses the system under test: users, their sessions and their tokens' families, what has been ended, and the ledger in
//! which every step is noted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::Method;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin::Admin;
use crate::client::{Answer, Asked, Clients, GRACE, LOGIN_DEADLINE, Lost, Repeat};
use crate::ledger::{Entry, Ledger, Op};
use crate::stack::Stack;

pub const PASSWORD: &str = "purple lantern under glacier";
const USERS: usize = 8;
/// Logins at once while seeding: as many as can be hashed, and one that waits.
const SEEDED_AT_ONCE: usize = 3;
const LOGIN_TRIES: usize = 50;
/// How long a token is good for that nobody set otherwise.
const BY_DEFAULT: &str = "5m";
/// A second, and the leeway of a gateway that was not told another.
const LIFE_AND_LEEWAY: Duration = Duration::from_secs(1 + 30);

pub struct Session {
    pub id: String,
    pub cookie: String,
    pub owner: String,
}

pub struct Family {
    /// Its number in the ledger.
    pub name: String,
    pub refresh_token: String,
    /// That of its login, which ends with the family.
    pub access_token: String,
}

#[derive(Default)]
pub struct Pools {
    pub sessions: Vec<Arc<Session>>,
    /// Whoever refreshes or ends one takes it out meanwhile.
    pub families: Vec<Family>,
    pub ended_sessions: Vec<Arc<Session>>,
    pub ended_families: Vec<Family>,
    /// Whose ending was asked for and not acknowledged: either, but the same everywhere.
    pub unclear_sessions: Vec<Arc<Session>>,
    pub unclear_families: Vec<Family>,
    /// Access tokens of families that nobody ends, with their owners.
    pub bearers: Vec<(String, String)>,
    /// A token that is good, for another audience.
    pub foreign_token: String,
    pub expired: Option<Expired>,
    pub expired_shown: u64,
}

/// A token that was good for a second.
#[derive(Clone)]
pub struct Expired {
    pub token: String,
    /// From then on it is good for nothing, with any leeway.
    pub from: Instant,
    /// The key that signed it.
    pub kid: String,
}

pub struct World {
    pub ledger: Ledger,
    pub clients: Arc<Clients>,
    pools: Mutex<Pools>,
    random: AtomicU64,
    families: AtomicU64,
}

impl World {
    pub fn new(ledger: Ledger, clients: Arc<Clients>, seed: u64) -> Arc<World> {
        Arc::new(World {
            ledger,
            clients,
            pools: Mutex::default(),
            random: AtomicU64::new(seed),
            families: AtomicU64::new(0),
        })
    }

    pub fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number below `below`, the same sequence for the same seed (SplitMix64).
    pub fn random(&self, below: usize) -> usize {
        let state = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below.max(1) as u64).unwrap_or(0)
    }

    pub fn user(&self) -> String {
        format!("user-{}", self.random(USERS))
    }

    /// Notes a step and returns the answer, if there was one.
    pub fn note(
        &self,
        op: Op,
        object: &str,
        t_send: u64,
        (answer, asked): (Result<Answer, Lost>, Asked),
        more: impl FnOnce(&Answer, &mut Entry),
    ) -> Option<Answer> {
        let mut entry = Entry {
            op,
            object: object.to_owned(),
            t_send,
            t_ack: answer.is_ok().then(|| self.ledger.now()),
            status: answer.as_ref().ok().map(|answer| answer.status),
            replica: format!("gateway-{}", asked.last),
            client: asked.first,
            hung: matches!(answer, Err(Lost::Hung)),
            wrong_user: false,
            double: false,
            rude: answer.as_ref().is_ok_and(Answer::is_rude),
            half_done: false,
        };
        if let Ok(answer) = &answer {
            more(answer, &mut entry);
        }
        self.ledger.append(entry);
        answer.ok()
    }

    /// Two answers to the same refresh token named two successors.
    pub fn mark_double(&self, family: &str) {
        self.mark(family, |entry| entry.double = true);
    }

    /// What is known of `object` from more than one answer.
    pub fn mark(&self, object: &str, what: impl FnOnce(&mut Entry)) {
        let now = self.ledger.now();
        let mut entry = Entry {
            op: Op::Audit,
            object: object.to_owned(),
            t_send: now,
            t_ack: None,
            status: None,
            replica: String::new(),
            client: 0,
            hung: false,
            wrong_user: false,
            double: false,
            rude: false,
            half_done: false,
        };
        what(&mut entry);
        self.ledger.append(entry);
    }

    /// Makes users, sessions and families. `foreign_token` is put in by the caller.
    pub async fn seed(self: &Arc<Self>, sessions: usize, families: usize) -> anyhow::Result<()> {
        for user in 0..USERS {
            self.register(&format!("user-{user}")).await?;
        }
        let (places, mut tasks) = (Arc::new(Semaphore::new(SEEDED_AT_ONCE)), JoinSet::new());
        for number in 0..sessions + families + USERS {
            let (world, places) = (Arc::clone(self), Arc::clone(&places));
            tasks.spawn(async move {
                let _place = places.acquire_owned().await?;
                for _ in 0..LOGIN_TRIES {
                    let made = if number < sessions {
                        world.create().await
                    } else {
                        world.log_in(number >= sessions + families).await
                    };
                    if made {
                        return Ok(());
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                bail!("a login before the fault does not succeed")
            });
        }
        while let Some(seeded) = tasks.join_next().await {
            seeded??;
        }
        Ok(())
    }

    /// A login by session. Whether it was acknowledged.
    pub async fn create(&self) -> bool {
        let (owner, t_send) = (self.user(), self.ledger.now());
        let sent = self.clients.send(LOGIN_DEADLINE, Repeat::NotSafe, login(&owner)).await;
        self.created(Op::Create, &owner, t_send, sent)
    }

    /// Notes a login by session. Whether it was acknowledged.
    pub fn created(&self, op: Op, owner: &str, t_send: u64, sent: (Result<Answer, Lost>, Asked)) -> bool {
        let mut made = None;
        self.note(op, "", t_send, sent, |answer, entry| {
            made = answer.is_success().then(|| session(answer, owner)).flatten();
            if let Some(made) = &made {
                entry.object.clone_from(&made.id);
            }
        });
        let acknowledged = made.is_some();
        self.pools().sessions.extend(made.map(Arc::new));
        acknowledged
    }

    /// A login by token; its access token is one of those that are called with where it `is_for_calls`.
    async fn log_in(&self, is_for_calls: bool) -> bool {
        let owner = self.user();
        let Some(family) = self.family_of(&owner, PASSWORD, is_for_calls).await else { return false };
        if is_for_calls {
            self.pools().bearers.push((family.access_token, owner));
        } else {
            self.pools().families.push(family);
        }
        true
    }

    /// A login by token of this user. One that `is_nobodys` is not looked for by the audit. `None`: not acknowledged.
    pub async fn family_of(&self, owner: &str, password: &str, is_nobodys: bool) -> Option<Family> {
        let t_send = self.ledger.now();
        let name = format!("family-{}", self.families.fetch_add(1, Ordering::Relaxed));
        let body = json!({ "identifier": owner, "password": password, "mode": "token" });
        let login = |http: &reqwest::Client, url: &str| http.post(format!("{url}/v1/login")).json(&body);
        let sent = self.clients.send(LOGIN_DEADLINE, Repeat::NotSafe, login).await;
        let object = if is_nobodys { "" } else { &name };
        let answer = self.note(Op::Login, object, t_send, sent, |_, _| ()).filter(Answer::is_success)?;
        let said = answer.json();
        let member = |name: &str| said[name].as_str().map(str::to_owned);
        Some(Family { name, refresh_token: member("refresh_token")?, access_token: member("access_token")? })
    }

    /// As [`World::family_of`], tried until it is acknowledged.
    pub async fn surely_family_of(&self, owner: &str, password: &str) -> anyhow::Result<Family> {
        for _ in 0..LOGIN_TRIES {
            if let Some(family) = self.family_of(owner, password, true).await {
                return Ok(family);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("{owner} cannot log in")
    }

    /// Makes a user. Repeating it is right: one that is there already is as good.
    pub async fn register(&self, username: &str) -> anyhow::Result<()> {
        let body = json!({ "username": username, "password": PASSWORD });
        let request = |http: &reqwest::Client, url: &str| http.post(format!("{url}/v1/users")).json(&body);
        for _ in 0..LOGIN_TRIES {
            match self.clients.send(LOGIN_DEADLINE, Repeat::NotSafe, request).await {
                (Ok(answer), _) if matches!(answer.status, 201 | 409) => return Ok(()),
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        bail!("registering {username}")
    }
}

pub fn refresh(http: &reqwest::Client, url: &str, refresh_token: &str) -> reqwest::RequestBuilder {
    let form =
        [("grant_type", "refresh_token"), ("client_id", "first-party"), ("refresh_token", refresh_token)];
    http.post(format!("{url}/oauth2/token")).form(&form)
}

/// A login by session.
pub fn login(owner: &str) -> impl Fn(&reqwest::Client, &str) -> reqwest::RequestBuilder {
    let body = json!({ "identifier": owner, "password": PASSWORD, "mode": "session" });
    move |http: &reqwest::Client, url: &str| http.post(format!("{url}/v1/login")).json(&body)
}

/// The end of a session, asked for with its cookie.
pub fn logout(http: &reqwest::Client, url: &str, session: &Session) -> reqwest::RequestBuilder {
    let request = http.post(format!("{url}/v1/logout"));
    request.header("cookie", &session.cookie).header("sec-fetch-site", "same-origin")
}

/// The end of a family.
pub fn revoke(http: &reqwest::Client, url: &str, refresh_token: &str) -> reqwest::RequestBuilder {
    let form = [("token", refresh_token), ("client_id", "first-party")];
    http.post(format!("{url}/oauth2/revoke")).form(&form)
}

/// The application was told of somebody who is not the credential's owner.
pub fn is_of_another(answer: &Answer, owner: &str) -> bool {
    answer.is_success() && answer.json()["headers"]["x-latchkey-name"][0] != *owner
}

fn session(answer: &Answer, owner: &str) -> Option<Session> {
    let set_cookie = answer.headers.get("set-cookie")?.to_str().ok()?;
    let id = answer.json()["session"]["id"].as_str()?.to_owned();
    Some(Session { id, cookie: set_cookie.split(';').next()?.to_owned(), owner: owner.to_owned() })
}

/// An application with a secret, for one audience.
pub struct Application {
    id: String,
    secret: String,
}

impl Application {
    pub async fn register(admin: &Admin, audience: &str) -> anyhow::Result<Self> {
        let body = json!({ "name": audience, "audiences": [audience], "scopes": [] });
        let client = admin.does(Method::POST, "/v1/admin/clients", Some(&body)).await?;
        let member =
            |name: &str| client[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        Ok(Self { id: member("id")?, secret: member("client_secret")? })
    }

    /// Its access token, and for how many seconds that is good.
    pub async fn token(&self, gateway: &str) -> anyhow::Result<(String, u64)> {
        let asked = crate::client::http()?.post(format!("{gateway}/oauth2/token"));
        let asked =
            asked.basic_auth(&self.id, Some(&self.secret)).form(&[("grant_type", "client_credentials")]);
        let answer: serde_json::Value = asked.send().await?.error_for_status()?.json().await?;
        let token = answer["access_token"].as_str().context("no token")?.to_owned();
        Ok((token, answer["expires_in"].as_u64().context("no expires_in")?))
    }
}

/// A token for another audience, from a client that an administrator registers for it.
pub async fn foreign_token(stack: &Stack) -> anyhow::Result<String> {
    let admin = Admin::of(stack, GRACE).await?;
    Ok(Application::register(&admin, "another").await?.token(&stack.file.gateways[0]).await?.0)
}

/// For as long as that takes, tokens are good for a second; everything is started again
/// after it, with the life that a token had before.
pub async fn expired_token(stack: &mut Stack) -> anyhow::Result<Expired> {
    let settings: toml::Table = std::fs::read_to_string(stack.state().join("settings/auth.toml"))?.parse()?;
    let before = settings.get("token").and_then(|token| token.get("access_lifetime")?.as_str());
    let before = format!("[token]\naccess_lifetime = \"{}\"\n", before.unwrap_or(BY_DEFAULT));
    let application = Application::register(&Admin::of(stack, GRACE).await?, "latchkey").await?;
    stack.start_again_with("auth", "[token]\naccess_lifetime = \"1s\"\n").await?;
    let admin = Admin::of(stack, GRACE).await?;
    let mut issued = None;
    for _ in 0..LOGIN_TRIES {
        // A key that signed before and after it signed it.
        let before = admin.active_key().await?;
        let token = application.token(&stack.file.gateways[0]).await;
        if let Ok(token) = token
            && admin.active_key().await? == before
        {
            issued = Some((token, before));
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ((token, life), kid) = issued.context("no token that is good for a second")?;
    ensure!(life == 1, "a token is good for {life} s");
    stack.start_again_with("auth", &before).await?;
    Ok(Expired { token, from: Instant::now() + LIFE_AND_LEEWAY, kid })
}
