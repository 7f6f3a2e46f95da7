//! The three invariants on many histories, and every rule of the protocol shown to be needed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests use this")]

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use latchkey_feed::{
    Broken,
    simulation::{Report, is_calm, replay, run, smallest_failing},
};

const FIXED: u64 = 2_000;
const FRESH: u64 = 500;
/// Within so many seeds every broken rule must show.
const ENOUGH: u64 = 5_000;

fn all<T: Send>(seeds: std::ops::Range<u64>, each: impl Fn(u64, Report) -> T + Sync) -> Vec<T> {
    let middle = seeds.start + (seeds.end - seeds.start) / 2;
    let each = &each;
    thread::scope(|scope| {
        let halves = [seeds.start..middle, middle..seeds.end];
        let threads: Vec<_> = halves
            .into_iter()
            .map(|half| scope.spawn(move || half.map(|seed| each(seed, run(seed, None))).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn the_invariants_hold_on_the_fixed_seeds() {
    let mut calm: Vec<Duration> = all(0..FIXED, |seed, report| {
        assert_eq!(report.violation, None, "seed {seed}");
        if !is_calm(seed) {
            return Vec::new();
        }
        // Nothing fails where nothing is wrong, and a guard without a lease is one that has just started.
        assert_eq!(report.counts.not_confirmed, 0, "seed {seed}");
        report.acknowledged_after
    })
    .into_iter()
    .flatten()
    .collect();
    calm.sort();
    println!("{FIXED} fixed seeds tried, from 0");
    let quantile = |of: f64| calm[(calm.len() as f64 * of) as usize];
    assert!(calm.len() as u64 >= FIXED / 10 * 14, "{}", calm.len());
    assert!(quantile(0.5) < Duration::from_millis(12), "{:?}", quantile(0.5));
    assert!(quantile(0.99) < Duration::from_millis(20), "{:?}", quantile(0.99));
}

#[test]
fn the_invariants_hold_on_fresh_seeds() {
    let first = RandomState::new().hash_one(FRESH) >> 16;
    all(first..first + FRESH, |seed, report| assert_eq!(report.violation, None, "seed {seed}"));
    println!("{FRESH} fresh seeds tried, from {first}");
}

/// A history that shows nothing because nothing happens in it would prove nothing.
#[test]
fn much_happens() {
    let sum = all(0..300, |_, report| report.counts).into_iter().reduce(|sum, counts| sum + counts).unwrap();
    assert!(sum.allowed > 50_000 && sum.denied > 50_000, "{sum:?}");
    assert!(sum.asked > 1_000 && sum.unavailable > 1_000 && sum.not_confirmed > 100, "{sum:?}");
    assert!(sum.resets > 300 && sum.diverged > 100 && sum.issued > 1_000, "{sum:?}");
    assert!(sum.refreshed > 500 && sum.fresh_roles > 1_000, "{sum:?}");
    assert!(sum.asked_roles > 100 && sum.hung > 500, "{sum:?}");
}

#[test]
fn a_seed_replays_exactly() {
    for (seed, broken) in [(33, None), (145, None), (14, Some(Broken::MembersBeforeCommit))] {
        let (one, other) = (replay(seed, broken), replay(seed, broken));
        assert_eq!(one.trace, other.trace);
        assert!(one.trace.len() > 1_000);
        // To watch a history changes nothing in it.
        let unwatched = run(seed, broken);
        assert_eq!((one.counts, one.violation), (unwatched.counts, unwatched.violation));
    }
}

#[test]
fn every_broken_rule_shows() {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(rule) = Broken::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let shown = smallest_failing(*rule, ENOUGH);
                    let Some((seed, violation)) = shown else {
                        panic!("{} does not show on {ENOUGH} seeds", rule.name())
                    };
                    println!("{:24} seed {seed:5}: {violation}", rule.name());
                }
            });
        }
    });
}
