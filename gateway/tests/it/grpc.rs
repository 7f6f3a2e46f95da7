//! gRPC end to end: a tonic client, the gateway, a tonic server. Calls of each kind, their metadata and their trailers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::server::{Grpc as Server, NamedService, StreamingService, UnaryService};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::client::{PATIENCE, get};
use super::gateway::{ALICE, Gateway};

/// Says things back. Messages are `google.protobuf.StringValue`, which prost reads as a `String`.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut server = Server::new(ProstCodec::<String, String>::default());
            Ok(match request.uri().path() {
                "/test.Echo/Say" => server.unary(Say, request).await,
                "/test.Echo/Talk" => server.streaming(Talk, request).await,
                other => panic!("{other}"),
            })
        })
    }
}

/// "fail" fails. Metadata says who asked, and what it asked with.
struct Say;

impl UnaryService<String> for Say {
    type Response = String;
    type Future = BoxFuture<'static, Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        Box::pin(async move {
            let metadata = request.metadata();
            assert_eq!(metadata.get("te").map(|te| te.as_bytes()), Some(&b"trailers"[..]));
            if request.get_ref() == "fail" {
                let mut status = Status::with_details(Code::FailedPrecondition, "not now", "why"[..].into());
                status.metadata_mut().insert("x-when", MetadataValue::from_static("later"));
                return Err(status);
            }
            let text = |name: &str| {
                let value = metadata.get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or("none").to_owned()
            };
            let (subject, timeout) = (text("x-latchkey-subject"), text("grpc-timeout"));
            let binary = metadata.get_bin("key-bin").map(|value| value.to_bytes().unwrap());
            let mut response = Response::new(format!("{} {timeout}", request.get_ref()));
            response.metadata_mut().insert("x-subject", subject.parse().unwrap());
            if let Some(binary) = binary {
                response.metadata_mut().insert_bin("key-bin", MetadataValue::from_bytes(&binary));
            }
            Ok(response)
        })
    }
}

/// Says each message back as it comes; "fail" ends it with a status.
struct Talk;

impl StreamingService<String> for Talk {
    type Response = String;
    type ResponseStream = ReceiverStream<Result<String, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let (answers, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut said = request.into_inner();
            loop {
                match said.next().await {
                    Some(Ok(word)) if word == "fail" => {
                        let _ = answers.send(Err(Status::aborted("as asked"))).await;
                        return;
                    }
                    Some(Ok(word)) => {
                        if answers.send(Ok(word.to_uppercase())).await.is_err() {
                            return;
                        }
                    }
                    Some(Err(_)) | None => return,
                }
            }
        });
        Box::pin(async move { Ok(Response::new(ReceiverStream::new(receiver))) })
    }
}

struct Scene {
    gateway: Gateway,
    client: tonic::client::Grpc<Channel>,
}

impl Scene {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(Echo);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let short = |config: &mut gateway::config::Config| {
            config.limits.body_timeout = Duration::from_millis(500);
        };
        let gateway = Gateway::with_routes_and(&routes(address), short).await;
        let channel = Endpoint::from_shared(format!("http://{}", gateway.address)).unwrap();
        let client = tonic::client::Grpc::new(channel.connect().await.unwrap());
        Self { gateway, client }
    }

    fn bearer<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = self.gateway.bearer();
        let value = bearer.trim_start_matches("Authorization: ").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    }

    async fn say(&self, request: Request<String>) -> Result<Response<String>, Status> {
        let mut client = self.client.clone();
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/test.Echo/Say");
        client.unary(request, path, ProstCodec::<String, String>::default()).await
    }

    /// A call to talk in.
    async fn talk(&self) -> (mpsc::Sender<String>, Streaming<String>) {
        let (words, receiver) = mpsc::channel(1);
        let request = self.bearer(ReceiverStream::new(receiver));
        let mut client = self.client.clone();
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/test.Echo/Talk");
        let answer = client.streaming(request, path, ProstCodec::<String, String>::default());
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("no answer").unwrap();
        (words, answer.into_inner())
    }

    /// Longer than an answer may take to begin, and a body that is awaited to go on.
    async fn long(&self) {
        assert_eq!(get(self.gateway.address, "/open/never", &[]).await.status, 504);
    }
}

fn routes(address: SocketAddr) -> String {
    format!(
        "[upstream.echo]\nendpoints = [\"http://{address}\"]\nprotocol = \"h2\"\ntimeout = \"500ms\"\n\
         [upstream.app]\nendpoints = [\"http://APP\"]\ntimeout = \"500ms\"\n\
         [[route]]\npath = \"/test.Echo/*\"\nmethods = [\"POST\"]\naccept = [\"token\"]\nupstream = \"echo\"\n\
         body_bytes = \"unlimited\"\n\
         [[route]]\npath = \"/open/*\"\naccept = []\nupstream = \"app\"\n"
    )
}

async fn next(answers: &mut Streaming<String>) -> Option<Result<String, Status>> {
    tokio::time::timeout(PATIENCE, answers.next()).await.expect("nothing came")
}

#[tokio::test]
async fn a_call_with_its_metadata() {
    let scene = Scene::start().await;
    let mut request = scene.bearer("hello".to_owned());
    request.set_timeout(Duration::from_secs(7));
    request.metadata_mut().insert_bin("key-bin", MetadataValue::from_bytes(&[0, 1, 255]));
    let answer = scene.say(request).await.unwrap();
    assert_eq!(answer.get_ref(), "hello 7000000u");
    assert_eq!(answer.metadata().get("x-subject").unwrap(), ALICE);
    assert_eq!(&answer.metadata().get_bin("key-bin").unwrap().to_bytes().unwrap()[..], [0, 1, 255]);
    // It came in the trailers, through the gateway.
    assert_eq!(answer.metadata().get("grpc-status").unwrap(), "0");
    let large = "x".repeat(3_000_000);
    let answer = scene.say(scene.bearer(large.clone())).await.unwrap();
    assert_eq!(answer.get_ref().len(), large.len() + " none".len());
}

#[tokio::test]
async fn a_failure_with_everything_that_it_says() {
    let scene = Scene::start().await;
    let status = scene.say(scene.bearer("fail".to_owned())).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "not now"));
    assert_eq!(status.details(), b"why");
    assert_eq!(status.metadata().get("x-when").unwrap(), "later");
}

#[tokio::test]
async fn a_conversation() {
    let scene = Scene::start().await;
    let (words, mut answers) = scene.talk().await;
    for word in ["one", "two", "three"] {
        words.send(word.to_owned()).await.unwrap();
        assert_eq!(next(&mut answers).await.unwrap().unwrap(), word.to_uppercase());
        scene.long().await;
    }
    drop(words);
    assert!(next(&mut answers).await.is_none());
    assert!(answers.trailers().await.unwrap().is_some());

    let (words, mut answers) = scene.talk().await;
    words.send("one".to_owned()).await.unwrap();
    assert_eq!(next(&mut answers).await.unwrap().unwrap(), "ONE");
    words.send("fail".to_owned()).await.unwrap();
    let status = next(&mut answers).await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Aborted, "as asked"));
}

#[tokio::test]
async fn refusals_are_statuses() {
    let scene = Scene::start().await;
    let status = scene.say(Request::new("hello".to_owned())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "credential_missing: Nobody is logged in.");
    assert!(status.metadata().contains_key("x-request-id"));
    assert_eq!(scene.gateway.metric("latchkey_gateway_refusals_total"), Some(1.0), "it counts as what it is");
    let mut request = Request::new("hello".to_owned());
    request.metadata_mut().insert("authorization", "Bearer nonsense".parse().unwrap());
    assert_eq!(scene.say(request).await.unwrap_err().code(), Code::Unauthenticated);
    scene.gateway.rewrite(&routes("127.0.0.1:1".parse().unwrap()));
    super::gateway::eventually("nobody is there", async || {
        let status = scene.say(scene.bearer("hello".to_owned())).await.err()?;
        (status.code() == Code::Unavailable).then_some(())
    })
    .await;
}
