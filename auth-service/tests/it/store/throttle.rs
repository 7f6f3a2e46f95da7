//! Counters of failed logins.

use auth_service::domain::throttle::{Attempt, ThrottleKey, ThrottlePolicy};

use super::*;

const POLICY: ThrottlePolicy = ThrottlePolicy {
    free: 5,
    first_delay: Duration::from_secs(1),
    max_delay: Duration::from_secs(900),
    forget_after: Duration::from_secs(3_600),
};

fn key() -> ThrottleKey {
    ThrottleKey::new("alice", "192.0.2.1")
}

pub async fn the_delays_are_those_of_the_policy(it: Fixture) {
    let mut now = T0;
    for failures in 1..=30 {
        assert_eq!(
            it.store.reserve_attempt(&key(), &POLICY, now).await.unwrap(),
            Attempt::Reserved,
            "{failures}"
        );
        let delay = POLICY.delay(failures);
        if delay.is_zero() {
            continue;
        }
        let until = now + delay;
        let too_early = until - Duration::from_millis(1);
        assert_eq!(
            it.store.reserve_attempt(&key(), &POLICY, too_early).await.unwrap(),
            Attempt::TooMany { until },
            "after {failures}"
        );
        now = until;
    }
}

pub async fn a_burst_gets_no_more_than_the_limit(it: Fixture) {
    for round in 0..5_u32 {
        let now = T0 + round * 900 * SECOND;
        let attempts = at_once(100, |_| {
            let store = Arc::clone(&it.store);
            async move { store.reserve_attempt(&key(), &POLICY, now).await.unwrap() }
        })
        .await;
        let reserved = attempts.iter().filter(|attempt| **attempt == Attempt::Reserved).count();
        assert_eq!(reserved, if round == 0 { 5 } else { 1 }, "round {round}");
    }
}

pub async fn success_and_time_forget(it: Fixture) {
    let exhaust = |now| {
        let store = Arc::clone(&it.store);
        async move {
            for _ in 0..5 {
                assert_eq!(store.reserve_attempt(&key(), &POLICY, now).await.unwrap(), Attempt::Reserved);
            }
            assert_ne!(store.reserve_attempt(&key(), &POLICY, now).await.unwrap(), Attempt::Reserved);
        }
    };
    exhaust(T0).await;
    it.store.forget_attempts(&key()).await.unwrap();
    exhaust(T0).await;
    exhaust(T0 + POLICY.first_delay + POLICY.forget_after).await;
}

pub async fn an_attempt_that_was_not_made_is_returned(it: Fixture) {
    for _ in 0..20 {
        assert_eq!(it.store.reserve_attempt(&key(), &POLICY, T0).await.unwrap(), Attempt::Reserved);
        it.store.return_attempt(&key(), &POLICY, T0).await.unwrap();
    }
    for _ in 0..5 {
        assert_eq!(it.store.reserve_attempt(&key(), &POLICY, T0).await.unwrap(), Attempt::Reserved);
    }
    assert_ne!(it.store.reserve_attempt(&key(), &POLICY, T0).await.unwrap(), Attempt::Reserved);
    it.store.return_attempt(&key(), &POLICY, T0).await.unwrap();
    assert_eq!(it.store.reserve_attempt(&key(), &POLICY, T0).await.unwrap(), Attempt::Reserved);
    assert_ne!(it.store.reserve_attempt(&key(), &POLICY, T0).await.unwrap(), Attempt::Reserved);
    // Also beyond the free ones: one that was not made lengthens no delay.
    let mut now = T0;
    for failures in 6..=20 {
        now += POLICY.delay(failures - 1);
        for _ in 0..3 {
            assert_eq!(it.store.reserve_attempt(&key(), &POLICY, now).await.unwrap(), Attempt::Reserved);
            it.store.return_attempt(&key(), &POLICY, now).await.unwrap();
        }
        assert_eq!(it.store.reserve_attempt(&key(), &POLICY, now).await.unwrap(), Attempt::Reserved);
        let until = now + POLICY.delay(failures);
        let next = it.store.reserve_attempt(&key(), &POLICY, until - Duration::from_millis(1)).await.unwrap();
        assert_eq!(next, Attempt::TooMany { until }, "after {failures}");
    }
    // One that comes back when another has been made since leaves that one's delay.
    let (slow, since) = (now + POLICY.delay(20), now + 2 * POLICY.delay(20));
    for at in [slow, since] {
        assert_eq!(it.store.reserve_attempt(&key(), &POLICY, at).await.unwrap(), Attempt::Reserved);
    }
    it.store.return_attempt(&key(), &POLICY, slow).await.unwrap();
    let until = since + POLICY.max_delay;
    let next = it.store.reserve_attempt(&key(), &POLICY, until - SECOND).await.unwrap();
    assert_eq!(next, Attempt::TooMany { until });
    // Nor is what has failed remembered for longer.
    assert_eq!(it.store.reserve_attempt(&key(), &POLICY, until).await.unwrap(), Attempt::Reserved);
    it.store.return_attempt(&key(), &POLICY, until).await.unwrap();
    for _ in 0..5 {
        let forgotten = until + POLICY.forget_after;
        assert_eq!(it.store.reserve_attempt(&key(), &POLICY, forgotten).await.unwrap(), Attempt::Reserved);
    }
}

pub async fn accounts_and_addresses_are_apart(it: Fixture) {
    for _ in 0..5 {
        it.store.reserve_attempt(&key(), &POLICY, T0).await.unwrap();
    }
    for (account, address) in [("alice", "192.0.2.2"), ("bob", "192.0.2.1")] {
        let other = ThrottleKey::new(account, address);
        assert_eq!(it.store.reserve_attempt(&other, &POLICY, T0).await.unwrap(), Attempt::Reserved);
    }
    let same = ThrottleKey::new("ALICE", "192.0.2.1");
    assert_ne!(it.store.reserve_attempt(&same, &POLICY, T0).await.unwrap(), Attempt::Reserved);
}
