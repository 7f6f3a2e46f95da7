//! The work of a replica: one event after another into the core, and what it wants done out of it.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::MissedTickBehavior,
};

use super::{Memories, NotConfirmed, Noted, Parts, Queued, View, gone::Gone};
use crate::{
    Change, Credential, FromWatcher, LogCall, MemberId, Moment, Position, Replica, StreamId, Tail, WatcherId,
    driver::sleep_until,
    replica::{Action, Answer, Event, Misconduct, Mode, Outcome, RequestId},
    time::waited_out,
};

/// How often entries that can concern nothing any more are removed from the log.
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// How long reading a whole log may take: it may have millions of entries, and nothing is answered before.
const SNAPSHOT: Duration = Duration::from_secs(60);

pub(super) enum Told {
    Event(Event),
    Noted { stream: Option<StreamId>, misconduct: Misconduct },
    Received { stream: StreamId, message: FromWatcher, taken_in: oneshot::Sender<()> },
    Opened { stream: StreamId, open: Open },
    End { changes: Vec<Change>, mode: Mode, reply: oneshot::Sender<Outcome> },
    Asked { credential: Credential, reply: oneshot::Sender<Answer> },
    Confirm { member: MemberId, position: Position, tail: Tail, reply: oneshot::Sender<bool> },
}

/// A watcher's connection, as long as the replica holds it open.
pub(super) struct Open {
    /// The process's name, and the watcher's once it has said it: for the log.
    pub(super) caller: String,
    pub(super) watcher: Option<WatcherId>,
    pub(super) named: BTreeSet<Misconduct>,
    pub(super) queue: mpsc::Sender<Queued>,
    pub(super) memories: Memories,
    /// Dropped along: whoever hears the watcher stops.
    pub(super) _closed: oneshot::Sender<Infallible>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.memories.lock().clear();
    }
}

/// Who waits for an answer of the machine's.
#[derive(Default)]
struct Replies {
    last: u64,
    outcomes: HashMap<RequestId, oneshot::Sender<Outcome>>,
    answers: HashMap<RequestId, oneshot::Sender<Answer>>,
    confirmations: HashMap<RequestId, oneshot::Sender<bool>>,
}

impl Replies {
    fn number(&mut self) -> RequestId {
        self.last += 1;
        RequestId(self.last)
    }
}

pub(super) struct Worker {
    /// Written here alone.
    core: Arc<RwLock<Replica>>,
    parts: Parts,
    tasks: mpsc::UnboundedReceiver<Told>,
    under_way: FuturesUnordered<BoxFuture<'static, Event>>,
    streams: HashMap<StreamId, Open>,
    gone: Gone,
    replies: Replies,
    /// Streams that are gone, of which the machine has still to hear.
    closed: Vec<StreamId>,
    misconduct: Noted,
    names: Names,
    stopped: bool,
    shown: watch::Sender<View>,
}

/// Watchers as the machine knows them: by the caller and what it calls itself. An id is no secret, and who repeats another
/// caller's must not acknowledge for it.
#[derive(Default)]
struct Names(RandomState);

impl Names {
    fn of(&self, caller: &str, watcher: WatcherId) -> WatcherId {
        let half = |number: u8| u128::from(self.0.hash_one((number, caller, watcher.0)));
        WatcherId(half(0) << 64 | half(1))
    }
}

impl Worker {
    pub(super) fn new(
        core: Arc<RwLock<Replica>>,
        parts: Parts,
        tasks: mpsc::UnboundedReceiver<Told>,
        shown: watch::Sender<View>,
    ) -> Self {
        Self {
            core,
            parts,
            tasks,
            under_way: FuturesUnordered::new(),
            streams: HashMap::new(),
            gone: Gone::default(),
            replies: Replies::default(),
            closed: Vec::new(),
            misconduct: Noted::default(),
            names: Names::default(),
            stopped: false,
            shown,
        }
    }

    pub(super) async fn run(mut self) {
        let mut trim = tokio::time::interval(TRIM_EVERY);
        // Turns that were missed while it was not ready are not made up for: a turn ago would be this moment.
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Where this replica stood a turn ago: whoever has heard anything since then is past it, and is not sent back to the
        // beginning by what goes.
        let mut passed = Position::START;
        self.on(Event::Started);
        while !self.stopped {
            let now = self.parts.clock.moment();
            let (deadline, is_ready) = {
                let core = self.core();
                (core.deadline(), core.is_ready())
            };
            tokio::select! {
                // What watchers say comes last: however much it is, it holds up no beat and no ending.
                biased;
                Some(event) = self.under_way.next(), if !self.under_way.is_empty() => self.on(event),
                () = sleep_until(deadline, now) => self.on(Event::Tick),
                _ = trim.tick(), if is_ready => {
                    let applied = self.core().applied();
                    self.trim(std::mem::replace(&mut passed, applied));
                }
                told = self.tasks.recv() => match told {
                    Some(told) => self.told(told),
                    None => return,
                },
            }
        }
        // A call that is dropped half-way costs its connection, and no more: nobody waits long for one.
        let limit = self.log_timeout();
        let rest = async { while self.under_way.next().await.is_some() {} };
        let _ = tokio::time::timeout(limit, rest).await;
    }

    fn told(&mut self, told: Told) {
        let event = match told {
            Told::Event(event) => event,
            Told::Noted { stream, misconduct } => {
                match stream {
                    Some(stream) => self.note(stream, misconduct),
                    None => self.misconduct.add(misconduct),
                }
                self.show(self.parts.clock.moment());
                return;
            }
            Told::Received { stream, mut message, taken_in } => {
                // Said before its connection was closed: a Hello would open it again, to nobody.
                let Some(open) = self.streams.get_mut(&stream) else { return };
                if let FromWatcher::Hello { watcher, .. } = &mut message {
                    open.watcher.get_or_insert(*watcher);
                    *watcher = self.names.of(&open.caller, *watcher);
                }
                self.on(Event::Received { stream, message });
                let _ = taken_in.send(());
                return;
            }
            Told::Opened { stream, open } => {
                self.streams.insert(stream, open);
                return;
            }
            Told::End { changes, mode, reply } => {
                let request = self.replies.number();
                self.replies.outcomes.insert(request, reply);
                Event::End { request, changes, mode }
            }
            Told::Asked { credential, reply } => {
                let request = self.replies.number();
                self.replies.answers.insert(request, reply);
                Event::Asked { request, credential }
            }
            Told::Confirm { member, position, tail, reply } => {
                let request = self.replies.number();
                self.replies.confirmations.insert(request, reply);
                Event::ConfirmAsked { request, member, position, tail }
            }
        };
        if let Event::StreamClosed { stream } = event {
            self.close(stream);
        }
        self.on(event);
    }

    fn on(&mut self, event: Event) {
        self.step(event);
        while let Some(stream) = self.closed.pop() {
            self.step(Event::StreamClosed { stream });
        }
    }

    fn step(&mut self, event: Event) {
        let news = matches!(
            event,
            Event::LogReplied { .. } | Event::ConfirmAsked { .. } | Event::Tick | Event::Terminate
        );
        let now = self.parts.clock.now();
        let actions = self.core.write().unwrap_or_else(PoisonError::into_inner).on(event, now);
        if news {
            // Before anything is confirmed: who looks after an acknowledgement sees it.
            self.show(now.moment);
        }
        for action in actions {
            self.act(action);
        }
    }

    fn show(&self, now: Moment) {
        let view = View::of(&self.core(), self.misconduct, now);
        self.shown.send_if_modified(|shown| std::mem::replace(shown, view) != view);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::CallLog { call, log_call } => {
                let log = Arc::clone(&self.parts.log);
                let limit = match log_call {
                    LogCall::Snapshot => SNAPSHOT,
                    _ => self.log_timeout(),
                };
                self.under_way.push(
                    async move {
                        match tokio::time::timeout(limit, log.call(&log_call)).await {
                            Ok(Ok(reply)) => Event::LogReplied { call, reply },
                            Ok(Err(error)) => {
                                tracing::debug!(error = %error.0, "the log did not answer");
                                Event::LogFailed { call }
                            }
                            Err(_elapsed) => Event::LogFailed { call },
                        }
                    }
                    .boxed(),
                );
            }
            Action::Confirm { call, member, position, tail } => {
                let peers = Arc::clone(&self.parts.peers);
                let limit = member.lease / 2;
                self.under_way.push(
                    async move {
                        match tokio::time::timeout(limit, peers.confirm(&member, position, &tail)).await {
                            Ok(Ok(())) => Event::Confirmed { call },
                            Ok(Err(NotConfirmed)) | Err(_) => Event::ConfirmFailed { call },
                        }
                    }
                    .boxed(),
                );
            }
            Action::Send { stream, message } => self.send(stream, Queued::Message(message)),
            Action::SendEverything { stream, everything } => {
                if let Some(open) = self.streams.get(&stream) {
                    open.memories.lock().push_back(everything);
                }
                self.send(stream, Queued::Everything);
            }
            Action::Close { stream } => {
                self.close(stream);
            }
            Action::Note { stream, misconduct } => self.note(stream, misconduct),
            Action::AnswerConfirm { request, confirmed } => {
                if let Some(reply) = self.replies.confirmations.remove(&request) {
                    let _ = reply.send(confirmed);
                }
            }
            Action::Ended { request, outcome } => {
                if let Some(reply) = self.replies.outcomes.remove(&request) {
                    let _ = reply.send(outcome);
                }
            }
            Action::Answer { request, answer } => {
                if let Some(reply) = self.replies.answers.remove(&request) {
                    let _ = reply.send(answer);
                }
            }
            // Bodies are the services' own: nobody asks this driver to fill anything.
            Action::ReadBody { request, .. } => {
                self.under_way.push(async move { Event::BodyFailed { request } }.boxed());
            }
            Action::AnswerFill { .. } => {}
            Action::Stopped => self.stopped = true,
        }
    }

    fn send(&mut self, stream: StreamId, queued: Queued) {
        let Some(open) = self.streams.get(&stream) else { return };
        if let Err(refused) = open.queue.try_send(queued) {
            if matches!(refused, TrySendError::Full(_)) {
                self.note(stream, Misconduct::TooSlow);
            }
            self.close(stream);
            self.closed.push(stream);
        }
    }

    fn close(&mut self, stream: StreamId) {
        let Some(mut open) = self.streams.remove(&stream) else { return };
        let (now, kept) = (self.parts.clock.moment(), waited_out(self.parts.settings.lease));
        self.gone.add(stream, std::mem::take(&mut open.caller), open.watcher, now, kept);
    }

    /// Each is counted, and named once a stream: a watcher may do it again and again.
    fn note(&mut self, stream: StreamId, misconduct: Misconduct) {
        self.misconduct.add(misconduct);
        let watcher = match self.streams.get_mut(&stream) {
            Some(open) => open.named.insert(misconduct).then(|| (open.caller.clone(), open.watcher)),
            None => self.gone.take(stream),
        };
        if let Some((caller, watcher)) = watcher {
            let watcher = watcher.map(|watcher| watcher.to_string());
            tracing::warn!(caller, watcher, what = misconduct.name(), "a watcher's misconduct");
        }
    }

    /// By the earlier clock, the log's or this machine's: one that is wrong must not remove what may still be needed.
    fn trim(&mut self, before: Position) {
        let Some(log_clock) = self.core().log_clock() else { return };
        let wall = self.parts.clock.now().wall.min(log_clock.said());
        let (log, limit) = (Arc::clone(&self.parts.log), self.log_timeout());
        self.under_way.push(
            async move {
                loop {
                    match tokio::time::timeout(limit, log.trim(wall, before.number)).await {
                        Ok(Ok(true)) => {}
                        Ok(Ok(false)) => break,
                        Ok(Err(error)) => {
                            tracing::warn!(error = %error.0, "the log was not trimmed");
                            break;
                        }
                        Err(_elapsed) => {
                            tracing::warn!("the log was not trimmed in time");
                            break;
                        }
                    }
                }
                Event::Tick
            }
            .boxed(),
        );
    }

    fn core(&self) -> RwLockReadGuard<'_, Replica> {
        self.core.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A beat that takes longer is of little worth, and the next one is under way by then.
    fn log_timeout(&self) -> Duration {
        self.parts.settings.lease / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_another_caller_uses_is_another_watcher() {
        let (names, id) = (Names::default(), WatcherId(7));
        assert_eq!(names.of("gateway", id), names.of("gateway", id));
        assert_ne!(names.of("gateway", id), names.of("reports", id));
        assert_ne!(names.of("gateway", id), names.of("gateway", WatcherId(8)));
        assert_ne!(names.of("gateway", id), Names::default().of("gateway", id), "nobody can work it out");
    }
}
