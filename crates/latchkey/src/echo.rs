//! The application that a local stack protects: it answers what it was sent, as JSON. What a user sees here is what the
//! user's own application would see behind the gateway. Several threads, one task a connection, nothing kept: load tests
//! use it as their upstream.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use serde::{Serialize, Serializer, ser::SerializeMap};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What the application answers to everything but [`HITS`].
#[derive(Debug, Serialize)]
struct Echo<'a> {
    replica: &'a str,
    method: &'a str,
    /// As received, without the query.
    path: &'a str,
    /// As received, without the question mark; empty when there was none.
    query: &'a str,
    /// Lower-case name to an array with every value in the order received.
    #[serde(serialize_with = "headers")]
    headers: &'a HeaderMap,
    body_bytes: u64,
}

/// Answers `{"replica": …, "hits": n}`, the number of requests answered so far, itself not counted: how a test knows that
/// a refused request never got here.
const HITS: &str = "/_echo/hits";

struct Application {
    replica: String,
    hits: AtomicU64,
}

/// Serves until the process is told to stop; open requests are answered first.
pub async fn run(listen: SocketAddr, replica: String) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    serve(listener, replica, crate::signals::told_to_stop()?).await;
    Ok(())
}

async fn serve(listener: TcpListener, replica: String, stop: impl Future<Output = ()>) {
    let application = Arc::new(Application { replica, hits: AtomicU64::new(0) });
    let server = auto::Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => {
                // Failing to accept is the caller's connection lost, or no file descriptor left: both pass.
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let application = Arc::clone(&application);
                let service = hyper::service::service_fn(move |request| answer(Arc::clone(&application), request));
                let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
                let connection = graceful.watch(connection);
                connections.spawn(async move {
                    let _ = connection.await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn answer(
    application: Arc<Application>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, mut body) = request.into_parts();
    if parts.uri.path() == HITS && parts.method == Method::GET {
        let hits = application.hits.load(Ordering::Relaxed);
        let body = serde_json::json!({ "replica": application.replica, "hits": hits }).to_string();
        return Ok(json(body.into()));
    }
    application.hits.fetch_add(1, Ordering::Relaxed);
    let mut body_bytes = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => body_bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Err(_) => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::BAD_REQUEST;
                return Ok(response);
            }
        }
    }
    let echo = Echo {
        replica: &application.replica,
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body_bytes,
    };
    let mut body = serde_json::to_vec(&echo).unwrap_or_default();
    // For whoever calls it from a shell.
    body.push(b'\n');
    Ok(json(body.into()))
}

fn json(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn headers<S: Serializer>(headers: &&HeaderMap, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(headers.keys_len()))?;
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        map.serialize_entry(name.as_str(), &values)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::sync::oneshot;

    use super::*;

    async fn started() -> (String, oneshot::Sender<()>, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, "echo-7".into(), async {
            let _ = stopped.await;
        }));
        (url, stop, tasks)
    }

    fn client() -> reqwest::Client {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    #[tokio::test]
    async fn it_says_what_it_was_sent() {
        let (url, _stop, _tasks) = started().await;
        let request = client().put(format!("{url}/a%2Fb/c?x=1&y=%20"));
        let request = request.header("X-Twice", "one").header("x-twice", "two").body("four");
        let echo: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(echo["replica"], "echo-7");
        assert_eq!(echo["method"], "PUT");
        assert_eq!(echo["path"], "/a%2Fb/c");
        assert_eq!(echo["query"], "x=1&y=%20");
        assert_eq!(echo["headers"]["x-twice"], json!(["one", "two"]));
        assert_eq!(echo["body_bytes"], 4);
    }

    #[tokio::test]
    async fn it_counts_what_reached_it() {
        let (url, _stop, _tasks) = started().await;
        let client = client();
        client.get(format!("{url}/x")).send().await.unwrap();
        for _ in 0..2 {
            let hits: Value = client.get(format!("{url}{HITS}")).send().await.unwrap().json().await.unwrap();
            assert_eq!(hits, json!({ "replica": "echo-7", "hits": 1 }));
        }
    }

    #[tokio::test]
    async fn it_stops_when_told_although_a_connection_is_kept_open() {
        let (url, stop, mut tasks) = started().await;
        let client = client();
        client.get(&url).send().await.unwrap();
        stop.send(()).unwrap();
        tasks.join_next().await.unwrap().unwrap();
        assert!(client.get(&url).send().await.is_err());
    }
}
