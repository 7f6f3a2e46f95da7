//! Who takes calls: every replica of a neighbour and how it stands, and of that a view for callers.
//!
//! The view is swapped whole, so that a call reads it without a lock. What changes it is rare: connections that come
//! and go, health, a name's addresses.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::apart::Apart;
use super::endpoint::Place;
use super::link::Link;
use crate::lifecycle::Readiness;

/// How long a call that finds nobody waits for one that is asked again.
const ASKED: Duration = Duration::from_millis(200);

/// How a replica stands.
pub(super) enum Standing {
    /// Being connected to for the first time, or again after a connection that was good: worth waiting for.
    Coming,
    /// Ready.
    Serving(Arc<Link>),
    /// It was ready and says that it is not: it stops, and answers until it closes the connection.
    Leaving(Arc<Link>),
    /// Connected, and silent: asked where there is nobody else and nobody to hope for, since it may only be slow.
    Silent(Arc<Link>),
    /// It takes no calls, and why.
    Out { reason: String, asked: Asked },
}

/// Whether one that takes no calls is asked again for whoever calls.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    /// Its answer would not be quick.
    Never,
    From(Instant),
    /// At this moment: others who call wait for the same answer.
    Now,
}

/// What operators are told of one that is connected and does not answer.
pub(super) const SILENT: &str = "it does not answer";

/// The entry in the list of endpoints that a replica comes from, and where it is.
pub(super) type Key = (usize, Place);

/// All replicas of one neighbour.
pub(super) struct Roster {
    view: ArcSwap<View>,
    changes: watch::Sender<()>,
    /// Counts the calls that found nobody, though somebody who had refused may be back.
    wanted: watch::Sender<u64>,
    members: Mutex<Members>,
    neighbour: Readiness,
    apart: Apart,
    turn: AtomicU64,
    ended: CancellationToken,
}

struct Members {
    replicas: BTreeMap<Key, Member>,
    /// Names whose first answer is still to come.
    unresolved: usize,
    /// Why a name has no addresses.
    trouble: Option<String>,
}

struct Member {
    standing: Standing,
    removed: CancellationToken,
}

#[derive(Default)]
struct View {
    serving: Vec<Arc<Link>>,
    leaving: Vec<Arc<Link>>,
    silent: Vec<Arc<Link>>,
    /// Whether somebody may begin to take calls in a moment.
    hopeful: bool,
    /// Whether one that is out is being asked.
    asking: bool,
    /// From when on it is worth asking one that is out.
    again: Option<Instant>,
}

impl Roster {
    pub(super) fn new(neighbour: Readiness, apart: Apart, names: usize, ended: CancellationToken) -> Roster {
        Roster {
            view: ArcSwap::from_pointee(View { hopeful: true, ..View::default() }),
            changes: watch::Sender::new(()),
            wanted: watch::Sender::new(0),
            members: Mutex::new(Members { replicas: BTreeMap::new(), unresolved: names, trouble: None }),
            neighbour,
            apart,
            turn: AtomicU64::new(0),
            ended,
        }
    }

    /// Somebody who takes a call, waiting while there is reason to hope. `None`: nobody does.
    pub(super) async fn choose(&self, except: Option<&Arc<Link>>) -> Option<Arc<Link>> {
        if let Some(link) = self.view.load().choose(&self.turn, except) {
            return Some(link);
        }
        let mut changes = self.changes.subscribe();
        let mut asked: Option<Instant> = None;
        loop {
            changes.borrow_and_update();
            let until = {
                let view = self.view.load();
                if let Some(link) = view.choose(&self.turn, except) {
                    return Some(link);
                }
                if view.is_hopeful() {
                    None
                } else {
                    let now = Instant::now();
                    let is_first = asked.is_none();
                    let at = *asked.get_or_insert(now);
                    let is_askable = view.again.is_some_and(|again| again <= at);
                    // Whoever was asked has said no again, or says nothing.
                    if !(view.asking || is_askable) || now >= at + ASKED {
                        return None;
                    }
                    if is_first && is_askable {
                        self.wanted.send_modify(|wanted| *wanted = wanted.wrapping_add(1));
                    }
                    Some(at + ASKED)
                }
            };
            let patience = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changes.changed() => changed.ok()?,
                () = patience => {}
                () = self.ended.cancelled() => return None,
            }
        }
    }

    /// Somebody at another place who takes calls now.
    pub(super) fn take_elsewhere(&self, place: &Place) -> Option<Arc<Link>> {
        self.view.load().taking_calls(&self.turn, |link| link.place() != place).cloned()
    }

    /// The cheapest of those who are ready, other than `link`, and do not mostly answer that they are unavailable.
    pub(super) fn take_healthier(&self, link: &Arc<Link>) -> Option<Arc<Link>> {
        let now = Instant::now();
        let healthier =
            |other: &&Arc<Link>| other.is_open() && !Arc::ptr_eq(other, link) && !other.is_unavailable(now);
        cheapest(&self.view.load().serving, healthier, |link| link.cost(now)).cloned()
    }

    /// Tells of calls that found nobody from here on.
    pub(super) fn wanted(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    /// Adds a replica that is not there yet; what is returned is cancelled when it is removed.
    pub(super) fn add(&self, key: Key) -> Option<CancellationToken> {
        self.change(|members| {
            if members.replicas.contains_key(&key) {
                return None;
            }
            let removed = CancellationToken::new();
            let member = Member { standing: Standing::Coming, removed: removed.clone() };
            members.replicas.insert(key, member);
            Some(removed)
        })
    }

    /// Keeps only these replicas of name number `name`. Calls in flight to the others go on.
    pub(super) fn keep(&self, name: usize, places: &[Place]) {
        self.change(|members| {
            members.replicas.retain(|(of, place), member| {
                let stays = *of != name || places.contains(place);
                if !stays {
                    member.removed.cancel();
                }
                stays
            });
        });
    }

    /// The first answer about a name, and what was wrong with it.
    pub(super) fn resolved(&self, first: bool, trouble: Option<String>) {
        self.change(|members| {
            members.unresolved -= usize::from(first && members.unresolved > 0);
            members.trouble = trouble;
        });
    }

    /// `removed` is the token that [`Roster::add`] gave: one that was removed has no standing any more.
    pub(super) fn set(&self, key: &Key, removed: &CancellationToken, standing: Standing) {
        self.change(|members| {
            if let Some(member) = members.replicas.get_mut(key)
                && !removed.is_cancelled()
            {
                member.standing = standing;
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Members) -> T) -> T {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut members);
        let view = members.view();
        let state = members.state(&view);
        // Under the lock, so that a later change cannot be overtaken.
        self.apart.judge(&view.serving);
        self.view.store(Arc::new(view));
        match state {
            Some(Ok(())) => self.neighbour.ready(),
            Some(Err(reason)) => self.neighbour.not_ready(reason),
            None => {}
        }
        drop(members);
        self.changes.send_replace(());
        result
    }
}

impl Members {
    fn view(&self) -> View {
        let mut view = View { hopeful: self.unresolved > 0, ..View::default() };
        for member in self.replicas.values() {
            match &member.standing {
                Standing::Coming => view.hopeful = true,
                Standing::Serving(link) => view.serving.push(link.clone()),
                Standing::Leaving(link) => view.leaving.push(link.clone()),
                Standing::Silent(link) => view.silent.push(link.clone()),
                Standing::Out { asked: Asked::Never, .. } => {}
                Standing::Out { asked: Asked::From(again), .. } => {
                    view.again = Some(view.again.map_or(*again, |earliest| earliest.min(*again)));
                }
                Standing::Out { asked: Asked::Now, .. } => view.asking = true,
            }
        }
        view
    }

    /// What operators are told; nothing new while it is not decided.
    fn state(&self, view: &View) -> Option<Result<(), String>> {
        if !view.serving.is_empty() {
            return Some(Ok(()));
        }
        if view.hopeful {
            return None;
        }
        let mut reasons: Vec<&str> = self
            .replicas
            .values()
            .filter_map(|member| match &member.standing {
                Standing::Out { reason, .. } => Some(reason.as_str()),
                Standing::Leaving(_) => Some("it stops"),
                Standing::Silent(_) => Some(SILENT),
                Standing::Coming | Standing::Serving(_) => None,
            })
            .chain(self.trouble.as_deref())
            .collect();
        reasons.sort_unstable();
        reasons.dedup();
        Some(Err(reasons.join("; ")))
    }
}

impl View {
    /// A link that has closed a moment ago will soon be followed by another, or be known to be out.
    fn is_hopeful(&self) -> bool {
        self.hopeful || self.serving.iter().chain(&self.leaving).any(|link| !link.is_open())
    }

    /// Somebody who takes calls; who is only silent, where there is nobody else and nobody to hope for. A call to one that
    /// is frozen hangs, so it must not be preferred to one whose connection is renewed.
    fn choose(&self, turn: &AtomicU64, except: Option<&Arc<Link>>) -> Option<Arc<Link>> {
        let is_other = |link: &Arc<Link>| except.is_none_or(|except| !Arc::ptr_eq(link, except));
        let is_forlorn = self.serving.is_empty() && self.leaving.is_empty() && !self.hopeful;
        let silent = || self.silent.iter().find(|link| is_forlorn && link.is_open() && is_other(link));
        self.taking_calls(turn, is_other).or_else(silent).cloned()
    }

    fn taking_calls(&self, turn: &AtomicU64, is_other: impl Fn(&Arc<Link>) -> bool) -> Option<&Arc<Link>> {
        let usable = |link: &&Arc<Link>| link.is_open() && is_other(link);
        let now = Instant::now();
        let cost = |link: &Arc<Link>| link.cost(now);
        let available = |link: &&Arc<Link>| usable(link) && !link.is_unavailable(now);
        let two = power_of_two(&self.serving, turn, usable, cost);
        two.filter(|link| !link.is_unavailable(now))
            // Two at random may both be cut off, or gone, where a third is not.
            .or_else(|| cheapest(&self.serving, available, cost))
            .or(two)
            .or_else(|| self.serving.iter().find(usable))
            .or_else(|| self.leaving.iter().find(usable))
    }
}

/// The cheaper of two that are chosen at random; `None` if neither is usable.
fn power_of_two<'a, T>(
    all: &'a [T],
    turn: &AtomicU64,
    usable: impl Fn(&&'a T) -> bool,
    cost: impl Fn(&T) -> f64,
) -> Option<&'a T> {
    let count = u64::try_from(all.len()).unwrap_or(0);
    if count < 2 {
        return all.first().filter(usable);
    }
    let random = scatter(turn.fetch_add(1, Ordering::Relaxed));
    let first = random % count;
    let second = (first + 1 + (random >> 32) % (count - 1)) % count;
    let at = |place: u64| all.get(usize::try_from(place).unwrap_or(0)).filter(&usable);
    match (at(first), at(second)) {
        (Some(first), Some(second)) => Some(if cost(second) < cost(first) { second } else { first }),
        (first, second) => first.or(second),
    }
}

fn cheapest<'a, T>(all: &'a [T], usable: impl Fn(&&'a T) -> bool, cost: impl Fn(&T) -> f64) -> Option<&'a T> {
    all.iter().filter(usable).min_by(|one, other| cost(one).total_cmp(&cost(other)))
}

/// SplitMix64: successive numbers to what looks random, without state of its own and nothing to wait for.
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
