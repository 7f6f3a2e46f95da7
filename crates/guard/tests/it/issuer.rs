//! An issuer in memory, and guards that believe it.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use feed::{Credential, Verdict, Wall, What};
use latchkey_guard::{Endings, FetchedKeys, KeySource, Principal, Settings, SourceUnavailable, TokenGuard};
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::datetime};
use token::{Algorithm, Expect, KeySet, RecipientKey, SigningKey, TYP_ACCESS};
use tokio::sync::Semaphore;

pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);
pub(crate) const LIFE: Duration = Duration::from_secs(300);
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);

pub(crate) static FIRST: LazyLock<SigningKey> = LazyLock::new(new_key);
pub(crate) static SECOND: LazyLock<SigningKey> = LazyLock::new(new_key);

pub(crate) fn new_key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256).unwrap()
}

#[derive(Clone)]
pub(crate) enum Answer {
    Keys(String),
    Fails,
    Hangs,
}

/// Answers as it is told to, and counts.
pub(crate) struct Issuer {
    answer: Mutex<Answer>,
    pub(crate) max_age: Mutex<Duration>,
    /// An answer takes a permit.
    gate: Semaphore,
    asked: AtomicUsize,
}

impl Issuer {
    pub(crate) fn new(answer: Answer) -> Arc<Self> {
        Self::behind(Semaphore::new(1_000_000), answer)
    }

    pub(crate) fn with(keys: &[&SigningKey]) -> Arc<Self> {
        Self::new(answer(keys))
    }

    /// Answers nothing until [`Self::open`].
    pub(crate) fn closed(keys: &[&SigningKey]) -> Arc<Self> {
        Self::behind(Semaphore::new(0), answer(keys))
    }

    fn behind(gate: Semaphore, answer: Answer) -> Arc<Self> {
        let max_age = Mutex::new(Duration::from_secs(300));
        Arc::new(Self { answer: Mutex::new(answer), max_age, gate, asked: AtomicUsize::new(0) })
    }

    pub(crate) fn open(&self) {
        self.gate.add_permits(1_000_000);
    }

    pub(crate) fn now_answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub(crate) fn answer(keys: &[&SigningKey]) -> Answer {
    Answer::Keys(KeySet::new(keys.iter().map(|key| key.public_jwk())).unwrap().to_json())
}

#[async_trait]
impl KeySource for Issuer {
    async fn fetch(&self) -> Result<FetchedKeys, SourceUnavailable> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Answer::Keys(jwks) => Ok(FetchedKeys { jwks, max_age: *self.max_age.lock().unwrap() }),
            Answer::Fails => Err(SourceUnavailable::new("connection refused")),
            Answer::Hangs => std::future::pending().await,
        }
    }
}

pub(crate) type Guard = TokenGuard<String>;

pub(crate) fn settings() -> Settings {
    Settings::new(Expect::new("https://issuer", "latchkey", [Algorithm::Es256], LEEWAY).unwrap())
}

pub(crate) fn guard(issuer: &Arc<Issuer>) -> Guard {
    guard_with(issuer, settings())
}

pub(crate) fn guard_with(issuer: &Arc<Issuer>, settings: Settings) -> Guard {
    guard_that_hears(issuer, Arc::default(), settings)
}

pub(crate) fn guard_that_hears(issuer: &Arc<Issuer>, feed: Arc<Feed>, settings: Settings) -> Guard {
    let prepare = |principal: &Principal| format!("X-Latchkey-Subject: {}", principal.id);
    TokenGuard::new(settings, Arc::<Issuer>::clone(issuer), feed, prepare)
}

/// What is known of endings, as the test says; at first a lease, and nothing has ended.
pub(crate) struct Feed {
    /// Under the lease; `None`: there is none.
    pub(crate) judged: Mutex<Option<Verdict>>,
    /// Of whoever is asked; `None`: nobody can be.
    pub(crate) asked: Mutex<Option<Verdict>>,
    /// What is remembered, and for how long it may be used.
    pub(crate) stale: Mutex<Option<(Verdict, Duration)>>,
    /// The key that has ended, whatever else is judged.
    pub(crate) ended_key: Mutex<Option<String>>,
    pub(crate) questions: AtomicUsize,
    pub(crate) credentials: Mutex<Vec<Credential>>,
    /// By how much the issuer's clock is ahead.
    pub(crate) ahead: Mutex<Duration>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            judged: Mutex::new(Some(Verdict::Live)),
            asked: Mutex::default(),
            stale: Mutex::default(),
            ended_key: Mutex::default(),
            questions: AtomicUsize::new(0),
            credentials: Mutex::default(),
            ahead: Mutex::default(),
        }
    }
}

#[async_trait]
impl Endings for Feed {
    fn judge(&self, credential: &Credential) -> Option<Verdict> {
        let key = credential.key.as_deref();
        if key.is_some() && key == self.ended_key.lock().unwrap().as_deref() {
            return Some(Verdict::Ended(What::Key));
        }
        *self.judged.lock().unwrap()
    }

    async fn ask(&self, credential: &Credential) -> Result<Verdict, SourceUnavailable> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        self.credentials.lock().unwrap().push(credential.clone());
        self.asked.lock().unwrap().ok_or_else(|| SourceUnavailable::new("nobody"))
    }

    fn judge_stale(&self, _: &Credential, stale_for: Duration) -> Option<Verdict> {
        let (verdict, age) = (*self.stale.lock().unwrap())?;
        (age < stale_for).then_some(verdict)
    }

    fn ahead(&self, _: Wall) -> Duration {
        *self.ahead.lock().unwrap()
    }
}

/// A guard that has fetched once; nothing fetches behind the test's back.
pub(crate) async fn guard_with_keys(issuer: &Arc<Issuer>) -> Guard {
    let guard = guard(issuer);
    guard.refresh_keys().await.unwrap();
    guard
}

/// `test` with the refreshing loop beside it, as in a process.
pub(crate) async fn beside_its_loop<R>(guard: &Guard, test: impl Future<Output = R>) -> R {
    tokio::select! {
        () = guard.refresh_keys_loop() => panic!("the loop never ends"),
        result = test => result,
    }
}

pub(crate) fn claims(jti: &str) -> Value {
    json!({
        "iss": "https://issuer", "aud": "latchkey", "sub": "usr_1", "client_id": "first-party",
        "iat": NOW.unix_timestamp(), "exp": (NOW + LIFE).unix_timestamp(), "jti": jti, "kind": "user",
        "name": "alice", "fam": "grt_1", "sid": "ses_1", "scope": "a b", "roles": ["editor"],
        "epo": { "subject": 3, "client": 1 }, "pv": 7, "amr": ["pwd"],
    })
}

pub(crate) fn token(key: &SigningKey, jti: &str) -> String {
    key.sign(TYP_ACCESS, &claims(jti)).unwrap()
}

pub(crate) static RECIPIENT: LazyLock<RecipientKey> =
    LazyLock::new(|| RecipientKey::generate("gateway-1").unwrap());

/// Each call gives a key of its own that opens the same tokens.
pub(crate) fn recipient() -> RecipientKey {
    RecipientKey::from_jwk_json(&RECIPIENT.to_jwk_json().unwrap()).unwrap()
}
