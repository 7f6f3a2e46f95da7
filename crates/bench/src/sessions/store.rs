//! Sessions, put into Redis by the store that session-service itself uses: a login each would be a password hash each.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use chassis::{
    clock::{Clock as _, SystemClock},
    config::Shutdown,
    entropy::{self, Entropy as _, SystemEntropy},
    lifecycle::Lifecycle,
};
use session_service::{
    domain::{
        AtLimit, EndReason, Lifetimes, Limit, Origin, Session, SessionId, SessionSecret, Shard, Subject,
    },
    store::{
        Created, Ending, NewSession, SessionStore as _, SpentProof, Sweep,
        redis::{RedisSettings, RedisStore},
    },
};
use tokio::task::JoinSet;

pub const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const AT_ONCE: usize = 256;
/// Sessions that begin and end for the rate of that.
const CHURN: usize = 20_000;
/// Users from here on have no session that stays.
const NOBODYS: usize = 100_000_000;
const LIMIT: Limit = Limit { most: 20, at_limit: AtLimit::EndOldest };

/// As a cookie has it.
pub type Secret = [u8; 43];

pub struct Sessions {
    store: Arc<RedisStore>,
    /// In one piece, and in an order that has nothing to do with that of their sessions: the load takes one after another, which
    /// costs it as much of a million as of a thousand, and asks Redis all over its memory.
    pub secrets: Arc<Vec<Secret>>,
    _life: Lifecycle,
}

impl Sessions {
    pub async fn open(url: &str) -> anyhow::Result<Sessions> {
        let life = Lifecycle::new(Shutdown::default());
        let settings = RedisSettings::new(url, None, Duration::from_secs(10)).map_err(anyhow::Error::msg)?;
        let store = Arc::new(RedisStore::open(&settings, &life).await?);
        Ok(Sessions { store, secrets: Arc::default(), _life: life })
    }

    async fn create(&self, numbers: Range<usize>) -> anyhow::Result<Vec<(SessionId, Secret)>> {
        all(numbers.map(|number| {
            let store = Arc::clone(&self.store);
            async move {
                let (new, secret) = new_session(number)?;
                let id = new.session.id.clone();
                let created = store.create(new).await?;
                anyhow::ensure!(matches!(created, Created::Stored { .. }), "not stored: {created:?}");
                Ok((id, secret))
            }
        }))
        .await
    }

    /// How many sessions more begin, and end again, a second.
    pub async fn churn(&self) -> anyhow::Result<(f64, f64)> {
        // Of nobody who has one that stays.
        let (began, first) = (Instant::now(), NOBODYS + self.secrets.len());
        let made = self.create(first..first + CHURN).await?;
        let (created, began) = (began.elapsed(), Instant::now());
        let ended = all(made.into_iter().map(|(id, _)| {
            let store = Arc::clone(&self.store);
            async move {
                Ok(store.end(Ending::One(id), EndReason::Administration, SystemClock.now()).await?.len())
            }
        }))
        .await?;
        anyhow::ensure!(ended.into_iter().sum::<usize>() == CHURN, "not all of them were ended");
        let rate = |took: Duration| CHURN as f64 / took.as_secs_f64();
        let rates = (rate(created), rate(began.elapsed()));
        self.forget_logins().await?;
        Ok(rates)
    }

    /// Until there are this many, each of a user of its own; and without what is left of their logins.
    pub async fn fill(&mut self, size: usize) -> anyhow::Result<()> {
        let made = self.create(self.secrets.len()..size).await?;
        let secrets = Arc::make_mut(&mut self.secrets);
        secrets.extend(made.into_iter().map(|(_, secret)| secret));
        secrets.sort_unstable();
        self.forget_logins().await
    }

    /// What is left of them when a session has begun.
    async fn forget_logins(&self) -> anyhow::Result<()> {
        let now = SystemClock.now();
        loop {
            let sweep = Sweep { now: now + Duration::from_secs(1), idle_before: None, most: 10_000 };
            if self.store.sweep(sweep).await?.proofs == 0 {
                return Ok(());
            }
        }
    }
}

/// The work, as much of it at once as [`AT_ONCE`].
async fn all<F, T>(works: impl IntoIterator<Item = F>) -> anyhow::Result<Vec<T>>
where
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let (mut running, mut done) = (JoinSet::new(), Vec::new());
    for work in works {
        if running.len() >= AT_ONCE {
            done.push(running.join_next().await.context("nothing was under way")???);
        }
        running.spawn(work);
    }
    for rest in running.join_all().await {
        done.push(rest?);
    }
    Ok(done)
}

fn new_session(number: usize) -> anyhow::Result<(NewSession, Secret)> {
    let now = SystemClock.now();
    let mut id = [0; SessionId::RANDOM_BYTES];
    SystemEntropy.fill(&mut id);
    let origin = Origin {
        subject: Subject::parse(&format!("usr_{number:026}")).context("no subject")?,
        username: format!("user-{number:07}"),
        epoch: 1,
        methods: vec!["pwd".into()],
        authenticated_at: now,
        user_agent: USER_AGENT.into(),
        client_address: "192.0.2.1".into(),
    };
    let shard = Shard::of(&origin.subject);
    let secret = SessionSecret::draw(shard, || entropy::secret(&SystemEntropy));
    let lifetimes = Lifetimes {
        idle: Duration::from_secs(1_800),
        absolute: Duration::from_secs(43_200),
        rotation_grace: Duration::from_secs(10),
    };
    let new = NewSession {
        session: Session::begin(SessionId::new(shard, id), origin, now, &lifetimes),
        secret: secret.digest(),
        proof: SpentProof { jti: format!("bench-{number}"), keep_until: now },
        former: None,
        limit: LIMIT,
        idle_since: lifetimes.idle_since(now),
        activity: Vec::new(),
        now,
    };
    let secret = secret.expose().into_bytes().try_into().map_err(|_| anyhow::anyhow!("an odd secret"))?;
    Ok((new, secret))
}
