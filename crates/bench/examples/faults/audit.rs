//! After the fault: every gateway is asked for every session and for the access token of every family whose end was asked for, one of
//! them for each refresh token. Those who may have made or ended something must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{Answer, Asked, DEADLINE};
use crate::ledger::{Op, is_clear};
use crate::world::{Family, Session, World, is_of_another, refresh};

const AT_ONCE: usize = 8;
/// How often an object is asked for again while its service is not there.
const TRIES: usize = 40;
/// How often each gateway is asked for a user's sessions: it asks one session-service of two.
const LISTS: usize = 4;

impl World {
    /// Asks every gateway for everything that was made or ended, until each has answered clearly; what can be asked once, one of
    /// them. What may have been ended, and what may have been made, must be the same for all of them.
    pub async fn audit(self: &Arc<Self>) -> anyhow::Result<()> {
        let (sessions, living, ended) = {
            let mut pools = self.pools();
            let mut sessions = pools.sessions.clone();
            sessions.extend(pools.ended_sessions.iter().cloned());
            sessions.extend(pools.unclear_sessions.iter().cloned());
            let mut ended = std::mem::take(&mut pools.ended_families);
            ended.append(&mut pools.unclear_families);
            (sessions, std::mem::take(&mut pools.families), ended)
        };
        let (places, mut tasks) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        // First those whose access tokens are shown: the later, the more of them have expired, and are refused for that.
        let families = ended.into_iter().map(|family| (family, true));
        let families = families.chain(living.into_iter().map(|family| (family, false)));
        for (number, (family, may_have_ended)) in families.enumerate() {
            let (world, places) = (Arc::clone(self), Arc::clone(&places));
            tasks.spawn(async move {
                let _place = places.acquire_owned().await?;
                world.look_for_family(number, &family, may_have_ended).await
            });
        }
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
        while let Some(looked) = tasks.join_next().await {
            looked??;
        }
        self.lists_agree().await
    }

    /// Where somebody asked for its end, its access token is shown to every gateway: none may let it in once the end was
    /// acknowledged. That of a family which nobody ended may have expired, which says nothing of the family, so that it is not shown.
    /// The refresh token is presented once, to the gateways in turn and after the access token, because it is a change: what comes of it
    /// is another token, and of a second time, without a family that lives, its end.
    async fn look_for_family(
        &self,
        number: usize,
        family: &Family,
        may_have_ended: bool,
    ) -> anyhow::Result<()> {
        for gateway in (0..self.clients.replicas()).filter(|_| may_have_ended) {
            let request = |http: &reqwest::Client, url: &str| {
                http.get(format!("{url}/app/token/audit")).bearer_auth(&family.access_token)
            };
            self.look(gateway, &family.name, "", request).await?;
        }
        let request = |http: &reqwest::Client, url: &str| refresh(http, url, &family.refresh_token);
        self.look(number % self.clients.replicas(), &family.name, "", request).await.map(drop)
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
                && is_clear(answer.status)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Window, judge};

    #[tokio::test]
    async fn an_access_token_of_what_has_ended_is_asked_for_before_its_refresh_token() {
        let window = Window { begins: 0, ends: 0, load_ends: 0 };
        let audited = async |statuses| {
            let folder = tempfile::tempdir().unwrap();
            let world = crate::client::world_of(statuses, folder.path()).await.unwrap();
            let [name, refresh_token, access_token] = ["family-0", "r", "a"].map(str::to_owned);
            world.pools().ended_families.push(Family { name, refresh_token, access_token });
            let acknowledged = Answer { status: 204, headers: Default::default(), body: Vec::new() };
            world.note(Op::End, "family-0", 0, (Ok(acknowledged), Asked::only(0)), |_, _| ());
            world.audit().await.unwrap();
            let looks = world.ledger.entries();
            (looks.len() - 1, judge(&looks, window).revived)
        };
        assert_eq!(audited(&[200, 400]).await, (2, 1));
        assert_eq!(audited(&[401, 503, 200]).await, (3, 1));
        assert_eq!(audited(&[401, 400]).await, (2, 0));
    }
}
