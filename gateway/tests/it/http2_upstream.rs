//! Applications that speak HTTP/2.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::client::{Client, PATIENCE, get, once, request};
use super::gateway::{Gateway, eventually};

/// An application that writes down what it is sent and does what the path asks for.
pub struct Application {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Sent>>,
    connections: Mutex<usize>,
    closed: watch::Sender<usize>,
    /// Requests that the gateway gave up.
    cancelled: watch::Sender<usize>,
    go: Notify,
    /// Done whatever the path asks for.
    always: Mutex<Option<&'static str>>,
}

#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub method: String,
    pub path: String,
    pub authority: String,
    pub scheme: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// Whether it came in full.
    pub ended: bool,
}

impl Application {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let own = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                *own.connections.lock().unwrap() += 1;
                let seen = Arc::clone(&own);
                connections.spawn(async move {
                    serve(stream, Arc::clone(&seen)).await;
                    seen.closed.send_modify(|count| *count += 1);
                });
            }
        });
        Self { address, seen, accepting: accepting.abort_handle() }
    }

    pub fn routes(&self, more: &str) -> String {
        format!(
            "[upstream.app]\nendpoints = [\"http://{}\"]\nprotocol = \"h2\"\n{more}\n\
             [[route]]\npath = \"/open/*\"\naccept = []\nupstream = \"app\"\n\
             [[route]]\npath = \"/stripped/*\"\naccept = []\nupstream = \"app\"\nstrip_prefix = \"/stripped\"\n",
            self.address
        )
    }

    pub fn requests(&self) -> Vec<Sent> {
        self.seen.requests.lock().unwrap().clone()
    }

    fn last(&self) -> Sent {
        self.requests().pop().expect("nothing came")
    }

    fn connections(&self) -> usize {
        *self.seen.connections.lock().unwrap()
    }

    async fn until_cancelled(&self, count: usize) {
        let mut cancelled = self.seen.cancelled.subscribe();
        tokio::time::timeout(PATIENCE, cancelled.wait_for(|cancelled| *cancelled >= count))
            .await
            .expect("the gateway kept its request")
            .unwrap();
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, seen: Arc<Seen>) {
    let mut connection =
        h2::server::Builder::new().max_concurrent_streams(20).handshake(stream).await.unwrap();
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let last = request.uri().path().ends_with("/last");
        streams.spawn(answer(request, respond, Arc::clone(&seen)));
        if last {
            connection.graceful_shutdown();
        }
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, seen: Arc<Seen>) {
    let (parts, mut body) = request.into_parts();
    let index = {
        let mut requests = seen.requests.lock().unwrap();
        requests.push(Sent {
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().unwrap().to_string(),
            authority: parts.uri.authority().unwrap().to_string(),
            scheme: parts.uri.scheme_str().unwrap().to_owned(),
            headers: parts.headers,
            ..Sent::default()
        });
        requests.len() - 1
    };
    let note = |note: &dyn Fn(&mut Sent)| note(&mut seen.requests.lock().unwrap()[index]);
    while let Some(data) = body.data().await {
        let Ok(data) = data else {
            seen.cancelled.send_modify(|count| *count += 1);
            return;
        };
        body.flow_control().release_capacity(data.len()).unwrap();
        note(&|sent| sent.body.extend(&data));
    }
    let Ok(trailers) = body.trailers().await else { return };
    note(&|sent| (sent.trailers, sent.ended) = (trailers.clone(), true));
    let head = |length: Option<&str>| {
        let mut head = Response::new(());
        if let Some(length) = length {
            head.headers_mut().insert("content-length", length.parse().unwrap());
        }
        head
    };
    let path = parts.uri.path().rsplit('/').next().unwrap();
    let always = *seen.always.lock().unwrap();
    match always.unwrap_or(path) {
        "never" => {
            let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            seen.cancelled.send_modify(|count| *count += 1);
        }
        "reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "slow" => {
            seen.go.notified().await;
            respond.send_response(head(None), false).unwrap().send_data("slow".into(), true).unwrap();
        }
        "lies" => {
            respond.send_response(head(Some("10")), false).unwrap().send_data("two".into(), true).unwrap();
        }
        "stream" => {
            let mut sending = respond.send_response(head(None), false).unwrap();
            sending.send_data("first".into(), false).unwrap();
            let reset = std::future::poll_fn(|cx| sending.poll_reset(cx));
            tokio::select! {
                _ = reset => seen.cancelled.send_modify(|count| *count += 1),
                () = seen.go.notified() => sending.send_data("second".into(), true).unwrap(),
            }
        }
        "trailers" => {
            let mut sending = respond.send_response(head(None), false).unwrap();
            sending.send_data("body".into(), false).unwrap();
            let mut trailers = HeaderMap::new();
            for name in ["x-kept", "x-latchkey-roles", "set-cookie"] {
                trailers.insert(name, HeaderValue::from_static("1"));
            }
            sending.send_trailers(trailers).unwrap();
        }
        "headers" => {
            let mut head = head(None);
            for (name, value) in [("x-latchkey-roles", "admin"), ("set-cookie", "a=1"), ("x-kept", "1")] {
                head.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            respond.send_response(head, true).unwrap();
        }
        _ => {
            let length = seen.requests.lock().unwrap()[index].body.len();
            let body = format!("{} {length}", parts.uri.path());
            let head = head(Some(&body.len().to_string()));
            respond.send_response(head, false).unwrap().send_data(body.into(), true).unwrap();
        }
    }
}

#[tokio::test]
async fn requests_of_http1_become_those_of_http2() {
    let application = Application::start().await;
    let gateway = Gateway::with_routes(&application.routes("")).await;
    let headers = &[
        "Connection: keep-alive, X-Hop, TE",
        "X-Hop: 1",
        "Keep-Alive: 1",
        "TE: trailers, deflate",
        "X-Own: 1",
    ];
    let answer = get(gateway.address, "/stripped/a/b?c=%20", headers).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "/a/b 0"));
    let seen = application.last();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/a/b?c=%20"));
    assert_eq!((seen.authority.as_str(), seen.scheme.as_str()), ("app.example", "http"));
    for gone in ["host", "connection", "x-hop", "keep-alive", "transfer-encoding"] {
        assert!(!seen.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.headers["x-own"], "1");
    assert_eq!(seen.headers["x-forwarded-host"], "app.example");

    let chunked =
        "POST /open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(once(gateway.address, chunked).await.text(), "/open/x 5");
    let sized = "POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(once(gateway.address, sized).await.text(), "/open/x 5");
    assert_eq!(application.last().headers["content-length"], "5");
    // HTTP/1.0 need not say for which host.
    assert_eq!(once(gateway.address, "GET /open/x HTTP/1.0\r\n\r\n").await.status, 200);
    assert_eq!(application.last().authority, "localhost");

    let answer = get(gateway.address, "/open/headers", &[]).await;
    assert_eq!((answer.header("x-latchkey-roles"), answer.header("x-kept")), (None, Some("1")));
    assert_eq!(answer.header("set-cookie"), Some("a=1"));
    let upgrade = &["Connection: Upgrade", "Upgrade: websocket"];
    assert_eq!(get(gateway.address, "/open/x", upgrade).await.status, 200, "answered as if it had not asked");
    assert_eq!(application.connections(), 1, "all share one");
}

#[tokio::test]
async fn trailers_pass_both_ways_less_what_only_we_may_say() {
    let application = Application::start().await;
    let gateway = Gateway::with_routes(&application.routes("")).await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::post("http://app.example/open/trailers").body(()).unwrap();
    let (answer, mut sending) = sender.send_request(request, false).unwrap();
    sending.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let mut trailers = HeaderMap::new();
    for name in ["x-kept", "x-latchkey-subject", "x-forwarded-for", "authorization", "cookie", "host"] {
        trailers.insert(name, HeaderValue::from_static("1"));
    }
    sending.send_trailers(trailers).unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(&body.data().await.unwrap().unwrap()[..], b"body");
    assert!(body.data().await.is_none());
    let names = |trailers: &HeaderMap| trailers.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&body.trailers().await.unwrap().unwrap()), ["x-kept"]);
    let seen = application.last();
    assert_eq!(seen.body, b"hello");
    assert_eq!(names(&seen.trailers.unwrap()), ["x-kept"]);
    driver.abort();
}

#[tokio::test]
async fn many_at_once_share_connections_as_far_as_the_application_lets_them() {
    let application = Application::start().await;
    let gateway = Gateway::with_routes(&application.routes("timeout = \"20s\"")).await;
    assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
    let mut clients = Vec::new();
    for count in 2..52 {
        let mut client = Client::connect(gateway.address).await;
        client.send(request("GET", "/open/slow", &[])).await;
        clients.push(client);
        eventually("it is there", async || (application.requests().len() == count).then_some(())).await;
    }
    assert_eq!(application.connections(), 3, "20 on each");
    for client in &mut clients {
        application.seen.go.notify_one();
        let pushing = async {
            loop {
                tokio::task::yield_now().await;
                application.seen.go.notify_one();
            }
        };
        tokio::select! {
            answer = client.answer() => assert_eq!(answer.text(), "slow"),
            () = pushing => {}
        }
    }
    // What is not needed any more is closed; one is kept.
    let mut closed = application.seen.closed.subscribe();
    let closed = tokio::time::timeout(PATIENCE, closed.wait_for(|closed| *closed == 2)).await;
    closed.expect("idle connections are kept").unwrap();
    assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
    assert_eq!(application.connections(), 3);
}

#[tokio::test]
async fn applications_that_do_not_behave() {
    let application = Application::start().await;
    let gateway = Gateway::with_routes(&application.routes("timeout = \"500ms\"")).await;
    for (path, status, code) in
        [("/open/reset", 502, "upstream_failed"), ("/open/never", 504, "upstream_timeout")]
    {
        let answer = get(gateway.address, path, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
    application.until_cancelled(1).await;
    // Its length is not what it announced.
    let mut client = Client::connect(gateway.address).await;
    client.send(request("GET", "/open/lies", &[])).await;
    let all = String::from_utf8(client.rest().await).unwrap();
    let body = all.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    assert!(body.len() < 10, "it is broken off: {all}");
    assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
    assert_eq!(application.connections(), 1, "the others on the connection are not concerned");

    // One that speaks HTTP/1 only.
    let other = super::upstream::Upstream::start().await;
    let routes = application.routes("").replace(&application.address.to_string(), &other.address.to_string());
    let gateway = Gateway::with_routes(&routes).await;
    let answer = get(gateway.address, "/open/garbage", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_failed"));
}

#[tokio::test]
async fn who_leaves_takes_the_request_along() {
    let application = Application::start().await;
    let gateway = Gateway::with_routes(&application.routes("")).await;
    // Of HTTP/1, before and after the answer has begun.
    for (count, path) in [(1, "/open/never"), (2, "/open/stream")] {
        let mut client = Client::connect(gateway.address).await;
        client.send(request("GET", path, &[])).await;
        eventually("it is there", async || (application.requests().len() == count).then_some(())).await;
        if path == "/open/stream" {
            assert_eq!(client.head().await.status, 200);
        }
        drop(client);
        application.until_cancelled(count).await;
    }
    // Of HTTP/2: one stream of a connection that goes on.
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    for (count, path) in [(3, "never"), (4, "stream")] {
        let request = Request::get(format!("http://a/open/{path}")).body(()).unwrap();
        let (answer, mut sending) = sender.send_request(request, true).unwrap();
        eventually("it is there", async || (application.requests().len() == count).then_some(())).await;
        let answer = (path == "stream").then_some(answer);
        let begun = match answer {
            Some(answer) => Some(answer.await.unwrap()),
            None => None,
        };
        sending.send_reset(Reason::CANCEL);
        drop(begun);
        application.until_cancelled(count).await;
    }
    // While it is still asking.
    let request = Request::post("http://a/open/x").body(()).unwrap();
    let (_answer, mut sending) = sender.send_request(request, false).unwrap();
    sending.send_data(Bytes::from_static(b"part"), false).unwrap();
    eventually("it is there", async || (application.last().body == b"part").then_some(())).await;
    sending.send_reset(Reason::CANCEL);
    application.until_cancelled(5).await;
    let request = Request::get("http://a/open/x").body(()).unwrap();
    assert_eq!(sender.send_request(request, true).unwrap().0.await.unwrap().status(), 200);
    assert_eq!(application.connections(), 1);
    driver.abort();
}

#[tokio::test]
async fn a_connection_that_says_farewell_costs_no_request() {
    let application = Application::start().await;
    let gateway = Gateway::with_routes(&application.routes("")).await;
    for round in 1..=10 {
        assert_eq!(get(gateway.address, "/open/last", &[]).await.text(), "/open/last 0");
        eventually("the next connection is another", async || {
            assert_eq!(get(gateway.address, "/open/x", &[]).await.text(), "/open/x 0");
            (application.connections() > round).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn one_that_only_resets_is_left_out() {
    let (a, b) = (Application::start().await, Application::start().await);
    let one = format!("\"http://{}\"", a.address);
    let both = format!("{one}, \"http://{}\"", b.address);
    let gateway = Gateway::with_routes(&a.routes("").replace(&one, &both)).await;
    *b.seen.always.lock().unwrap() = Some("reset");
    let metric = "latchkey_gateway_upstream_endpoints{state=\"left_out\",upstream=\"app\"}";
    eventually("it is left out", async || {
        assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
        (gateway.metric(metric) == Some(1.0)).then_some(())
    })
    .await;
    assert!((5..=6).contains(&b.requests().len()), "{}", b.requests().len());
    // Only one that was idle for long is made anew.
    assert!(b.connections() < b.requests().len(), "{}", b.connections());
}

#[tokio::test]
async fn probes_speak_it_too() {
    let application = Application::start().await;
    let health = "health = { path = \"/healthz\", interval = \"20ms\" }";
    let gateway = Gateway::with_routes(&application.routes(health)).await;
    eventually("it is asked", async || (application.requests().len() > 2).then_some(())).await;
    let seen = application.last();
    assert_eq!((seen.path.as_str(), seen.authority), ("/healthz", application.address.to_string()));
    let metric = "latchkey_gateway_upstream_endpoints{state=\"left_out\",upstream=\"app\"}";
    assert_eq!(gateway.metric(metric), Some(0.0));
}

#[tokio::test]
async fn connect_is_not_passed_on() {
    let application = Application::start().await;
    let gateway = Gateway::with_routes(&application.routes("")).await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::connect("app.example:80").body(()).unwrap();
    let answer = sender.send_request(request, false).unwrap().0.await;
    assert_eq!(answer.unwrap().status(), 501);
    assert!(application.requests().is_empty());
    driver.abort();
}
