use std::time::Duration;

use async_trait::async_trait;
use token::{Algorithm, KeySet, SigningKey, TYP_ACCESS};

use super::*;
use crate::FetchedKeys;

struct Fixed(String);

#[async_trait]
impl KeySource for Fixed {
    async fn fetch(&self) -> Result<FetchedKeys, SourceUnavailable> {
        Ok(FetchedKeys { jwks: self.0.clone(), max_age: Duration::from_secs(300) })
    }
}

struct NothingEnds;

#[async_trait]
impl Endings for NothingEnds {
    fn judge(&self, _: &Credential) -> Option<Verdict> {
        Some(Verdict::Live)
    }

    async fn ask(&self, _: &Credential) -> Result<Verdict, SourceUnavailable> {
        Ok(Verdict::Live)
    }

    fn judge_stale(&self, _: &Credential, _: Duration) -> Option<Verdict> {
        None
    }
}

fn token(key: &SigningKey, jti: usize) -> String {
    let claims = serde_json::json!({
        "iss": "i", "aud": "a", "sub": "usr_1", "client_id": "c", "iat": 0, "exp": 1_000, "jti": jti.to_string(),
        "kind": "user", "name": "alice", "epo": { "subject": 1, "client": 1 }, "pv": 1,
    });
    key.sign(TYP_ACCESS, &claims).unwrap()
}

/// With every turn taken, as many wait as may; the next is turned away, and told that it is not the token's fault.
#[tokio::test]
async fn verifications_are_bounded() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let expect = Expect::new("i", "a", Algorithm::ALL, Duration::ZERO).unwrap();
    let settings = Settings { max_concurrent: 2, max_waiting: 3, ..Settings::new(expect) };
    let set = KeySet::new([key.public_jwk()]).unwrap();
    let guard = TokenGuard::new(settings, Arc::new(Fixed(set.to_json())), Arc::new(NothingEnds), |_| ());
    guard.refresh_keys().await.unwrap();
    let now = OffsetDateTime::UNIX_EPOCH;
    let tokens: Vec<_> = (0..6).map(|jti| token(&key, jti)).collect();

    let busy = guard.turns.acquire_many(2).await.unwrap();
    let busy_places = guard.places.acquire_many(2).await.unwrap();
    let mut waiting: Vec<_> = tokens[..3].iter().map(|token| Box::pin(guard.verify(token, now))).collect();
    for one in &mut waiting {
        tokio::select! {
            biased;
            _ = one => panic!("there was no turn to take"),
            () = std::future::ready(()) => {}
        }
    }
    let refused = guard.verify(&tokens[3], now).await.unwrap_err();
    assert_eq!(refused, Refusal::Unavailable(Unavailable::Overloaded));
    // The same token again boards the flight that waits and takes no place.
    let mut again = Box::pin(guard.verify(&tokens[0], now));
    tokio::select! {
        biased;
        _ = &mut again => panic!("its flight waits"),
        () = std::future::ready(()) => {}
    }

    drop((busy, busy_places));
    let first = waiting.remove(0).await.unwrap();
    assert!(Arc::ptr_eq(&again.await.unwrap(), &first));
    for one in waiting {
        one.await.unwrap();
    }
    assert!(guard.verify(&tokens[3], now).await.is_ok());
    assert_eq!(
        guard.counts(),
        Counts { verified: 4, unavailable: 1, remembered: 4, key_fetches: 1, ..Counts::default() }
    );
}

/// A caller that goes away in the middle leaves its flight to the others, and nothing behind when it was alone.
#[tokio::test]
async fn an_abandoned_flight_is_flown_on() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let expect = Expect::new("i", "a", Algorithm::ALL, Duration::ZERO).unwrap();
    let set = KeySet::new([key.public_jwk()]).unwrap();
    let settings = Settings { max_concurrent: 1, ..Settings::new(expect) };
    let guard = TokenGuard::new(settings, Arc::new(Fixed(set.to_json())), Arc::new(NothingEnds), |_| ());
    guard.refresh_keys().await.unwrap();
    let now = OffsetDateTime::UNIX_EPOCH;
    let token = token(&key, 0);

    let busy = guard.turns.acquire().await.unwrap();
    let mut leader = Box::pin(guard.verify(&token, now));
    let mut follower = Box::pin(guard.verify(&token, now));
    for one in [&mut leader, &mut follower] {
        tokio::select! {
            biased;
            _ = one => panic!("there was no turn to take"),
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(guard.flights.under_way(), 1);
    drop(leader);
    assert_eq!(guard.flights.under_way(), 1);
    drop(busy);
    assert!(follower.await.is_ok());
    assert_eq!(guard.flights.under_way(), 0);
    assert_eq!(guard.counts().verified, 1);
}
