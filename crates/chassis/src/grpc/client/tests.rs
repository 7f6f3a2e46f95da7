use std::convert::Infallible;

use futures_util::FutureExt as _;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::DuplexStream;

use super::roster::Standing;
use super::*;
use crate::config::Shutdown;

/// Takes what is sent on a connection, for as long as it is there and is polled.
type Taking = hyper::client::conn::http2::Connection<TokioIo<DuplexStream>, Outgoing, TokioExecutor>;

/// A connection that passes nothing on until it is asked to, so that a test decides when a call goes out.
pub(super) struct Peer {
    pub(super) link: Arc<Link>,
    taking: Taking,
    far: DuplexStream,
}

impl Peer {
    pub(super) async fn connect(place: Place) -> Peer {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (sender, taking) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
        let link = Link::new(sender, origin(), place, CancellationToken::new());
        Peer { link: Arc::new(link), taking, far }
    }

    /// Sees to it that `call` is answered, and gives back how much time it said that it has.
    async fn answers<T>(self, call: impl Future<Output = T>) -> (T, String) {
        let said = Mutex::new(String::new());
        let service = service_fn(|request: Request<Incoming>| {
            *said.lock().unwrap() = request.headers()["grpc-timeout"].to_str().unwrap().to_owned();
            async { Ok::<_, Infallible>(Status::internal("a bug").into_http::<Body>()) }
        });
        let serving =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(self.far), service);
        let answer = tokio::select! {
            answer = call => answer,
            _ = self.taking => panic!("nobody takes it"),
            _ = serving => panic!("nobody answers it"),
        };
        (answer, said.into_inner().unwrap())
    }
}

pub(super) fn place(port: u16) -> Place {
    Place { host: "auth.internal".to_owned(), port }
}

pub(super) fn life() -> Lifecycle {
    Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::ZERO })
}

fn origin() -> Origin {
    Origin { scheme: http::uri::Scheme::HTTP, authority: http::uri::Authority::from_static("auth") }
}

/// A way to `count` replicas that are to come, and how one of them comes.
fn to(count: u16) -> (Channel, impl Fn(u16, &Peer)) {
    let life = life();
    let roster = Roster::new(life.dependency("auth"), Apart::new("auth", &life), 0, life.ended());
    let roster = Arc::new(roster);
    let removed: Vec<_> = (0..count).map(|number| roster.add((0, place(number))).unwrap()).collect();
    let inner = Inner {
        name: "auth".into(),
        origin: origin(),
        roster: roster.clone(),
        retries: life.metrics().meter().u64_counter("retries").build(),
        _dropped: CancellationToken::new().drop_guard(),
    };
    let comes = move |number: u16, peer: &Peer| {
        let standing = Standing::Serving(peer.link.clone());
        roster.set(&(0, place(number)), &removed[usize::from(number)], standing);
    };
    (Channel { inner: Arc::new(inner), avoided: None }, comes)
}

fn write() -> Request<Body> {
    let request = Request::builder().uri("http://auth/test.v1.Echo/Say").header("grpc-timeout", "5S");
    request.body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_call_says_what_is_left_of_its_time_when_it_is_sent() {
    let (mut channel, comes) = to(1);
    let mut call = channel.call(write());
    assert!((&mut call).now_or_never().is_none());
    tokio::time::advance(Duration::from_millis(700)).await;
    let peer = Peer::connect(place(0)).await;
    comes(0, &peer);
    let (answer, left) = peer.answers(call).await;
    assert_eq!((answer.unwrap().headers()["grpc-status"].as_bytes(), &*left), (&b"13"[..], "4300000u"));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_never_sent_goes_on_until_somebody_takes_it() {
    let (mut channel, comes) = to(4);
    let mut call = channel.call(write());
    for number in 0..3 {
        assert!((&mut call).now_or_never().is_none(), "{number}");
        tokio::time::advance(Duration::from_millis(100)).await;
        let peer = Peer::connect(place(number)).await;
        comes(number, &peer);
        assert!((&mut call).now_or_never().is_none(), "on its way to {number}, which goes");
    }
    let last = Peer::connect(place(3)).await;
    comes(3, &last);
    let (answer, left) = last.answers(call).await;
    assert_eq!((answer.unwrap().headers()["grpc-status"].as_bytes(), &*left), (&b"13"[..], "4700000u"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_takes_is_not_made_for_ever() {
    let (mut channel, comes) = to(1);
    let mut call = channel.call(write());
    for gone in 0..=UNSENT {
        assert!((&mut call).now_or_never().is_none(), "{gone}");
        let peer = Peer::connect(place(0)).await;
        comes(0, &peer);
        assert!((&mut call).now_or_never().is_none(), "{gone}");
    }
    assert_eq!(call.await.unwrap_err().code(), Code::Unavailable);
}
