use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chassis::clock::{Clock as _, TestClock};
use time::macros::datetime;
use token::{Algorithm, Epochs, ProofClaims, SigningKey, TYP_PROOF};

use super::*;
use crate::peers::PublishedKeys;

const START: OffsetDateTime = datetime!(2026-11-01 08:00 UTC);
const ISSUER: &str = "https://issuer.example";

/// auth-service, as far as this room sees it: what it publishes can change, and it can be away.
#[derive(Default)]
struct Published {
    keys: StdMutex<Option<String>>,
    asked: AtomicUsize,
}

impl Published {
    fn publish(&self, keys: &[&SigningKey]) {
        let set = KeySet::new(keys.iter().map(|key| key.public_jwk())).unwrap();
        *self.keys.lock().unwrap() = Some(set.to_json());
    }

    fn go_away(&self) {
        *self.keys.lock().unwrap() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KeySets for Published {
    async fn fetch(&self) -> Result<PublishedKeys, KeysUnavailable> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let jwks = self.keys.lock().unwrap().clone().ok_or_else(|| KeysUnavailable::new("away"))?;
        Ok(PublishedKeys { jwks, max_age: Duration::from_secs(300) })
    }
}

struct Bench {
    published: Arc<Published>,
    clock: Arc<TestClock>,
    proofs: Proofs,
}

impl Bench {
    fn new() -> Bench {
        let (published, clock) = (Arc::new(Published::default()), Arc::new(TestClock::new(START)));
        let expect = Expect::new(ISSUER, "session", [Algorithm::Es256], Duration::from_secs(30)).unwrap();
        let proofs = Proofs::new(published.clone(), expect, clock.clone());
        Bench { published, clock, proofs }
    }

    /// `Ok(Ok(jti))`, `Ok(Err(why))`, or `Err(())` when the keys could not be had.
    async fn judge(&self, proof: &str) -> Result<Result<String, &'static str>, ()> {
        let judged = self.proofs.verify(proof, self.clock.now()).await.map_err(drop)?;
        Ok(judged.map(|proof| proof.jti))
    }
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256).unwrap()
}

fn claims() -> ProofClaims {
    ProofClaims {
        iss: ISSUER.to_owned(),
        aud: vec!["session".to_owned()],
        sub: "usr_1".to_owned(),
        name: "alice".to_owned(),
        iat: START,
        exp: START + Duration::from_secs(3600),
        jti: "proof-1".to_owned(),
        epo: Epochs { subject: 1, client: 0 },
        amr: vec!["pwd".to_owned()],
        auth_time: START,
    }
}

fn signed(key: &SigningKey) -> String {
    key.sign(TYP_PROOF, &claims()).unwrap()
}

fn believed() -> Result<Result<String, &'static str>, ()> {
    Ok(Ok("proof-1".to_owned()))
}

#[tokio::test]
async fn keys_are_fetched_once_and_kept_for_their_age() {
    let (bench, key) = (Bench::new(), key());
    bench.published.publish(&[&key]);
    for _ in 0..3 {
        assert_eq!(bench.judge(&signed(&key)).await, believed());
    }
    bench.clock.advance(Duration::from_secs(299));
    assert_eq!(bench.judge(&signed(&key)).await, believed());
    assert_eq!(bench.published.asked(), 1);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.judge(&signed(&key)).await, believed());
    assert_eq!(bench.published.asked(), 2);
}

#[tokio::test]
async fn keys_past_their_age_are_not_believed_any_more() {
    let (bench, key) = (Bench::new(), key());
    bench.published.publish(&[&key]);
    assert_eq!(bench.judge(&signed(&key)).await, believed());
    bench.published.go_away();
    bench.clock.advance(Duration::from_secs(300));
    assert_eq!(bench.judge(&signed(&key)).await, Err(()));
    bench.published.publish(&[&key]);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.judge(&signed(&key)).await, believed());
}

#[tokio::test]
async fn a_new_key_is_found() {
    let (bench, old, new) = (Bench::new(), key(), key());
    bench.published.publish(&[&old]);
    assert_eq!(bench.judge(&signed(&old)).await, believed());
    bench.published.publish(&[&old, &new]);
    bench.clock.advance(UNKNOWN_KEY_INTERVAL);
    assert_eq!(bench.judge(&signed(&new)).await, believed());
}

#[tokio::test]
async fn j04_forged_key_names_do_not_make_a_flood() {
    let (bench, key, stranger) = (Bench::new(), key(), key());
    bench.published.publish(&[&key]);
    assert_eq!(bench.judge(&signed(&stranger)).await, Ok(Err("key_unknown")), "the keys are fresh");
    assert_eq!(bench.published.asked(), 1);
    // One a second for twenty seconds: one fetch for each five.
    for _ in 0..20 {
        bench.clock.advance(Duration::from_secs(1));
        assert_eq!(bench.judge(&signed(&stranger)).await, Ok(Err("key_unknown")));
    }
    assert_eq!(bench.published.asked(), 5);
}

#[tokio::test]
async fn an_unknown_key_that_cannot_be_asked_for_is_no_refusal() {
    let (bench, key, other) = (Bench::new(), key(), key());
    assert_eq!(bench.judge(&signed(&key)).await, Err(()), "there were never any keys");
    bench.clock.advance(RETRY_INTERVAL);
    bench.published.publish(&[&key]);
    assert_eq!(bench.judge(&signed(&key)).await, believed());
    bench.published.go_away();
    bench.clock.advance(UNKNOWN_KEY_INTERVAL);
    assert_eq!(bench.judge(&signed(&other)).await, Err(()));
    assert_eq!(bench.judge(&signed(&other)).await, Err(()), "nor is one that was asked for a moment ago");
    assert_eq!(bench.judge(&signed(&key)).await, believed(), "known keys go on");
    assert_eq!(bench.published.asked(), 3);
}

#[tokio::test]
async fn what_is_no_key_set_is_unavailable() {
    let bench = Bench::new();
    for jwks in ["", "{}", r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#] {
        *bench.published.keys.lock().unwrap() = Some(jwks.to_owned());
        bench.clock.advance(RETRY_INTERVAL);
        assert_eq!(bench.judge(&signed(&key())).await, Err(()), "{jwks}");
    }
}

#[tokio::test]
async fn callers_who_wait_share_one_fetch() {
    let (bench, key) = (Arc::new(Bench::new()), key());
    bench.published.publish(&[&key]);
    let proof = signed(&key);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (bench, proof) = (bench.clone(), proof.clone());
        calls.spawn(async move { bench.judge(&proof).await });
    }
    for judged in calls.join_all().await {
        assert_eq!(judged, believed());
    }
    assert_eq!(bench.published.asked(), 1);
}

#[tokio::test]
async fn forged_proofs_are_refused_with_a_reason() {
    let (bench, key) = (Bench::new(), key());
    bench.published.publish(&[&key]);
    let with = |change: fn(&mut ProofClaims)| {
        let mut claims = claims();
        change(&mut claims);
        key.sign(TYP_PROOF, &claims).unwrap()
    };
    let mut other_signature = signed(&key);
    other_signature.replace_range(other_signature.len() - 4.., "AAAA");
    for (proof, why) in [
        (String::new(), "malformed"),
        ("not.a.proof".to_owned(), "malformed"),
        (other_signature, "signature"),
        (key.sign("at+jwt", &claims()).unwrap(), "type"),
        (with(|claims| claims.aud = vec!["latchkey".to_owned()]), "audience"),
        (with(|claims| claims.iss.push('/')), "issuer"),
        (with(|claims| claims.exp = START - Duration::from_secs(30)), "expired"),
        (with(|claims| claims.sub.clear()), "malformed"),
    ] {
        assert_eq!(bench.judge(&proof).await, Ok(Err(why)));
    }
}

#[tokio::test]
async fn a_spent_proof_is_remembered_for_longer_than_it_is_good() {
    let (bench, key) = (Bench::new(), key());
    bench.published.publish(&[&key]);
    let text = signed(&key);
    let proof = bench.proofs.verify(&text, START).await.unwrap().unwrap();
    let keep_until = bench.proofs.spent(&proof).keep_until;
    let last_believed = claims().exp + Duration::from_secs(30) - Duration::from_millis(1);
    assert!(bench.proofs.verify(&text, last_believed).await.unwrap().is_ok());
    assert!(keep_until > last_believed);
    assert_eq!(bench.proofs.verify(&text, keep_until).await.unwrap(), Err("expired"));
}
