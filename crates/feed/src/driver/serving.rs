//! A service replica at work: it calls the log and the peers, and passes messages to and from watchers.

mod gone;
mod view;
mod worker;

use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::view::{Noted, View};
use self::worker::{Open, Told, Worker};
use super::Clock;
use crate::{
    Change, Credential, FromWatcher, Life, Log, Member, MemberId, Position, Replica, StreamId, Tail,
    ToWatcher, Verdict,
    replica::{Answer, Event, Everything, Misconduct, Mode, Outcome, Settings},
};

/// Messages that may wait for one watcher's connection, everything at its beginning being one; one that reads no faster loses it.
const QUEUE: usize = 8192;

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
    core: Arc<RwLock<Replica>>,
    told: mpsc::UnboundedSender<Told>,
    view: watch::Receiver<View>,
    streams: Arc<AtomicU64>,
    clock: Clock,
}

/// The other side of a connection of a watcher.
pub struct Stream {
    pub id: StreamId,
    /// What the watcher is to hear. Its end closes the connection.
    pub messages: Messages,
    /// Resolves when the replica has closed the connection, whether or not the watcher has heard everything: what it says from
    /// then on is not listened to.
    pub closed: oneshot::Receiver<Infallible>,
}

/// In order, each when the connection takes it.
pub struct Messages {
    queue: mpsc::Receiver<Queued>,
    memories: Memories,
    /// Before the next of the queue comes the rest of the first of `memories`.
    is_telling: bool,
}

enum Queued {
    Message(ToWatcher),
    /// The next of the stream's memories.
    Everything,
}

/// What one watcher has still to be told of memories. They are the replica's to take away: a connection that nobody reads from
/// would keep them for as long as it stands.
#[derive(Clone, Default)]
struct Memories(Arc<Mutex<VecDeque<Everything>>>);

impl Memories {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Everything>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: they were taken away.
    fn next_message(&self) -> Option<ToWatcher> {
        let mut memories = self.lock();
        let message = memories.front_mut()?.next();
        if let None | Some(ToWatcher::CaughtUp(_)) = message {
            memories.pop_front();
        }
        message
    }
}

impl Messages {
    /// `None` after the last one.
    pub async fn recv(&mut self) -> Option<ToWatcher> {
        loop {
            if self.is_telling {
                let message = self.memories.next_message()?;
                self.is_telling = !matches!(message, ToWatcher::CaughtUp(_));
                return Some(message);
            }
            match self.queue.recv().await? {
                Queued::Message(message) => return Some(message),
                Queued::Everything => self.is_telling = true,
            }
        }
    }
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
    let core = Arc::new(RwLock::new(core));
    let worker = Worker::new(Arc::clone(&core), parts, tasks, shown);
    (Serving { core, told, view, streams: Arc::default(), clock }, worker.run())
}

impl Serving {
    /// Appends these changes and says when they hold everywhere; see [`Event::End`].
    pub async fn end(&self, changes: Vec<Change>, mode: Mode) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        self.tell(Told::End { changes, mode, reply });
        outcome.await.unwrap_or(Outcome::NotConfirmed)
    }

    /// Whether a credential is void, from memory under the replica's right. `None`: only a read of the log can tell.
    pub fn judge_from_memory(&self, credential: &Credential) -> Option<Verdict> {
        // Held for long only while a whole log is taken over, and then nobody waits for it in a thread that serves others.
        let core = self.core.try_read().ok()?;
        // After the lock: what is applied from here on is confirmed only after this answer.
        core.judge(credential, self.clock.moment())
    }

    /// Whether a credential is void: from memory under the replica's right, or after a read that was begun later.
    pub async fn judge(&self, credential: &Credential) -> Answer {
        if let Some(verdict) = self.judge_from_memory(credential) {
            return Answer::Verdict(verdict);
        }
        let (reply, answer) = oneshot::channel();
        self.tell(Told::Asked { credential: credential.clone(), reply });
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
        let (queue, queued) = mpsc::channel(QUEUE);
        let (close, closed) = oneshot::channel();
        let (caller, named, memories) = (caller.to_owned(), BTreeSet::new(), Memories::default());
        let messages = Messages { queue: queued, memories: memories.clone(), is_telling: false };
        let open = Open { caller, watcher: None, named, queue, memories, _closed: close };
        self.tell(Told::Opened { stream: id, open });
        Stream { id, messages, closed }
    }

    /// Resolves when that was taken in: until then nothing more of this stream is to be read, so that one that says much has no
    /// more than one message here.
    pub async fn received(&self, stream: StreamId, message: FromWatcher) {
        let (taken_in, done) = oneshot::channel();
        self.tell(Told::Received { stream, message, taken_in });
        let _ = done.await;
    }

    /// Counts what the driver's own side saw a watcher do, and names it where it has a stream.
    pub fn note(&self, stream: Option<StreamId>, misconduct: Misconduct) {
        self.tell(Told::Noted { stream, misconduct });
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
