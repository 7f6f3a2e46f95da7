//! A neighbour that is several: who is called, who is left out, and what a caller notices of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use latchkey_chassis::config::{Shutdown, TlsMode};
use latchkey_chassis::grpc::client::{Channel, channel};
use latchkey_chassis::lifecycle::{Exit, Lifecycle};
use latchkey_chassis::tls::Identity;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::authority::Authority;
use crate::echo::{READ, Running, SAY, call, life, own_address, say, send, start, start_in, start_with};

const LONG: Duration = Duration::from_secs(20);

fn to(servers: &[&str], identity: &Identity) -> Channel {
    let endpoints: Vec<String> = servers.iter().map(|server| (*server).to_owned()).collect();
    channel(&endpoints, identity, "auth", &life(Duration::ZERO)).unwrap()
}

/// Calls until `server` has answered more than it has by now.
async fn until_it_answers(server: &Running, channel: &Channel) {
    let before = server.answered(SAY);
    let calls = async {
        while server.answered(SAY) == before {
            say(channel).await.unwrap();
        }
    };
    tokio::time::timeout(LONG, calls).await.expect("it takes part");
}

/// Callers that call without a pause until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU32>,
    callers: Vec<JoinHandle<Vec<Status>>>,
}

impl Load {
    fn begin(channel: &Channel, method: &'static str) -> Load {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let caller = |_| {
            let (channel, stop, done) = (channel.clone(), stop.clone(), done.clone());
            tokio::spawn(async move {
                let mut errors = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let answer = send(channel.clone(), method, call().request("hello".to_owned())).await;
                    errors.extend(answer.err());
                    done.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                errors
            })
        };
        let callers = (0..8).map(caller).collect();
        Load { stop, done, callers }
    }

    /// Until so many further calls are done.
    async fn goes_on(&self, calls: u32) {
        let enough = self.done.load(Ordering::Relaxed) + calls;
        let going = async {
            while self.done.load(Ordering::Relaxed) < enough {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, going).await.expect("calls go on");
    }

    async fn end(self) -> Vec<Status> {
        self.stop.store(true, Ordering::Relaxed);
        let mut errors = Vec::new();
        for caller in self.callers {
            errors.extend(tokio::time::timeout(LONG, caller).await.expect("nobody hangs").unwrap());
        }
        errors
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f06_no_call_fails_while_one_of_two_is_drained_and_comes_back() {
    let authority = Authority::new();
    let auth = authority.identity("auth");
    let (one, two) = (start(&auth), start(&auth));
    let channel = to(&[&one.endpoint(), &two.endpoint()], &authority.identity("gateway"));
    until_it_answers(&one, &channel).await;
    until_it_answers(&two, &channel).await;
    // Writes: what cannot be repeated must not fail either.
    let load = Load::begin(&channel, SAY);
    load.goes_on(100).await;
    let mut one = one;
    for _ in 0..2 {
        let address = one.address;
        assert_eq!(one.stop().await, Exit::Clean);
        load.goes_on(200).await;
        one = start_with(&auth, address, Duration::from_secs(10), |_| {});
        let back = async {
            while one.answered(SAY) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, back).await.expect("it takes part again");
    }
    let errors = load.end().await;
    assert!(errors.is_empty(), "{} errors: {:?}", errors.len(), errors.first());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f02_killing_one_of_two_fails_no_read_and_of_writes_only_those_under_way() {
    let authority = Authority::new();
    let auth = authority.identity("auth");
    let (one, two) = (start(&auth), start(&auth));
    let channel = to(&[&one.endpoint(), &two.endpoint()], &authority.identity("gateway"));
    until_it_answers(&one, &channel).await;
    until_it_answers(&two, &channel).await;
    let (reads, writes) = (Load::begin(&channel, READ), Load::begin(&channel, SAY));
    reads.goes_on(100).await;
    two.life.end();
    two.stopped.await.unwrap();
    reads.goes_on(200).await;
    writes.goes_on(200).await;
    let (reads, writes) = (reads.end().await, writes.end().await);
    assert!(reads.is_empty(), "{} errors: {:?}", reads.len(), reads.first());
    assert!(writes.len() <= 8, "one for each caller at most: {}", writes.len());
    for status in writes {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
}

#[tokio::test]
async fn one_that_is_not_ready_is_not_called_until_it_is() {
    let authority = Authority::new();
    let (auth, gateway) = (authority.identity("auth"), authority.identity("gateway"));
    let starting = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: LONG });
    let database = starting.readiness("database");
    let (ready, starting) = (start(&auth), start_in(&auth, own_address(), starting, |_| {}));

    let alone = to(&[&starting.endpoint()], &gateway);
    let status = say(&alone).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "at once, not at the deadline: {status:?}");
    assert_eq!(latchkey_chassis::status::retry_after(&status), Some(Duration::from_secs(1)));

    let both = to(&[&ready.endpoint(), &starting.endpoint()], &gateway);
    for _ in 0..30 {
        say(&both).await.unwrap();
    }
    assert_eq!((ready.answered(SAY), starting.answered(SAY)), (30, 0));

    database.ready();
    until_it_answers(&starting, &both).await;
}

#[tokio::test]
async fn one_that_settles_answers_until_it_closes_if_there_is_no_other() {
    let authority = Authority::new();
    let auth = authority.identity("auth");
    let settling = Lifecycle::new(Shutdown { settle: LONG, drain: LONG });
    let alone = start_in(&auth, own_address(), settling, |_| {});
    let ours = life(Duration::ZERO);
    let channel = channel(&[alone.endpoint()], &authority.identity("gateway"), "auth", &ours).unwrap();
    say(&channel).await.unwrap();
    alone.life.trigger();
    let noticed = async {
        while ours.conditions().first().unwrap().state.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, noticed).await.expect("its health check says so");
    say(&channel).await.expect("it still answers");
    alone.life.end();
    alone.stopped.await.unwrap();
}

/// Passes bytes on, unless it is frozen.
struct Proxy {
    address: SocketAddr,
    frozen: watch::Sender<bool>,
}

impl Proxy {
    async fn before(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind(own_address()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let frozen = watch::Sender::new(false);
        let follow = frozen.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, follow.clone()));
                tokio::spawn(pass(from_server, to_client, follow.clone()));
            }
        });
        Proxy { address, frozen }
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut frozen: watch::Receiver<bool>,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if frozen.wait_for(|frozen| !frozen).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn f03_one_that_is_frozen_is_left_out_and_comes_back() {
    let authority = Authority::new();
    let auth = authority.identity("auth");
    let (steady, stopped) = (start(&auth), start(&auth));
    let proxy = Proxy::before(stopped.address).await;
    let endpoints = [steady.endpoint(), format!("https://{}", proxy.address)];
    let ours = life(Duration::ZERO);
    let channel = channel(&endpoints, &authority.identity("gateway"), "auth", &ours).unwrap();
    until_it_answers(&steady, &channel).await;
    until_it_answers(&stopped, &channel).await;

    proxy.frozen.send_replace(true);
    // No calls before: one that is late would make it dear, and so keep the next from it although it takes part.
    let left_out = async {
        while !ours.metrics().render().contains("latchkey_process_replica_ejections_total{") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, left_out).await.expect("it is left out");
    for _ in 0..100 {
        say(&channel).await.expect("nobody calls it");
    }
    proxy.frozen.send_replace(false);
    until_it_answers(&stopped, &channel).await;
}

/// A neighbour without health checks that breaks off every call, and counts them.
async fn breaking() -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind(own_address()).await.unwrap();
    let (address, calls) = (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
    let counted = calls.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let counted = counted.clone();
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let health = request.uri().path().starts_with("/grpc.health.");
                counted.fetch_add(u32::from(!health), Ordering::Relaxed);
                async move {
                    if health {
                        return Ok(Status::unimplemented("").into_http::<Body>());
                    }
                    Err(std::io::Error::other("broken"))
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(tcp), service));
        }
    });
    (address, calls)
}

#[tokio::test]
async fn a_read_is_repeated_once_elsewhere_and_a_write_never() {
    let mut tls = Authority::new().tls("gateway");
    tls.mode = TlsMode::External;
    let identity = Identity::load(&tls).unwrap();
    let ((one, first), (two, second)) = (breaking().await, breaking().await);
    let channel = to(&[&format!("http://{one}"), &format!("http://{two}")], &identity);
    let calls = || first.load(Ordering::Relaxed) + second.load(Ordering::Relaxed);
    // Until both are known, there may be nobody else to ask.
    let both = async {
        while calls() < 2 || first.load(Ordering::Relaxed) == 0 || second.load(Ordering::Relaxed) == 0 {
            say(&channel).await.unwrap_err();
        }
    };
    tokio::time::timeout(LONG, both).await.expect("both are called");

    for write in [SAY, "/latchkey.session.v1.SessionService/RotateSession"] {
        let before = calls();
        let status = send(channel.clone(), write, call().request(String::new())).await.unwrap_err();
        assert_eq!((status.code(), calls() - before), (Code::Unavailable, 1), "{write}");
    }
    for read in [READ, "/latchkey.session.v1.SessionService/ResolveSession"] {
        let (before, firsts) = (calls(), first.load(Ordering::Relaxed));
        let status = send(channel.clone(), read, call().request(String::new())).await.unwrap_err();
        assert_eq!((status.code(), calls() - before), (Code::Unavailable, 2), "{read}");
        assert_eq!(first.load(Ordering::Relaxed) - firsts, 1, "{read}: each of the two once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_reach_their_age_cost_no_call() {
    let authority = Authority::new();
    let auth = authority.identity("auth");
    let aged = |settings: &mut latchkey_chassis::config::Server| {
        settings.max_connection_age = Duration::from_millis(1100);
    };
    let server = start_with(&auth, own_address(), LONG, aged);
    let channel = to(&[&server.endpoint()], &authority.identity("gateway"));
    say(&channel).await.unwrap();
    let load = Load::begin(&channel, SAY);
    // Told by the server that a connection has come in its place.
    let replaced = async {
        while !server.life.metrics().render().contains("latchkey_auth_connections_total 3") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, replaced).await.expect("connections are replaced");
    let errors = load.end().await;
    assert!(errors.is_empty(), "{} errors: {:?}", errors.len(), errors.first());
}
