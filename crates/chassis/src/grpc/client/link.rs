//! One live connection to a replica, as calls see it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::endpoint::Place;
use super::load::{Ended, Load};
use super::outgoing::Outgoing;
use crate::grpc::INCARNATION;
use crate::status;

/// So many calls in a row without an answer make a replica suspect.
const SUSPICIOUS: u32 = 2;
/// A reason under UNAVAILABLE that says nothing against the replica: it has done what it was asked to, and others do not know yet.
const NOT_CONFIRMED: &str = "NOT_CONFIRMED";

/// What the server sees as the address of every request.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
}

impl Origin {
    /// The address of `path`.
    pub(super) fn at(&self, path: Option<&PathAndQuery>) -> Option<Uri> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path.cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
        Uri::from_parts(parts).ok()
    }
}

pub(super) struct Link {
    /// As long as somebody takes what is sent.
    sender: ArcSwapOption<SendRequest<Outgoing>>,
    origin: Origin,
    place: Place,
    load: Load,
    /// No further calls: the connection is known to be going.
    retired: AtomicBool,
    answers: AtomicU64,
    unanswered: AtomicU32,
    /// Of the process at the other end, if it is one that says so.
    incarnation: OnceLock<Box<str>>,
    /// Asks for a health check now.
    pub(super) doubt: Notify,
    cut: CancellationToken,
}

/// What a health check has found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Serving,
    NotServing,
    /// No answer, to the check or to anything else.
    Silent,
    Broken,
}

impl Link {
    pub(super) fn new(
        sender: SendRequest<Outgoing>,
        origin: Origin,
        place: Place,
        cut: CancellationToken,
    ) -> Link {
        Link {
            sender: ArcSwapOption::from_pointee(sender),
            origin,
            place,
            load: Load::new(Instant::now()),
            retired: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            unanswered: AtomicU32::new(0),
            incarnation: OnceLock::new(),
            doubt: Notify::new(),
            cut,
        }
    }

    pub(super) fn cost(&self, now: Instant) -> f64 {
        self.load.cost(now)
    }

    /// Whether it lately answered more often than not that it is unavailable.
    pub(super) fn is_unavailable(&self, now: Instant) -> bool {
        self.load.is_unavailable(now)
    }

    /// Whether it takes calls, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        let takes = || self.sender.load().as_ref().is_some_and(|sender| !sender.is_closed());
        !self.retired.load(Ordering::Relaxed) && takes()
    }

    /// Where it leads to: the same for each connection to a replica.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Which life of a process that keeps its state in its own memory this leads to.
    pub(super) fn incarnation(&self) -> Option<&str> {
        self.incarnation.get().map(|incarnation| &**incarnation)
    }

    /// Takes no further calls; those in flight go on.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.doubt.notify_one();
    }

    /// Ends it with everything that is in flight.
    pub(super) fn cut(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.cut.cancel();
    }

    /// Nobody takes any more what is sent. What was on its way just then may still be in the channel, which its receiver cannot
    /// empty while a sender is half-way through: it is given back once there is no sender either.
    pub(super) fn close(&self) {
        self.sender.store(None);
    }

    /// Sends a call and waits for the head of its answer.
    pub(super) async fn call(&self, request: Request<Outgoing>) -> Result<Response<Incoming>, Unanswered> {
        let mut flight = Flight::begin(self);
        let Some(mut sender) = self.sender() else {
            return Err(Unanswered { unsent: Some(request), error: None });
        };
        let sent = sender.try_send_request(request);
        drop(sender);
        match sent.await {
            Ok(answer) => {
                flight.ended = if is_unavailable(&answer) { Ended::Unavailable } else { Ended::Answered };
                Ok(answer)
            }
            Err(mut failure) => {
                Err(Unanswered { unsent: failure.take_message(), error: Some(failure.into_error()) })
            }
        }
    }

    /// Not to be kept while an answer is waited for: see [`Link::close`].
    fn sender(&self) -> Option<SendRequest<Outgoing>> {
        self.sender.load().as_deref().cloned()
    }

    /// Asks `grpc.health.v1` whether the process is ready. One that does not have the service, or does not let us
    /// ask, is alive, and that is then all there is to know.
    pub(super) async fn check(&self, patience: Duration) -> Health {
        let before = self.answers.load(Ordering::Relaxed);
        match tokio::time::timeout(patience, self.ask()).await {
            Ok(health) => health,
            Err(_) if self.answers.load(Ordering::Relaxed) != before => Health::Serving,
            Err(_) => Health::Silent,
        }
    }

    async fn ask(&self) -> Health {
        let Some(origin) = self.origin.at(None) else { return Health::Broken };
        let broken = &AtomicBool::new(false);
        let direct = tower::service_fn(|request: Request<Body>| async move {
            let (parts, body) = request.into_parts();
            let request = Request::from_parts(parts, Outgoing::gather(body).await?);
            let Some(mut sender) = self.sender() else {
                broken.store(true, Ordering::Relaxed);
                return Err(Status::unavailable("the connection is closed"));
            };
            let sent = sender.send_request(request);
            drop(sender);
            let answer = sent.await;
            broken.store(answer.is_err(), Ordering::Relaxed);
            answer.inspect(|_| self.answered()).map_err(|error| Status::from_error(error.into()))
        });
        match HealthClient::with_origin(direct, origin).check(HealthCheckRequest::default()).await {
            Ok(answer) => {
                if let Some(incarnation) = answer.metadata().get(INCARNATION).and_then(|it| it.to_str().ok())
                {
                    self.incarnation.get_or_init(|| incarnation.into());
                }
                match answer.into_inner().status() {
                    ServingStatus::Serving => Health::Serving,
                    _ => Health::NotServing,
                }
            }
            Err(_) if broken.load(Ordering::Relaxed) || !self.is_open() => Health::Broken,
            Err(_) => Health::Serving,
        }
    }

    fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.unanswered.store(0, Ordering::Relaxed);
    }

    fn unanswered(&self) {
        if self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= SUSPICIOUS {
            self.doubt.notify_one();
        }
    }
}

/// A call that has no answer.
pub(super) struct Unanswered {
    /// The request, if it was certainly not sent.
    pub(super) unsent: Option<Request<Outgoing>>,
    /// What the connection says; `None` if there was none any more.
    pub(super) error: Option<hyper::Error>,
}

/// A call that is under way. However it ends, also when nobody waits for it any more, it is counted.
struct Flight<'a> {
    link: &'a Link,
    began: Instant,
    ended: Ended,
}

impl<'a> Flight<'a> {
    fn begin(link: &'a Link) -> Flight<'a> {
        link.load.begin();
        Flight { link, began: Instant::now(), ended: Ended::Unanswered }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.link.load.end(now.saturating_duration_since(self.began), self.ended, now);
        match self.ended {
            // Also if it says that it is unavailable: who says so is there.
            Ended::Answered | Ended::Unavailable => self.link.answered(),
            Ended::Unanswered => self.link.unanswered(),
        }
    }
}

/// Whether a replica says that it cannot do what it is there for. Looks at the head: there the status is of every call that
/// fails before anything of an answer is sent.
pub(super) fn is_unavailable(answer: &Response<Incoming>) -> bool {
    let code = answer.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    code == Some(Code::Unavailable)
        && Status::from_header_map(answer.headers()).and_then(|status| status::reason(&status)).as_deref()
            != Some(NOT_CONFIRMED)
}

/// What HTTP/2 says about a call that failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reset {
    /// It is about this call alone, not about the connection.
    pub(super) of_stream: bool,
    /// The other side has certainly done nothing with it: its stream is beyond the last that a GOAWAY says was
    /// processed, or was refused (RFC 9113 §6.8, §8.7).
    pub(super) unprocessed: bool,
}

pub(super) fn reset(error: &hyper::Error) -> Option<Reset> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            let (of_stream, gone) = (error.is_reset(), error.is_go_away());
            return Some(Reset { of_stream, unprocessed: error.is_remote() && (gone || refused) });
        }
        source = error.source();
    }
    None
}
