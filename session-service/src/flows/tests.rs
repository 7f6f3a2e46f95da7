//! Flows on a store in memory, with a clock that is moved: what a session's secret and its endings come to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chassis::clock::{Clock as _, TestClock};
use chassis::entropy::TestEntropy;
use time::macros::datetime;
use token::{Algorithm, Epochs, Expect, KeySet, ProofClaims, SigningKey, TYP_PROOF};

use super::*;
use crate::domain::{AtLimit, Attributes, EndReason, PageSize, SecretDigest, Subject};
use crate::peers::{KeySets, KeysUnavailable, PublishedKeys};
use crate::store::AttributesSet;

mod activity;
mod watched;

use watched::Watched;

const START: OffsetDateTime = datetime!(2026-11-01 08:00 UTC);
const SECOND: Duration = Duration::from_secs(1);
const LIFETIMES: Lifetimes = Lifetimes {
    idle: Duration::from_secs(30 * 60),
    absolute: Duration::from_secs(12 * 3600),
    rotation_grace: Duration::from_secs(10),
};

struct Keys(String);

#[async_trait]
impl KeySets for Keys {
    async fn fetch(&self) -> Result<PublishedKeys, KeysUnavailable> {
        Ok(PublishedKeys { jwks: self.0.clone(), max_age: Duration::from_secs(u64::from(u32::MAX)) })
    }
}

struct Bench {
    sessions: Arc<Sessions>,
    store: Arc<Watched>,
    clock: Arc<TestClock>,
    key: SigningKey,
    proofs: AtomicU64,
}

impl Bench {
    fn new() -> Bench {
        Bench::with_limit(Limit { most: 20, at_limit: AtLimit::EndOldest })
    }

    fn with_limit(limit: Limit) -> Bench {
        let (store, clock) = (Arc::new(Watched::default()), Arc::new(TestClock::new(START)));
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let sessions = sessions(&store, &clock, &key, limit);
        Bench { sessions: Arc::new(sessions), store, clock, key, proofs: AtomicU64::new(0) }
    }

    /// Another replica on the same store.
    fn beside(&self) -> Sessions {
        sessions(&self.store, &self.clock, &self.key, Limit { most: 20, at_limit: AtLimit::EndOldest })
    }

    fn proof(&self, of: &str) -> String {
        let now = self.clock.now();
        let number = self.proofs.fetch_add(1, Ordering::SeqCst);
        let claims = ProofClaims {
            iss: "https://issuer.example".to_owned(),
            aud: vec!["session".to_owned()],
            sub: of.to_owned(),
            name: "alice".to_owned(),
            iat: now,
            exp: now + 30 * SECOND,
            jti: format!("proof-{number}"),
            epo: Epochs { subject: 3, client: 0 },
            amr: vec!["pwd".to_owned()],
            auth_time: now,
        };
        self.key.sign(TYP_PROOF, &claims).unwrap()
    }

    async fn log_in(&self, of: &str) -> (Session, SessionSecret) {
        let login = Login { proof: &self.proof(of), user_agent: "", client_address: "", former: None };
        match self.sessions.create(login).await.unwrap() {
            Creation::Created { session, secret, .. } => (*session, secret),
            Creation::ProofInvalid(why) => panic!("{why}"),
            Creation::LimitReached => panic!("limit"),
        }
    }

    async fn is_live(&self, secret: &SessionSecret) -> bool {
        self.sessions.resolve(secret).await.unwrap().is_some()
    }
}

fn sessions(store: &Arc<Watched>, clock: &Arc<TestClock>, key: &SigningKey, limit: Limit) -> Sessions {
    let keys = Keys(KeySet::new([key.public_jwk()]).unwrap().to_json());
    let expect = Expect::new("https://issuer.example", "session", [Algorithm::Es256], 30 * SECOND).unwrap();
    let proofs = Proofs::new(Arc::new(keys), expect, clock.clone());
    let entropy = Arc::new(TestEntropy::new(7));
    Sessions::new(store.clone(), proofs, clock.clone(), entropy, LIFETIMES, limit)
}

#[tokio::test]
async fn s04_parallel_rotations_hand_everybody_the_same_secret() {
    let bench = Bench::new();
    let (_, first) = bench.log_in("usr_1").await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (sessions, first) = (bench.sessions.clone(), first.clone());
        calls.spawn(async move { sessions.rotate(&first).await.unwrap().unwrap().secret.digest() });
    }
    let secrets = calls.join_all().await;
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    assert_ne!(secrets[0], first.digest());

    bench.clock.advance(LIFETIMES.rotation_grace - SECOND);
    let resolved = bench.sessions.resolve(&first).await.unwrap().unwrap();
    let current = resolved.current_secret.unwrap();
    assert_eq!(current.digest(), secrets[0]);
    assert!(bench.sessions.resolve(&current).await.unwrap().unwrap().current_secret.is_none());
    bench.clock.advance(2 * SECOND);
    assert!(!bench.is_live(&first).await);
    assert!(bench.is_live(&current).await);
}

#[tokio::test]
async fn s04_an_ending_closes_the_window_of_a_rotation() {
    let bench = Bench::new();
    let (_, first) = bench.log_in("usr_1").await;
    let second = bench.sessions.rotate(&first).await.unwrap().unwrap().secret;
    assert!(
        bench.sessions.end(&first, None).await.unwrap().is_some(),
        "the former secret may end its session"
    );
    for secret in [first, second] {
        assert!(!bench.is_live(&secret).await);
        assert!(bench.sessions.rotate(&secret).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn endings_by_their_own_subject() {
    let bench = Bench::new();
    let (one, first) = bench.log_in("usr_1").await;
    let (two, second) = bench.log_in("usr_1").await;
    let (_, third) = bench.log_in("usr_1").await;
    let (_, stranger) = bench.log_in("usr_2").await;
    assert!(bench.sessions.end(&stranger, Some(one.id.clone())).await.unwrap().is_none());
    assert_eq!(bench.sessions.end(&first, Some(two.id.clone())).await.unwrap().unwrap().id, two.id);
    assert!(bench.sessions.end(&first, Some(two.id)).await.unwrap().is_none(), "repeating changes nothing");
    let EndedOthers::Done(ended) = bench.sessions.end_others(&first).await.unwrap() else {
        panic!("not found")
    };
    assert_eq!(ended.len(), 1);
    assert!(bench.is_live(&first).await);
    for secret in [&second, &third] {
        assert!(!bench.is_live(secret).await);
        assert!(matches!(bench.sessions.end_others(secret).await.unwrap(), EndedOthers::NotFound));
        assert!(bench.sessions.end(secret, None).await.unwrap().is_none());
    }
    assert!(bench.is_live(&stranger).await);
    assert_eq!(bench.sessions.figures().ended(EndReason::Logout).get(), 2);
}

#[tokio::test]
async fn what_was_over_anyway_is_not_told_as_ended() {
    let bench = Bench::new();
    let (session, secret) = bench.log_in("usr_1").await;
    bench.clock.advance(LIFETIMES.idle);
    assert!(bench.sessions.end_by_id(session.id).await.unwrap().is_none());
    assert!(bench.sessions.end_subject(Subject::parse("usr_1").unwrap()).await.unwrap().is_empty());
    assert!(!bench.is_live(&secret).await);
}

#[tokio::test]
async fn an_idle_session_takes_no_attributes() {
    let bench = Bench::new();
    let (session, _) = bench.log_in("usr_1").await;
    let set = || bench.sessions.set_attributes(&session.id, 0, &ATTRIBUTES);
    static ATTRIBUTES: std::sync::LazyLock<Attributes> = std::sync::LazyLock::new(Attributes::default);
    bench.clock.advance(LIFETIMES.idle - SECOND);
    assert_eq!(set().await.unwrap(), AttributesSet::Done { version: 1 });
    bench.clock.advance(SECOND);
    assert_eq!(set().await.unwrap(), AttributesSet::NotFound);
}

#[tokio::test]
async fn a_page_ends_where_the_next_begins() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.log_in("usr_1").await;
        bench.clock.advance(SECOND);
    }
    let mut after = None;
    let mut lengths = Vec::new();
    loop {
        let query = ListQuery { subject: Subject::parse("usr_1"), size: PageSize::parse(2).unwrap(), after };
        let page = bench.sessions.list(query).await.unwrap();
        lengths.push(page.sessions.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(lengths, [2, 2, 1]);
}

#[tokio::test]
async fn a_store_that_fails_is_never_nothing_found() {
    let bench = Bench::new();
    let (session, secret) = bench.log_in("usr_1").await;
    bench.store.fail(true);
    let sessions = &bench.sessions;
    assert!(sessions.resolve(&secret).await.is_err());
    assert!(sessions.rotate(&secret).await.is_err());
    assert!(sessions.end(&secret, None).await.is_err());
    assert!(sessions.end_others(&secret).await.is_err());
    assert!(sessions.get(&session.id).await.is_err());
    assert!(sessions.end_by_id(session.id.clone()).await.is_err());
    assert!(sessions.set_attributes(&session.id, 0, &Attributes::default()).await.is_err());
    let query = ListQuery { subject: None, size: PageSize::parse(0).unwrap(), after: None };
    assert!(sessions.list(query).await.is_err());
    let login = Login { proof: &bench.proof("usr_1"), user_agent: "", client_address: "", former: None };
    assert!(sessions.create(login).await.is_err());
    bench.store.fail(false);
    assert!(bench.is_live(&secret).await);
}
