//! The issuer's keys as last fetched, and the one task that fetches them.
//!
//! Requests never fetch. They ask for it and wait, so that the pace is decided in one place: a million unknown key
//! ids cost the issuer one question per interval (J04), and a caller who hangs up cancels nothing. The pace is kept
//! by tokio's monotonic clock; a wall clock that is set must not open a gap in it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use token::{KeyId, KeySet};
use tokio::{
    sync::{Mutex, Notify, Semaphore, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{KeySource, Settings, SourceUnavailable, Unavailable, verified::KeyLife};

/// While there is no key set at all, the first question is repeated after this time, then after twice that.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// However long the issuer lets a set be kept, it is asked again after this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
/// A set with a key that has been ended is out of date for certain: it is asked for again this many times as soon.
const HURRY: u32 = 20;
/// An issuer that lets a set be kept for less says nothing about it.
const SHORTEST_AGE: Duration = Duration::from_secs(2);

pub(crate) struct Keys {
    source: Arc<dyn KeySource>,
    refetch_interval: Duration,
    fetch_timeout: Duration,
    current: ArcSwapOption<Snapshot>,
    attempt: watch::Sender<Attempt>,
    wanted: Notify,
    /// Whoever wants a set knows that the present one is out of date.
    is_hurried: AtomicBool,
    fetching: Mutex<()>,
    /// Places for callers that wait for a fetch. Not the same as those that wait for a verification: who brings
    /// unknown keys must not keep out who brings known ones.
    waiting: Semaphore,
    fetches: AtomicU64,
    failures: AtomicU64,
}

/// A key set and the lives of its keys.
pub(crate) struct Snapshot {
    pub(crate) set: KeySet,
    /// Which of our fetches brought it, from 1 on.
    pub(crate) fetch: u64,
    lives: HashMap<KeyId, Arc<KeyLife>>,
    /// When another may be asked for.
    interval: Duration,
}

/// How the last question to the issuer went.
#[derive(Clone, Copy, Default)]
struct Attempt {
    ended: bool,
    began: Option<Instant>,
    /// When the fetch began that brought the present set.
    set_from: Option<Instant>,
    succeeded: bool,
}

/// What became of the wish for keys beyond those of a snapshot.
pub(crate) enum Newer {
    Set(Arc<Snapshot>),
    /// The snapshot is as fresh as the interval demands: there are no other keys.
    None,
}

impl Keys {
    pub(crate) fn new(source: Arc<dyn KeySource>, settings: &Settings) -> Self {
        Self {
            source,
            refetch_interval: settings.refetch_interval,
            fetch_timeout: settings.fetch_timeout,
            current: ArcSwapOption::empty(),
            attempt: watch::Sender::new(Attempt::default()),
            wanted: Notify::new(),
            is_hurried: AtomicBool::new(false),
            fetching: Mutex::new(()),
            waiting: Semaphore::new(settings.max_waiting.clamp(1, Semaphore::MAX_PERMITS)),
            fetches: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(crate) fn current(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    pub(crate) fn has_keys(&self) -> bool {
        self.current.load().as_ref().is_some_and(|snapshot| !snapshot.set.is_empty())
    }

    pub(crate) async fn until_there_are_keys(&self) {
        let mut attempts = self.attempt.subscribe();
        while !self.has_keys() {
            // INVARIANT: the sender lives as long as `self`.
            let _ = attempts.changed().await;
        }
    }

    /// A set that is newer than `known`, if the pace allows to ask for one. Where `known` is out of date for certain the pace is
    /// faster, and until it allows to ask nobody can tell.
    pub(crate) async fn newer_than(
        &self,
        known: Option<&Arc<Snapshot>>,
        is_outdated: bool,
    ) -> Result<Newer, Unavailable> {
        let missing = if known.is_some() { Unavailable::IssuerUnreachable } else { Unavailable::NoKeys };
        let mut attempts = self.attempt.subscribe();
        let last = *attempts.borrow_and_update();
        if let Some(newer) = self.other_than(known) {
            return Ok(Newer::Set(newer));
        }
        let now = Instant::now();
        let pace = self.pace(is_outdated);
        let recent = |moment: Option<Instant>| {
            moment.is_some_and(|moment| now.saturating_duration_since(moment) < pace)
        };
        if recent(last.set_from) && !is_outdated {
            return Ok(Newer::None);
        }
        if recent(last.began) {
            return Err(missing);
        }
        let _place = self.waiting.try_acquire().map_err(|_| Unavailable::Overloaded)?;
        if is_outdated {
            self.is_hurried.store(true, Ordering::Relaxed);
        }
        // The very first fetch needs no reminder, and a reminder kept for later would only cost another fetch.
        if last.ended {
            self.wanted.notify_one();
        }
        let ended = timeout(self.fetch_timeout.saturating_mul(2), attempts.changed()).await;
        if !matches!(ended, Ok(Ok(()))) || !attempts.borrow().succeeded {
            return Err(missing);
        }
        Ok(self.other_than(known).map_or(Newer::None, Newer::Set))
    }

    /// Asks the issuer now, whatever the pace. On failure everything stays as it was.
    pub(crate) async fn fetch(&self) -> Result<Duration, SourceUnavailable> {
        let _one_at_a_time = self.fetching.lock().await;
        let began = Instant::now();
        let number = self.fetches.fetch_add(1, Ordering::Relaxed) + 1;
        let fetched = match timeout(self.fetch_timeout, self.source.fetch()).await {
            Ok(Ok(fetched)) => KeySet::from_json(&fetched.jwks)
                .map(|set| (set, fetched.max_age))
                .map_err(SourceUnavailable::new),
            Ok(Err(unavailable)) => Err(unavailable),
            Err(elapsed) => Err(SourceUnavailable::new(elapsed)),
        };
        let outcome = fetched.map(|(set, max_age)| {
            self.install(set, number, self.interval_for(max_age));
            max_age
        });
        if outcome.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        self.attempt.send_modify(|attempt| {
            attempt.ended = true;
            attempt.began = Some(began);
            attempt.succeeded = outcome.is_ok();
            if outcome.is_ok() {
                attempt.set_from = Some(began);
            }
        });
        outcome
    }

    /// Never returns. Fetches at half the time that the issuer allows, and when somebody waits for a key. Each time it takes down
    /// which keys have ended: much more often than endings are forgotten.
    pub(crate) async fn refresh_loop(&self, has_ended: impl Fn(&KeyId) -> bool) {
        let mut retry = FIRST_RETRY;
        let mut failing = false;
        loop {
            let began = Instant::now();
            let pause = match self.fetch().await {
                Ok(max_age) => {
                    if failing {
                        tracing::info!("the issuer's keys can be fetched again");
                    }
                    failing = false;
                    (max_age / 2).min(LONGEST_PAUSE).max(self.pace(false))
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "cannot fetch the issuer's keys"
                        );
                    }
                    failing = true;
                    if self.current.load().is_some() {
                        self.refetch_interval
                    } else {
                        let pause = retry.min(self.refetch_interval);
                        retry = retry.saturating_mul(2);
                        pause
                    }
                }
            };
            if let Some(snapshot) = self.current() {
                snapshot.lives.iter().filter(|(kid, _)| has_ended(kid)).for_each(|(_, life)| life.end());
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wanted.notified() => {
                    let pace = self.pace(self.is_hurried.swap(false, Ordering::Relaxed));
                    sleep_until(began + pause.min(pace)).await;
                }
            }
        }
    }

    fn pace(&self, is_hurried: bool) -> Duration {
        let interval =
            self.current.load().as_ref().map_or(self.refetch_interval, |snapshot| snapshot.interval);
        if is_hurried { interval / HURRY } else { interval }
    }

    /// An issuer that changes its keys faster than it would be asked says so.
    fn interval_for(&self, max_age: Duration) -> Duration {
        match max_age < SHORTEST_AGE {
            true => self.refetch_interval,
            false => self.refetch_interval.min(max_age / 2),
        }
    }

    /// How many have begun.
    pub(crate) fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn other_than(&self, known: Option<&Arc<Snapshot>>) -> Option<Arc<Snapshot>> {
        self.current().filter(|current| !known.is_some_and(|known| Arc::ptr_eq(known, current)))
    }

    /// Called under `fetching`, so there is one writer.
    fn install(&self, set: KeySet, fetch: u64, interval: Duration) {
        let before = self.current.load_full();
        let kept = |kid: &KeyId| {
            // The same id with other key material is another key.
            let before =
                before.as_ref().filter(|before| before.set.find(kid.as_str()) == set.find(kid.as_str()))?;
            before.lives.get(kid).cloned()
        };
        let lives: HashMap<_, _> =
            set.iter().map(|key| (key.kid().clone(), kept(key.kid()).unwrap_or_default())).collect();
        let withdrawn: Vec<_> = before
            .iter()
            .flat_map(|before| &before.lives)
            .filter(|(kid, life)| !lives.get(*kid).is_some_and(|kept| Arc::ptr_eq(kept, life)))
            .map(|(_, life)| Arc::clone(life))
            .collect();
        self.current.store(Some(Arc::new(Snapshot { set, fetch, lives, interval })));
        // After the store: who finds a life ended also finds the set without it, and can verify anew.
        for life in withdrawn {
            life.withdraw();
        }
    }
}

impl Snapshot {
    pub(crate) fn life(&self, kid: &KeyId) -> Option<Arc<KeyLife>> {
        self.lives.get(kid).cloned()
    }
}
