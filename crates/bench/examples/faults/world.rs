//! Who uses the system under test: users, their sessions and their tokens' families, what has been ended, and the ledger in
//! which every step is noted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::Method;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::client::{Answer, Clients, DEADLINE, GRACE, LOGIN_DEADLINE, Lost, Repeat};
use crate::ledger::{Entry, Ledger, Op};
use crate::stack::Stack;

pub const PASSWORD: &str = "purple lantern under glacier";
const USERS: usize = 8;
/// Logins at once while seeding: as many as can be hashed, and one that waits.
const SEEDED_AT_ONCE: usize = 3;
const LOGIN_TRIES: usize = 50;
const AUDITED_AT_ONCE: usize = 8;
/// How often an object is asked for again while its service is not there.
const AUDIT_TRIES: usize = 40;

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
    /// Access tokens of families that nobody ends, with their owners.
    pub bearers: Vec<(String, String)>,
    /// A token that is good, for another audience.
    pub foreign_token: String,
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
        (answer, replica): (Result<Answer, Lost>, String),
        more: impl FnOnce(&Answer, &mut Entry),
    ) -> Option<Answer> {
        let mut entry = Entry {
            op,
            object: object.to_owned(),
            t_send,
            t_ack: answer.is_ok().then(|| self.ledger.now()),
            status: answer.as_ref().ok().map(|answer| answer.status),
            replica,
            hung: matches!(answer, Err(Lost::Hung)),
            wrong_user: false,
            double: false,
            rude: answer.as_ref().is_ok_and(Answer::is_rude),
        };
        if let Ok(answer) = &answer {
            more(answer, &mut entry);
        }
        self.ledger.append(entry);
        answer.ok()
    }

    /// Two answers to the same refresh token named two successors.
    pub fn mark_double(&self, family: &str) {
        let now = self.ledger.now();
        self.ledger.append(Entry {
            op: Op::Audit,
            object: family.to_owned(),
            t_send: now,
            t_ack: None,
            status: None,
            replica: String::new(),
            hung: false,
            wrong_user: false,
            double: true,
            rude: false,
        });
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
        let body = json!({ "identifier": owner, "password": PASSWORD, "mode": "session" });
        let login = |http: &reqwest::Client, url: &str| http.post(format!("{url}/v1/login")).json(&body);
        let sent = self.clients.send(LOGIN_DEADLINE, Repeat::NotSafe, login).await;
        let mut made = None;
        self.note(Op::Create, "", t_send, sent, |answer, entry| {
            made = answer.is_success().then(|| session(answer, &owner)).flatten();
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

    /// Asks every gateway for everything that was made or ended, until each has answered clearly.
    pub async fn audit(self: &Arc<Self>) -> anyhow::Result<()> {
        let (sessions, families) = {
            let mut pools = self.pools();
            let mut sessions = pools.sessions.clone();
            sessions.extend(pools.ended_sessions.iter().cloned());
            let mut families = std::mem::take(&mut pools.families);
            families.append(&mut pools.ended_families);
            (sessions, families)
        };
        let (places, mut tasks) = (Arc::new(Semaphore::new(AUDITED_AT_ONCE)), JoinSet::new());
        for session in sessions {
            for gateway in 0..self.clients.replicas() {
                let (world, places, session) = (Arc::clone(self), Arc::clone(&places), Arc::clone(&session));
                tasks.spawn(async move {
                    let _place = places.acquire_owned().await?;
                    let request = |http: &reqwest::Client, url: &str| {
                        http.get(format!("{url}/app/session/audit")).header("cookie", &session.cookie)
                    };
                    world.look(gateway, &session.id, &session.owner, request).await
                });
            }
        }
        for (number, family) in families.into_iter().enumerate() {
            let (world, places) = (Arc::clone(self), Arc::clone(&places));
            let gateway = number % self.clients.replicas();
            tasks.spawn(async move {
                let _place = places.acquire_owned().await?;
                let request = |http: &reqwest::Client, url: &str| refresh(http, url, &family.refresh_token);
                world.look(gateway, &family.name, "", request).await
            });
        }
        while let Some(looked) = tasks.join_next().await {
            looked??;
        }
        Ok(())
    }

    async fn look(
        &self,
        gateway: usize,
        object: &str,
        owner: &str,
        request: impl Fn(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    ) -> anyhow::Result<()> {
        for _ in 0..AUDIT_TRIES {
            let t_send = self.ledger.now();
            let sent = self.clients.send_to(gateway, DEADLINE, &request).await;
            let sent = (sent, format!("gateway-{gateway}"));
            let answer = self.note(Op::Audit, object, t_send, sent, |answer, entry| {
                entry.wrong_user = !owner.is_empty() && is_of_another(answer, owner);
            });
            if answer.is_some_and(|answer| answer.status < 500 && answer.status != 429) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bail!("after the fault gateway-{gateway} does not say clearly whether {object} is there")
    }
}

pub fn refresh(http: &reqwest::Client, url: &str, refresh_token: &str) -> reqwest::RequestBuilder {
    let form =
        [("grant_type", "refresh_token"), ("client_id", "first-party"), ("refresh_token", refresh_token)];
    http.post(format!("{url}/oauth2/token")).form(&form)
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

/// A token for another audience, from a client that an administrator registers for it.
pub async fn foreign_token(stack: &Stack) -> anyhow::Result<String> {
    let admin = Admin::of(stack, GRACE).await?;
    let body = json!({ "name": "another", "audiences": ["another"], "scopes": [] });
    let client = admin.does(Method::POST, "/v1/admin/clients", Some(&body)).await?;
    let (id, secret) = (client["id"].as_str().context("no id")?, client["client_secret"].as_str());
    let asked = crate::client::http()?.post(format!("{}/oauth2/token", stack.file.gateways[0]));
    let asked = asked.basic_auth(id, secret).form(&[("grant_type", "client_credentials")]);
    let answer: serde_json::Value = asked.send().await?.error_for_status()?.json().await?;
    Ok(answer["access_token"].as_str().context("no foreign token")?.to_owned())
}
