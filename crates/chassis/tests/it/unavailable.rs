//! A replica that answers that it is unavailable: who is called in its place, what is asked again, and what if all say so.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use latchkey_chassis::config::TlsMode;
use latchkey_chassis::grpc::client::{Channel, channel};
use latchkey_chassis::status::{refusal, unavailable};
use latchkey_chassis::tls::Identity;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::authority::Authority;
use crate::echo::{READ, SAY, call, life, own_address, read, say, send};

const LONG: Duration = Duration::from_secs(20);
const AWAY: &str = "the store is away";

/// A neighbour without health checks that counts its calls and answers nothing, or with a status.
#[derive(Clone)]
struct Neighbour {
    address: SocketAddr,
    calls: Arc<AtomicU32>,
    says: Arc<Mutex<Option<Status>>>,
}

impl Neighbour {
    async fn start() -> Neighbour {
        let listener = TcpListener::bind(own_address()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let neighbour = Neighbour { address, calls: Arc::default(), says: Arc::default() };
        let serving = neighbour.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let serving = serving.clone();
                let service = service_fn(move |request| {
                    let answer = serving.answer(&request);
                    async move { Ok::<_, std::convert::Infallible>(answer) }
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(TokioIo::new(tcp), service));
            }
        });
        neighbour
    }

    fn answer(&self, request: &http::Request<Incoming>) -> http::Response<Body> {
        if request.uri().path().starts_with("/grpc.health.") {
            return Status::unimplemented("").into_http();
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(status) = self.says.lock().unwrap().clone() {
            return status.into_http();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let empty = Full::new(Bytes::from_static(&[0; 5])).with_trailers(async { Some(Ok(trailers)) });
        http::Response::builder().header("content-type", "application/grpc").body(Body::new(empty)).unwrap()
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    fn says(&self, status: Status) {
        *self.says.lock().unwrap() = Some(status);
    }
}

fn away() -> Status {
    unavailable(AWAY, &std::io::Error::other("no connection"))
}

fn not_confirmed() -> Status {
    refusal(Code::Unavailable, "NOT_CONFIRMED", "repeat it")
}

/// So many, each of which has answered a call.
async fn neighbours<const COUNT: usize>() -> (Channel, [Neighbour; COUNT]) {
    let mut tls = Authority::new().tls("gateway");
    tls.mode = TlsMode::External;
    let identity = Identity::load(&tls).unwrap();
    let neighbours = join_all((0..COUNT).map(|_| Neighbour::start())).await;
    let endpoints: Vec<String> = neighbours.iter().map(|it| format!("http://{}", it.address)).collect();
    let channel = channel(&endpoints, &identity, "auth", &life(Duration::ZERO)).unwrap();
    let all = async {
        while neighbours.iter().any(|it| it.calls() == 0) {
            say(&channel).await.unwrap();
        }
    };
    tokio::time::timeout(LONG, all).await.expect("all are called");
    (channel, neighbours.try_into().unwrap_or_else(|_| panic!("as many as were started")))
}

#[tokio::test]
async fn one_that_is_unavailable_alone_gets_hardly_a_call() {
    let (channel, [well, cut_off]) = neighbours().await;
    cut_off.says(away());
    let (of_well, of_cut_off) = (well.calls(), cut_off.calls());
    let mut errors = 0;
    for _ in 0..25 {
        let answers = join_all((0..8).map(|_| say(&channel))).await;
        errors += answers.iter().filter(|answer| answer.is_err()).count();
    }
    let (of_well, of_cut_off) = (well.calls() - of_well, cut_off.calls() - of_cut_off);
    assert_eq!(of_well + of_cut_off, 200, "no write is made twice");
    assert!(of_cut_off <= 40 && errors <= 40, "{of_cut_off} of 200, {errors} errors");
    for _ in 0..100 {
        read(&channel).await.expect("reads go to the other");
    }
}

#[tokio::test]
async fn one_of_three_that_alone_is_well_gets_nearly_every_call() {
    let (channel, [one, well, other]) = neighbours().await;
    one.says(away());
    other.says(away());
    let before = well.calls();
    for _ in 0..100 {
        let _ = say(&channel).await;
    }
    let of_well = well.calls() - before;
    assert!(of_well >= 80, "{of_well} of 100: two at random are often the other two");
}

#[tokio::test]
async fn a_read_is_repeated_where_somebody_is_well_and_nothing_else_is() {
    for (method, says, is_repeated) in [
        (READ, away(), true),
        (SAY, away(), false),
        (READ, not_confirmed(), false),
        (SAY, not_confirmed(), false),
        (READ, Status::internal("a bug"), false),
    ] {
        let (channel, [well, other]) = neighbours().await;
        let code = says.code();
        other.says(says);
        let (of_well, of_other, mut made) = (well.calls(), other.calls(), 0);
        let calls = async {
            loop {
                made += 1;
                let answer = send(channel.clone(), method, call().request(String::new())).await;
                if other.calls() > of_other {
                    return answer;
                }
                answer.expect("it is well");
            }
        };
        let last = tokio::time::timeout(LONG, calls).await.expect("the other is called");
        let twice = well.calls() - of_well + other.calls() - of_other - made;
        assert_eq!(twice, u32::from(is_repeated), "{method} {code:?}");
        assert_eq!(
            last.map_err(|status| status.code()).err(),
            Some(code).filter(|_| !is_repeated),
            "{method}"
        );
    }
}

#[tokio::test]
async fn where_all_are_unavailable_all_are_asked_and_nobody_twice() {
    let (channel, [one, other]) = neighbours().await;
    let answers = [one.calls(), other.calls()];
    one.says(away());
    other.says(away());
    let both = async {
        // Until neither passes for better than the other.
        while one.calls() < answers[0] + 10 || other.calls() < answers[1] + 10 {
            read(&channel).await.unwrap_err();
        }
    };
    tokio::time::timeout(LONG, both).await.expect("both are called");
    let (of_one, of_other) = (one.calls(), other.calls());
    for _ in 0..100 {
        let status = read(&channel).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, AWAY), "their own words");
    }
    let (of_one, of_other) = (one.calls() - of_one, other.calls() - of_other);
    assert_eq!(of_one + of_other, 100, "nothing is made twice");
    assert!(of_one >= 25 && of_other >= 25, "{of_one} and {of_other}");
}

#[tokio::test]
async fn an_ending_that_others_have_not_confirmed_is_not_held_against_its_replica() {
    let (channel, [one, other]) = neighbours().await;
    let (of_one, of_other) = (one.calls(), other.calls());
    other.says(not_confirmed());
    for _ in 0..100 {
        let _ = say(&channel).await;
    }
    let (of_one, of_other) = (one.calls() - of_one, other.calls() - of_other);
    assert!(of_one >= 20 && of_other >= 20, "{of_one} and {of_other}");
}
