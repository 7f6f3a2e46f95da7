//! Policy-service answers, and makes no sense: that is an outage, and says nothing about the caller. The services that are
//! gone altogether are in `faults`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use chassis::config::{Shutdown, Tls, TlsMode};
use chassis::grpc::AccessTable;
use chassis::grpc::server::Server;
use chassis::lifecycle::Lifecycle;
use chassis::tls::Identity;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use reqwest::Method;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;
use tonic::{Code, Status};

use crate::stack::{Builder, PASSWORD, SOON, Stack};

const ACCESS: AccessTable = &[
    ("/latchkey.policy.v1.CheckService/Check", &["gateway"]),
    ("/latchkey.policy.v1.PolicyReadService/GetSubjectRoles", &["gateway"]),
];

/// What policy-service says to everything.
#[derive(Debug, Clone)]
enum Says {
    /// A message of these octets.
    Message(&'static [u8]),
    /// A message, and then no status.
    Unfinished(&'static [u8]),
    Status(Code),
    /// A status with a reason that is not in the contract, or belongs to another service.
    Reason(Code, &'static str),
    /// HTTP that is no gRPC.
    Page(u16),
    Panics,
    Nothing,
}

/// A service that answers without having a contract.
#[derive(Clone)]
struct Fake<N> {
    says: Arc<Mutex<Says>>,
    name: PhantomData<N>,
}

#[derive(Clone)]
struct Checks;
#[derive(Clone)]
struct Reads;

impl NamedService for Fake<Checks> {
    const NAME: &'static str = "latchkey.policy.v1.CheckService";
}

impl NamedService for Fake<Reads> {
    const NAME: &'static str = "latchkey.policy.v1.PolicyReadService";
}

impl<N> Service<Request<Body>> for Fake<N> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let says = self.says.lock().unwrap().clone();
        Box::pin(async move { Ok(says.answer().await) })
    }
}

impl Says {
    async fn answer(self) -> Response<Body> {
        let (octets, status) = match self {
            Says::Message(octets) => (octets, Some("0")),
            Says::Unfinished(octets) => (octets, None),
            Says::Status(code) => return Status::new(code, "as told").into_http(),
            Says::Reason(code, reason) => {
                return chassis::status::refusal(code, reason, "as told").into_http();
            }
            Says::Page(status) => {
                let page = Response::builder().status(status).header("content-type", "text/html");
                return page.body(Body::new(Full::new(Bytes::from_static(b"<h1>hello</h1>")))).unwrap();
            }
            Says::Panics => panic!("as told"),
            Says::Nothing => std::future::pending().await,
        };
        // One octet that says "not compressed", four of length, the message.
        let mut framed = vec![0];
        framed.extend(u32::try_from(octets.len()).unwrap().to_be_bytes());
        framed.extend(octets);
        let body = Full::new(Bytes::from(framed));
        let body = match status {
            None => Body::new(body),
            Some(status) => {
                let trailers = HeaderMap::from_iter([(
                    http::HeaderName::from_static("grpc-status"),
                    HeaderValue::from_static(status),
                )]);
                Body::new(body.with_trailers(std::future::ready(Some(Ok(trailers)))))
            }
        };
        Response::builder().header("content-type", "application/grpc").body(body).unwrap()
    }
}

struct Scene {
    stack: Stack,
    says: Arc<Mutex<Says>>,
    life: Lifecycle,
}

impl Scene {
    /// A stack whose gateway asks a policy-service of the test's own; auth-service asks the real one.
    async fn begin() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        let gateway = format!("[peers.policy]\nendpoints = [\"{endpoint}\"]\n");
        let stack = Builder::new().settings("gateway", &gateway).start().await;
        let folder = stack.state_dir().join("certificates");
        let tls = Tls {
            mode: TlsMode::Mutual,
            certificate: folder.join("policy.crt"),
            key: folder.join("policy.key"),
            authority: folder.join("ca.crt"),
            domain: "latchkey.local".into(),
        };
        let life = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::ZERO });
        let says = Arc::new(Mutex::new(Says::Nothing));
        let server = Server::new("policy", &Identity::load(&tls).unwrap(), ACCESS, life.clone())
            .service(Fake::<Checks> { says: says.clone(), name: PhantomData })
            .service(Fake::<Reads> { says: says.clone(), name: PhantomData });
        life.spawn("grpc", server.serve(listener));
        stack.register("alice").await;
        Self { stack, says, life }
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.life.end();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z01_nonsense_from_policy_service_is_an_outage() {
    let scene = Scene::begin().await;
    let stack = &scene.stack;
    let token = stack.token("alice", PASSWORD).await.access_token;
    let cookie = stack.session("alice", PASSWORD).await.cookie;
    let ask = async |method: &str, path: &str, by: &str| {
        let request = stack.request(method.parse::<Method>().unwrap(), path);
        let request = match by {
            "token" => request.bearer_auth(&token),
            _ => request.header("cookie", &cookie).header("sec-fetch-site", "same-origin"),
        };
        tokio::time::timeout(SOON / 4, request.send()).await.expect("an answer in time").unwrap()
    };

    // The fake is believed: what it says decides.
    let allow: &[u8] = &[8, 1];
    let controls: BTreeMap<&str, (&[u8], u16)> =
        BTreeMap::from([("allow", (allow, 200)), ("deny", (&[8, 2], 403))]);
    for (what, (octets, status)) in &controls {
        scene.say(Says::Message(octets));
        assert_eq!(ask("GET", "/app/documents/1", "token").await.status(), *status, "{what}");
    }

    let hits = stack.upstream_hits().await;
    let garbage: &[u8] = &[0xff, 0xff, 0xff, 0xff];
    // (as an answer to a check, and where that differs, as one about roles)
    let nonsense = [
        ("a decision that is unset", Says::Message(&[]), false),
        ("a decision from a newer version", Says::Message(&[8, 3]), false),
        (
            "a negative decision",
            Says::Message(&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            false,
        ),
        ("octets that are no message", Says::Message(garbage), true),
        ("an allow that is cut off", Says::Unfinished(&[8, 1, 16]), true),
        ("an error", Says::Status(Code::Internal), true),
        ("an unknown error", Says::Status(Code::Unknown), true),
        ("not implemented", Says::Status(Code::Unimplemented), true),
        ("a refusal of the gateway itself", Says::Status(Code::PermissionDenied), true),
        (
            "a refusal of the gateway's certificate",
            Says::Reason(Code::PermissionDenied, "CALLER_NOT_LISTED"),
            true,
        ),
        ("not logged in", Says::Status(Code::Unauthenticated), true),
        ("a reason from a newer version", Says::Reason(Code::NotFound, "FROM_A_NEWER_VERSION"), true),
        ("another service's reason", Says::Reason(Code::Unauthenticated, "INVALID_CREDENTIALS"), true),
        ("a session's reason", Says::Reason(Code::NotFound, "SESSION_NOT_FOUND"), true),
        ("success without a message", Says::Status(Code::Ok), true),
        ("a page", Says::Page(200), true),
        ("a page that refuses", Says::Page(403), true),
        ("a panic", Says::Panics, true),
        ("nothing at all", Says::Nothing, true),
    ];
    for (what, says, about_roles) in nonsense {
        scene.say(says);
        let mut asked = vec![
            ("GET", "/app/documents/1", "token"),
            ("PUT", "/app/documents/1", "token"),
            ("GET", "/app/documents/1", "session"),
        ];
        if about_roles {
            asked.extend([("GET", "/app/session/x", "session"), ("GET", "/app/admin/x", "session")]);
        }
        for (method, path, by) in asked {
            let answer = ask(method, path, by).await;
            assert_eq!(answer.status(), 503, "{what}: {method} {path} by {by}");
            let wait = answer.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap();
            assert!(wait >= 1);
            let problem: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(problem["code"], "unavailable", "{what}");
        }
        // Who needs nobody's permission goes on.
        assert_eq!(ask("GET", "/app/public/x", "token").await.status(), 200, "{what}");
        assert_eq!(ask("GET", "/app/token/x", "token").await.status(), 200, "{what}");
    }
    // Two for each: those that needed no permission.
    assert_eq!(stack.upstream_hits().await - hits, 2 * 19, "nothing else was let through");
    scene.say(Says::Message(allow));
    assert_eq!(ask("GET", "/app/documents/1", "token").await.status(), 200, "and it is over when it is over");
}
