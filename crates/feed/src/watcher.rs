//! A guard's side of the feed: it follows one replica's stream, remembers what has ended, holds a lease that counts from
//! the sending of the renewal, and lets nobody look who does not hold a [`Permit`].

mod clock;
mod fetches;
mod following;
mod leases;

use std::time::Duration;

use self::{clock::JudgingClock, fetches::Fetches, leases::Leases};
pub use self::{
    fetches::{Fetch, Fetched, FlightId},
    leases::Permit,
};
use crate::{
    broken::{Broken, Variant},
    change::{Entry, Position, Target, What},
    credential::{Credential, Verdict},
    endings::Endings,
    message::{FromWatcher, StreamId, ToWatcher, WatcherId},
    time::{Moment, Now, Wall},
};

/// What a watcher keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remember {
    Everything,
    /// Endings of sessions only drop what is cached or under way: for a guard that accepts no credential but the session
    /// itself, which it has fetched, by its session.
    AllButSessions,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// The lease that is expected until the first grant says how long it is.
    pub lease: Duration,
    pub remember: Remember,
    pub variant: Variant,
}

#[derive(Clone, Debug)]
pub enum Event {
    /// First, and once.
    Started,
    /// The moment that [`Watcher::deadline`] named has come.
    Tick,
    Received {
        stream: StreamId,
        message: ToWatcher,
    },
    /// It could not be opened, or it broke.
    StreamClosed {
        stream: StreamId,
    },
    /// Leave the present replica although it serves, and tell it so first.
    GiveUp,
    /// The process ends: leases are given back, so that nobody waits for them. From here on there is none.
    Stop,
}

/// In the order in which they are to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open a stream to a replica, another one than last time if there is one.
    Connect {
        stream: StreamId,
    },
    Send {
        stream: StreamId,
        message: FromWatcher,
    },
    /// Close it, once everything before this was sent.
    Disconnect {
        stream: StreamId,
    },
    /// These are in force; whoever holds open streams ends those that they name.
    Applied {
        entries: std::sync::Arc<[Entry]>,
    },
    /// What was applied since the last one is every entry up to `position`, or everything that lives if the position before led
    /// nowhere.
    CaughtUp {
        position: Position,
        after_reset: bool,
    },
    /// The wall clocks of guard and log are too far apart for any lease; or are so no more.
    ClocksApart(bool),
}

/// `V`: what is fetched from the service and cached under a target.
#[derive(Debug)]
pub struct Watcher<V> {
    settings: Settings,
    id: WatcherId,
    endings: Endings,
    position: Option<Position>,
    /// Has everything that the log held been applied once, in this process?
    caught_up: bool,
    stream: StreamId,
    following: Following,
    leases: Leases,
    /// The last renewal's number, over all streams.
    sequence: u64,
    /// The length of the lease that was granted last.
    lease: Duration,
    last_heard: Moment,
    next_renewal: Moment,
    clock: JudgingClock,
    fetches: Fetches<V>,
    #[cfg(feature = "simulation")]
    unapplied: Vec<(Moment, std::sync::Arc<[Entry]>)>,
    /// What a reset has brought so far, where a broken rule replaces what was known by it.
    #[cfg(feature = "simulation")]
    aside: Vec<std::sync::Arc<[Entry]>>,
    actions: Vec<Action>,
}

/// How far the present stream has come.
#[derive(Debug)]
enum Following {
    /// There is none; again at this moment.
    Nobody(Moment),
    /// Hello was said, and nothing was heard yet.
    Greeting,
    Changes,
    /// Reset was said, and what lives has not all been heard.
    Building,
    /// Nobody is followed any more.
    Stopped,
}

impl<V: Clone> Watcher<V> {
    pub fn new(settings: Settings, id: WatcherId, now: Now) -> Self {
        Self {
            id,
            endings: Endings::default(),
            position: None,
            caught_up: false,
            stream: StreamId(0),
            following: Following::Nobody(now.moment),
            leases: Leases::default(),
            sequence: 0,
            lease: settings.lease,
            last_heard: now.moment,
            next_renewal: now.moment,
            clock: JudgingClock::new(now),
            fetches: Fetches::default(),
            #[cfg(feature = "simulation")]
            unapplied: Vec::new(),
            #[cfg(feature = "simulation")]
            aside: Vec::new(),
            actions: Vec::new(),
            settings,
        }
    }

    pub fn on(&mut self, event: Event, now: Now) -> Vec<Action> {
        self.clock.observe(now);
        match event {
            Event::Started | Event::Tick => {}
            Event::Received { stream, message } => self.received(stream, message, now),
            Event::StreamClosed { stream } => self.stream_closed(stream, now.moment),
            Event::GiveUp => self.give_up(now.moment),
            Event::Stop => self.stop(),
        }
        self.due(now);
        std::mem::take(&mut self.actions)
    }

    /// When [`Event::Tick`] is wanted at the latest.
    pub fn deadline(&self) -> Moment {
        let next = match &self.following {
            Following::Nobody(again) => *again,
            Following::Stopped => self.last_heard + Duration::MAX,
            Following::Changes => self.next_renewal.min(self.silent_at()),
            Following::Greeting | Following::Building => self.silent_at(),
        };
        #[cfg(feature = "simulation")]
        let next = self.unapplied.iter().map(|(at, _)| *at).fold(next, Moment::min);
        self.leases.next_left_end().map_or(next, |end| next.min(end))
    }

    /// The right to look, if there is one. `now` was read after the request arrived: the lease is looked at first, then
    /// the memory, which only grows (rule W6).
    pub fn permit(&self, now: Moment) -> Option<Permit> {
        self.leases.permit(now)
    }

    pub fn judge(&self, _: &Permit, credential: &Credential) -> Verdict {
        self.endings.judge(credential)
    }

    /// What is cached under `target`, or which fetch to wait for (rule W7).
    pub fn fetch(&mut self, _: &Permit, target: &Target) -> Fetch<V> {
        let at_least = self.position.unwrap_or(Position::START);
        self.fetches.fetch(target, at_least, self.settings.variant)
    }

    /// What a fetch brought; `None` if nothing that may be cached.
    pub fn fetched(&mut self, flight: FlightId, value: Option<V>) -> Fetched {
        self.fetches.fetched(flight, value, self.settings.variant)
    }

    /// Until when local answers may be given.
    pub fn lease_end(&self) -> Option<Moment> {
        self.leases.end()
    }

    /// Whether a route that prefers old answers to none may still give them (rule W9).
    pub fn may_serve_stale(&self, stale_for: Duration, now: Moment) -> bool {
        self.caught_up && self.leases.last_end().is_some_and(|end| now < end + stale_for)
    }

    /// How old the news is that this guard certainly has: what was acknowledged longer ago, it knows.
    pub fn staleness(&self, now: Moment) -> Option<Duration> {
        self.leases.newest_evidence().map(|sent| now.since(sent))
    }

    pub fn position(&self) -> Option<Position> {
        self.position
    }

    pub fn endings(&self) -> &Endings {
        &self.endings
    }

    /// By which expiry is judged: never earlier than it was, nor than the log's clock plus what has passed since.
    pub fn judging_time(&self, now: Now) -> Wall {
        if self.settings.variant.is(Broken::ClockBack) { now.wall } else { self.clock.judging_time(now) }
    }

    /// What the log's clock says now, as far as it was heard.
    pub fn log_time(&self, now: Now) -> Option<Wall> {
        self.clock.log_time(now)
    }

    fn due(&mut self, now: Now) {
        #[cfg(feature = "simulation")]
        self.apply_overdue(now.moment);
        self.follow_due(now.moment);
        self.endings.expire(self.clock.forgetting_time(now));
    }

    /// Where every thread looks, then what was fetched before, then the open streams (rule W2).
    fn apply(&mut self, entries: &[Entry]) {
        for entry in entries {
            let target = &entry.change.target;
            if self.settings.remember == Remember::Everything || target.what != What::Session {
                self.endings.remember(entry);
            }
            self.fetches.drop_target(target, self.settings.variant);
        }
    }

    #[cfg(feature = "simulation")]
    fn apply_overdue(&mut self, now: Moment) {
        while let Some((at, entries)) = self.unapplied.first().cloned()
            && at <= now
        {
            self.unapplied.remove(0);
            self.apply(&entries);
        }
    }
}
