//! A small gRPC service, written by hand, and a life with its server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use latchkey_chassis::config::{self, Shutdown};
use latchkey_chassis::grpc::client::{Channel, channel};
use latchkey_chassis::grpc::server::{Server, bind};
use latchkey_chassis::grpc::{AccessTable, Call, actor, caller, request_id};
use latchkey_chassis::lifecycle::{Exit, Lifecycle};
use latchkey_chassis::tls::Identity;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::{NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

pub const ACCESS: AccessTable = &[
    ("/test.v1.Echo/Say", &["gateway"]),
    ("/test.v1.Echo/Wait", &["gateway"]),
    ("/test.v1.Echo/Panic", &["gateway"]),
    ("/test.v1.Echo/PanicAtOnce", &["gateway"]),
    ("/test.v1.Echo/Continue", &["gateway"]),
    ("/test.v1.Echo/Relay", &["gateway"]),
    ("/test.v1.EchoReadService/Say", &["gateway"]),
];

/// `Say` answers who asked; `Wait` says that it has begun and waits to be released; `Relay` asks `next`.
#[derive(Clone, Default)]
pub struct Echo {
    pub begun: Arc<Notify>,
    pub release: Arc<Notify>,
    pub next: Arc<OnceLock<Channel>>,
}

impl Echo {
    async fn answer(self, method: String, request: Request<String>) -> Result<Response<String>, Status> {
        match method.as_str() {
            "Say" => {
                let (caller, id) = (caller(&request), request_id(&request));
                let actor = actor(&request).unwrap_or("nobody");
                Ok(Response::new(format!("{} {caller} {id} {actor}", request.get_ref().len())))
            }
            "Wait" => {
                self.begun.notify_one();
                self.release.notified().await;
                Ok(Response::new("released".to_owned()))
            }
            "Relay" => {
                let (next, call) = (self.next.get().unwrap().clone(), Call::continuing(&request));
                // Boxed: the answer to this may be another of these.
                Ok(Response::new(Box::pin(send(next, SAY, call.request(request.into_inner()))).await?))
            }
            "Continue" => Ok(Response::new(Call::continuing(&request).timeout.as_millis().to_string())),
            "Panic" => panic!("with {}", request.get_ref()),
            _ => Err(Status::unimplemented("")),
        }
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "test.v1.Echo";
}

/// The same under the name of a service that reads, whose calls may be made twice.
#[derive(Clone)]
struct EchoReads(Echo);

impl NamedService for EchoReads {
    const NAME: &'static str = "test.v1.EchoReadService";
}

impl tower::Service<http::Request<Body>> for EchoReads {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

struct Method(Echo, String);

impl UnaryService<String> for Method {
    type Response = String;
    type Future = BoxFuture<'static, Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        Box::pin(self.0.clone().answer(self.1.clone(), request))
    }
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = Method(self.clone(), request.uri().path().rsplit('/').next().unwrap().to_owned());
        assert_ne!(method.1, "PanicAtOnce", "with {request:?}");
        Box::pin(async move {
            let codec = ProstCodec::<String, String>::default();
            Ok(tonic::server::Grpc::new(codec).unary(method, request).await)
        })
    }
}

/// A loopback address that no other test uses, so that a port that was given up is not taken by one of them.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 64 | (high & 63), low, NEXT.fetch_add(1, Ordering::Relaxed)], 0))
}

/// A server called `auth` with its own life.
pub struct Running {
    pub echo: Echo,
    pub address: SocketAddr,
    pub life: Lifecycle,
    pub stopped: JoinHandle<Exit>,
}

pub fn life(drain: Duration) -> Lifecycle {
    Lifecycle::new(Shutdown { settle: Duration::ZERO, drain })
}

pub fn start(identity: &Identity) -> Running {
    start_with(identity, own_address(), Duration::from_secs(10), |_| {})
}

pub fn start_with(
    identity: &Identity,
    address: SocketAddr,
    drain: Duration,
    change: impl FnOnce(&mut config::Server),
) -> Running {
    start_in(identity, address, life(drain), change)
}

/// A server in a life of the test's making.
pub fn start_in(
    identity: &Identity,
    address: SocketAddr,
    life: Lifecycle,
    change: impl FnOnce(&mut config::Server),
) -> Running {
    let echo = Echo::default();
    let listener = bind("server.listen", address).unwrap();
    let address = listener.local_addr().unwrap();
    let mut settings = config::Server::on(address);
    change(&mut settings);
    let server = Server::new("auth", identity, ACCESS, life.clone())
        .settings(&settings)
        .service(echo.clone())
        .service(EchoReads(echo.clone()))
        .descriptors(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .serve(listener);
    life.spawn("grpc", server);
    let stopping = life.clone();
    let stopped = tokio::spawn(async move { stopping.run_until_stopped().await });
    Running { echo, address, life, stopped }
}

impl Running {
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many calls to `method` it has answered, refused ones too.
    pub fn answered(&self, method: &str) -> u32 {
        let text = self.life.metrics().render();
        let label = format!("method=\"{method}\"");
        let lines = text.lines().filter(|line| line.starts_with("latchkey_auth_rpcs_total"));
        let counts = lines.filter(|line| line.contains(&label)).map(|line| line.rsplit(' ').next().unwrap());
        counts.map(|count| count.parse::<u32>().unwrap()).sum()
    }

    /// A channel to this server, of a caller with `identity`.
    pub fn channel(&self, identity: &Identity) -> Channel {
        channel(&[self.endpoint()], identity, "auth", &life(Duration::ZERO)).unwrap()
    }

    pub async fn stop(self) -> Exit {
        self.life.trigger();
        self.stopped.await.unwrap()
    }
}

/// Calls `method` with `message` through any channel.
pub async fn send<C>(channel: C, method: &'static str, request: Request<String>) -> Result<String, Status>
where
    C: tonic::client::GrpcService<Body>,
    C::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <C::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(64 * 1024 * 1024);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = http::uri::PathAndQuery::from_static(method);
    let codec = ProstCodec::<String, String>::default();
    grpc.unary(request, path, codec).await.map(Response::into_inner)
}

pub fn call() -> Call {
    Call::new("req_test", Duration::from_secs(5))
}

pub async fn say(channel: &Channel) -> Result<String, Status> {
    send(channel.clone(), "/test.v1.Echo/Say", call().request("hello".to_owned())).await
}

pub async fn read(channel: &Channel) -> Result<String, Status> {
    send(channel.clone(), READ, call().request("hello".to_owned())).await
}

pub const SAY: &str = "/test.v1.Echo/Say";
pub const READ: &str = "/test.v1.EchoReadService/Say";
