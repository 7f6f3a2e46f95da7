//! A service replica at work: it calls the log and the peers, and passes messages to and from watchers.

mod view;

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};

pub use self::view::{Noted, View};
use super::{Clock, sleep_until};
use crate::{
    Change, Credential, FromWatcher, Life, Log, Member, MemberId, Position, Replica, StreamId, Tail,
    ToWatcher, WatcherId,
    replica::{Action, Answer, Event, Misconduct, Mode, Outcome, RequestId, Settings},
};

/// Messages that may wait for one watcher's connection; one that reads no faster loses it.
const QUEUE: usize = 8192;
/// How often entries that can concern nothing any more are removed from the log.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// The other replicas of this service.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Resolves when `member` says that it and every lease of its are at or beyond `position`. It is told what it may not
    /// have read yet. Whatever keeps it from saying so is [`NotConfirmed`].
    async fn confirm(&self, member: &Member, position: Position, tail: &Tail) -> Result<(), NotConfirmed>;
}

/// A member that has not confirmed; its leases are then waited out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the member has not confirmed")]
pub struct NotConfirmed;

/// The way to a replica that is at work. Clones lead to the same one.
#[derive(Clone)]
pub struct Serving {
    told: mpsc::UnboundedSender<Told>,
    view: watch::Receiver<View>,
    streams: Arc<AtomicU64>,
    clock: Clock,
}

enum Told {
    Event(Event),
    Opened { stream: StreamId, open: Open },
    End { changes: Vec<Change>, mode: Mode, reply: oneshot::Sender<Outcome> },
    Asked { credential: Credential, reply: oneshot::Sender<Answer> },
    Confirm { member: MemberId, position: Position, tail: Tail, reply: oneshot::Sender<bool> },
}

/// A watcher's connection, as long as the replica holds it open.
struct Open {
    /// The process's name, and the watcher's once it has said it: for the log.
    caller: String,
    watcher: Option<WatcherId>,
    named: BTreeSet<Misconduct>,
    queue: mpsc::Sender<ToWatcher>,
    /// Dropped along: whoever hears the watcher stops.
    _closed: oneshot::Sender<Infallible>,
}

/// The other side of a connection of a watcher.
pub struct Stream {
    pub id: StreamId,
    /// What the watcher is to hear. Its end closes the connection.
    pub messages: mpsc::Receiver<ToWatcher>,
    /// Resolves when the replica has closed the connection, whether or not the watcher has heard everything: what it says from
    /// then on is not listened to.
    pub closed: oneshot::Receiver<Infallible>,
}

/// What a replica works with.
pub struct Parts {
    pub settings: Settings,
    /// Random, and of no other process.
    pub life: Life,
    pub log: Arc<dyn Log>,
    pub peers: Arc<dyn Peers>,
    pub clock: Clock,
}

/// A replica, and the work that it does while the second is polled. That ends once [`Serving::terminate`] was said and
/// everything is handed over.
pub fn serve(parts: Parts) -> (Serving, impl Future<Output = ()> + Send) {
    let (told, tasks) = mpsc::unbounded_channel();
    let clock = Arc::clone(&parts.clock);
    let now = clock.now();
    let core = Replica::new(parts.settings.clone(), parts.life, now);
    let (shown, view) = watch::channel(View::of(&core, Noted::default(), now.moment));
    let worker = Worker {
        core,
        tasks,
        under_way: FuturesUnordered::new(),
        streams: HashMap::new(),
        replies: Replies::default(),
        closed: Vec::new(),
        misconduct: Noted::default(),
        stopped: false,
        shown,
        parts,
    };
    (Serving { told, view, streams: Arc::default(), clock }, worker.run())
}

impl Serving {
    /// Appends these changes and says when they hold everywhere; see [`Event::End`].
    pub async fn end(&self, changes: Vec<Change>, mode: Mode) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        self.tell(Told::End { changes, mode, reply });
        outcome.await.unwrap_or(Outcome::NotConfirmed)
    }

    /// Whether a credential is void: from memory under the replica's right, or after a read that was begun later.
    pub async fn judge(&self, credential: Credential) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.tell(Told::Asked { credential, reply });
        answer.await.unwrap_or(Answer::Unavailable)
    }

    /// Answers a peer; false is an error to it.
    pub async fn confirm(&self, member: MemberId, position: Position, tail: Tail) -> bool {
        let (reply, confirmed) = oneshot::channel();
        self.tell(Told::Confirm { member, position, tail, reply });
        confirmed.await.unwrap_or(false)
    }

    /// A connection of a watcher in the process that is called `caller`. What it says is passed to [`Serving::received`].
    pub fn open(&self, caller: &str) -> Stream {
        let id = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        let (queue, messages) = mpsc::channel(QUEUE);
        let (close, closed) = oneshot::channel();
        let (caller, named) = (caller.to_owned(), BTreeSet::new());
        let open = Open { caller, watcher: None, named, queue, _closed: close };
        self.tell(Told::Opened { stream: id, open });
        Stream { id, messages, closed }
    }

    pub fn received(&self, stream: StreamId, message: FromWatcher) {
        self.tell(Told::Event(Event::Received { stream, message }));
    }

    pub fn closed(&self, stream: StreamId) {
        self.tell(Told::Event(Event::StreamClosed { stream }));
    }

    /// Hands everything over: watchers go elsewhere, the membership ends.
    pub fn terminate(&self) {
        self.tell(Told::Event(Event::Terminate));
    }

    /// Whether an answer that was read from the service's database before this call may be given: the database was the one
    /// that changes are written to, less than a lease ago (rule R8). What has changed since then is not acknowledged.
    pub fn has_right(&self) -> bool {
        self.view().right.is_some_and(|right| self.clock.moment() < right)
    }

    /// How the replica stands, as of a moment ago.
    pub fn view(&self) -> View {
        *self.view.borrow()
    }

    /// Follows [`Serving::view`].
    pub fn views(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Resolves when the replica has stopped: from then on it asks nothing of its log.
    pub async fn stopped(&self) {
        let mut views = self.view.clone();
        while views.changed().await.is_ok() {}
    }

    /// To a replica that has stopped nothing is told, and whoever waits for its answer learns that there is none.
    fn tell(&self, told: Told) {
        let _ = self.told.send(told);
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

struct Worker {
    core: Replica,
    parts: Parts,
    tasks: mpsc::UnboundedReceiver<Told>,
    under_way: FuturesUnordered<BoxFuture<'static, Event>>,
    streams: HashMap<StreamId, Open>,
    replies: Replies,
    /// Streams that are gone, of which the machine has still to hear.
    closed: Vec<StreamId>,
    misconduct: Noted,
    stopped: bool,
    shown: watch::Sender<View>,
}

impl Worker {
    async fn run(mut self) {
        let mut trim = tokio::time::interval(TRIM_EVERY);
        self.on(Event::Started);
        while !self.stopped {
            let now = self.parts.clock.moment();
            tokio::select! {
                biased;
                Some(event) = self.under_way.next(), if !self.under_way.is_empty() => self.on(event),
                told = self.tasks.recv() => match told {
                    Some(told) => self.told(told),
                    None => return,
                },
                () = sleep_until(self.core.deadline(), now) => self.on(Event::Tick),
                _ = trim.tick(), if self.core.is_ready() => self.trim(),
            }
        }
        // A call that is dropped half-way costs its connection. Each is limited in time.
        while self.under_way.next().await.is_some() {}
    }

    fn told(&mut self, told: Told) {
        let event = match told {
            Told::Event(Event::Received { stream, message }) => {
                // Said before its connection was closed: a Hello would open it again, to nobody.
                let Some(open) = self.streams.get_mut(&stream) else { return };
                if let FromWatcher::Hello { watcher, .. } = &message {
                    open.watcher.get_or_insert(*watcher);
                }
                Event::Received { stream, message }
            }
            Told::Event(event) => event,
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
            self.streams.remove(&stream);
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
        let actions = self.core.on(event, now);
        if news {
            // Before anything is confirmed: who looks after an acknowledgement sees it.
            let view = View::of(&self.core, self.misconduct, now.moment);
            self.shown.send_if_modified(|shown| std::mem::replace(shown, view) != view);
        }
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::CallLog { call, log_call } => {
                let log = Arc::clone(&self.parts.log);
                let limit = self.log_timeout();
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
            Action::Send { stream, message } => {
                let Some(open) = self.streams.get(&stream) else { return };
                if let Err(refused) = open.queue.try_send(message) {
                    if matches!(refused, TrySendError::Full(_)) {
                        self.note(stream, Misconduct::TooSlow);
                    }
                    self.streams.remove(&stream);
                    self.closed.push(stream);
                }
            }
            Action::Close { stream } => {
                self.streams.remove(&stream);
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

    /// Each is counted, and named once a stream: a watcher may do it again and again.
    fn note(&mut self, stream: StreamId, misconduct: Misconduct) {
        self.misconduct.add(misconduct);
        let Some(open) = self.streams.get_mut(&stream) else { return };
        if open.named.insert(misconduct) {
            let watcher = open.watcher.map(|watcher| watcher.to_string());
            tracing::warn!(caller = open.caller, watcher, what = misconduct.name(), "a watcher's misconduct");
        }
    }

    /// By the earlier clock, the log's or this machine's: one that is wrong must not remove what may still be needed.
    fn trim(&mut self) {
        let Some(log_time) = self.core.log_time() else { return };
        let wall = self.parts.clock.now().wall.min(log_time);
        let (log, limit) = (Arc::clone(&self.parts.log), self.log_timeout());
        self.under_way.push(
            async move {
                if !matches!(tokio::time::timeout(limit, log.trim(wall)).await, Ok(Ok(()))) {
                    tracing::debug!("the log was not trimmed");
                }
                Event::Tick
            }
            .boxed(),
        );
    }

    /// A beat that takes longer is of little worth, and the next one is under way by then.
    fn log_timeout(&self) -> Duration {
        self.parts.settings.lease / 2
    }
}
