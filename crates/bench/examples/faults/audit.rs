//! After the fault: every gateway is asked for everything, and those who may have made or ended something must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{Answer, Asked, DEADLINE};
use crate::ledger::Op;
use crate::world::{Session, World, is_of_another, refresh};

const AT_ONCE: usize = 8;
/// How often an object is asked for again while its service is not there.
const TRIES: usize = 40;
/// How often each gateway is asked for a user's sessions: it asks one session-service of two.
const LISTS: usize = 4;

impl World {
    /// Asks every gateway for everything that was made or ended, until each has answered clearly. What may have been ended, and
    /// what may have been made, must be the same for all of them.
    pub async fn audit(self: &Arc<Self>) -> anyhow::Result<()> {
        let (sessions, families, unclear) = {
            let mut pools = self.pools();
            let mut sessions = pools.sessions.clone();
            sessions.extend(pools.ended_sessions.iter().cloned());
            sessions.extend(pools.unclear_sessions.iter().cloned());
            let mut families = std::mem::take(&mut pools.families);
            families.append(&mut pools.ended_families);
            (sessions, families, std::mem::take(&mut pools.unclear_families))
        };
        let (places, mut tasks) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        for session in sessions {
            for gateway in 0..self.clients.replicas() {
                let (world, places, session) = (Arc::clone(self), Arc::clone(&places), Arc::clone(&session));
                tasks.spawn(async move {
                    let _place = places.acquire_owned().await?;
                    let request = |http: &reqwest::Client, url: &str| {
                        http.get(format!("{url}/app/session/audit")).header("cookie", &session.cookie)
                    };
                    world.look(gateway, &session.id, &session.owner, request).await.map(drop)
                });
            }
        }
        for family in unclear {
            let (world, places) = (Arc::clone(self), Arc::clone(&places));
            tasks.spawn(async move {
                let _place = places.acquire_owned().await?;
                for gateway in 0..world.clients.replicas() {
                    let request = |http: &reqwest::Client, url: &str| {
                        http.get(format!("{url}/app/token/audit")).bearer_auth(&family.access_token)
                    };
                    world.look(gateway, &family.name, "", request).await?;
                }
                // Last, because it is a change.
                let request = |http: &reqwest::Client, url: &str| refresh(http, url, &family.refresh_token);
                world.look(0, &family.name, "", request).await.map(drop)
            });
        }
        for (number, family) in families.into_iter().enumerate() {
            let (world, places) = (Arc::clone(self), Arc::clone(&places));
            let gateway = number % self.clients.replicas();
            tasks.spawn(async move {
                let _place = places.acquire_owned().await?;
                let request = |http: &reqwest::Client, url: &str| refresh(http, url, &family.refresh_token);
                world.look(gateway, &family.name, "", request).await.map(drop)
            });
        }
        while let Some(looked) = tasks.join_next().await {
            looked??;
        }
        self.lists_agree().await
    }

    /// A login that was not answered has left its session everywhere or nowhere: every replica lists the same ones of a user.
    async fn lists_agree(&self) -> anyhow::Result<()> {
        let mut of_users: BTreeMap<String, Arc<Session>> = BTreeMap::new();
        for session in &self.pools().sessions {
            of_users.entry(session.owner.clone()).or_insert_with(|| Arc::clone(session));
        }
        for (user, session) in of_users {
            let mut lists = BTreeSet::new();
            for at in 0..self.clients.replicas() * LISTS {
                let request = |http: &reqwest::Client, url: &str| {
                    let all = http.get(format!("{url}/v1/sessions?page_size=1000"));
                    all.header("cookie", &session.cookie)
                };
                let listed = self.look(at % self.clients.replicas(), &session.id, "", request).await?;
                // One that is lost is counted as that.
                if listed.is_success() {
                    lists.insert(ids(&listed));
                }
            }
            if lists.len() > 1 {
                self.mark(&format!("sessions of {user}"), |entry| entry.half_done = true);
            }
        }
        Ok(())
    }

    async fn look(
        &self,
        gateway: usize,
        object: &str,
        owner: &str,
        request: impl Fn(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    ) -> anyhow::Result<Answer> {
        for _ in 0..TRIES {
            let t_send = self.ledger.now();
            let sent = self.clients.send_to(gateway, DEADLINE, &request).await;
            let sent = (sent, Asked::only(gateway));
            let answer = self.note(Op::Audit, object, t_send, sent, |answer, entry| {
                entry.wrong_user = !owner.is_empty() && is_of_another(answer, owner);
            });
            if let Some(answer) = answer
                && answer.status < 500
                && answer.status != 429
            {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bail!("after the fault gateway-{gateway} does not say clearly whether {object} is there")
    }
}

/// The sessions of a list.
fn ids(listed: &Answer) -> BTreeSet<String> {
    let said = listed.json();
    let sessions = said["sessions"].as_array().into_iter().flatten();
    sessions.filter_map(|session| session["id"].as_str().map(str::to_owned)).collect()
}
