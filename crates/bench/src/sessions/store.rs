//! Sessions, put into Redis by the store that session-service itself uses: a login each would be a password hash each.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use chassis::{
    clock::{Clock as _, SystemClock},
    config::Shutdown,
    entropy::{Entropy as _, SystemEntropy},
    lifecycle::Lifecycle,
};
use session_service::{
    domain::{AtLimit, Lifetimes, Limit, Origin, Session, SessionId, SessionSecret, Subject},
    store::{
        Created, NewSession, SessionStore as _, SpentProof, Sweep,
        redis::{RedisSettings, RedisStore},
    },
};
use tokio::task::JoinSet;

pub const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const AT_ONCE: usize = 256;
const LIMIT: Limit = Limit { most: 20, at_limit: AtLimit::EndOldest };

pub struct Sessions {
    store: Arc<RedisStore>,
    pub secrets: Vec<String>,
    _life: Lifecycle,
}

impl Sessions {
    pub async fn open(url: &str) -> anyhow::Result<Sessions> {
        let life = Lifecycle::new(Shutdown::default());
        let settings = RedisSettings::new(url, None, Duration::from_secs(10)).map_err(anyhow::Error::msg)?;
        let store = Arc::new(RedisStore::open(&settings, &life).await?);
        Ok(Sessions { store, secrets: Vec::new(), _life: life })
    }

    /// Until there are this many, each of a user of its own; and without what is left of their logins.
    pub async fn fill(&mut self, size: usize) -> anyhow::Result<()> {
        let mut running = JoinSet::new();
        for number in self.secrets.len()..size {
            if running.len() >= AT_ONCE {
                stored(running.join_next().await)?;
            }
            let (new, secret) = new_session(number)?;
            self.secrets.push(secret);
            let store = self.store.clone();
            running.spawn(async move { store.create(new).await });
        }
        while let Some(done) = running.join_next().await {
            stored(Some(done))?;
        }
        let now = SystemClock.now();
        loop {
            let sweep = Sweep { now: now + Duration::from_secs(1), idle_before: None, most: 10_000 };
            if self.store.sweep(sweep).await?.proofs == 0 {
                return Ok(());
            }
        }
    }
}

fn stored(
    done: Option<Result<Result<Created, session_service::store::StoreError>, tokio::task::JoinError>>,
) -> anyhow::Result<()> {
    let created = done.context("nothing was under way")???;
    anyhow::ensure!(matches!(created, Created::Stored { .. }), "not stored: {created:?}");
    Ok(())
}

fn new_session(number: usize) -> anyhow::Result<(NewSession, String)> {
    let now = SystemClock.now();
    let mut secret = [0; SessionSecret::BYTES];
    SystemEntropy.fill(&mut secret);
    let mut id = [0; SessionId::RANDOM_BYTES];
    SystemEntropy.fill(&mut id);
    let secret = SessionSecret::new(secret);
    let origin = Origin {
        subject: Subject::parse(&format!("usr_{number:026}")).context("no subject")?,
        username: format!("user-{number:07}"),
        epoch: 1,
        methods: vec!["pwd".into()],
        authenticated_at: now,
        user_agent: USER_AGENT.into(),
        client_address: "192.0.2.1".into(),
    };
    let lifetimes = Lifetimes {
        idle: Duration::from_secs(1_800),
        absolute: Duration::from_secs(43_200),
        rotation_grace: Duration::from_secs(10),
    };
    let new = NewSession {
        session: Session::begin(SessionId::new(id), origin, now, &lifetimes),
        secret: secret.digest(),
        proof: SpentProof { jti: format!("bench-{number}"), keep_until: now },
        former: None,
        limit: LIMIT,
        idle_since: lifetimes.idle_since(now),
        activity: Vec::new(),
        now,
    };
    Ok((new, secret.expose()))
}
