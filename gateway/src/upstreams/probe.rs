//! Asking an endpoint how it is: `GET` of a path, on a connection of its own. A 2xx in time is well; everything else is
//! not.

use std::io;
use std::sync::Arc;

use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::Backend;
use crate::routing::{Health, Protocol};
use crate::spawner::Spawner;

const AGENT: &str = "latchkey-gateway";

/// Why an endpoint is not well.
#[derive(Debug, thiserror::Error)]
enum Unwell {
    #[error("no connection: {0}")]
    Connection(#[from] io::Error),
    #[error("no answer: {0}")]
    Answer(#[from] hyper::Error),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("no answer in time")]
    Late,
    #[error("the probe cannot be written: {0}")]
    Request(#[from] http::Error),
}

/// Asks every endpoint once.
pub(super) async fn round(backend: &Backend, health: &Health) {
    let protocol = backend.rule.protocol;
    let mut asked = JoinSet::new();
    for endpoint in backend.endpoints().iter() {
        let (endpoint, health) = (Arc::clone(endpoint), health.clone());
        asked.spawn(async move {
            let asking = ask(&endpoint.address, &health.path, protocol);
            let found = timeout(health.timeout, asking).await.unwrap_or(Err(Unwell::Late));
            (endpoint, found)
        });
    }
    while let Some(Ok((endpoint, found))) = asked.join_next().await {
        if endpoint.probed(found.is_ok()) {
            let (upstream, endpoint) = (&backend.rule.name, &endpoint.address);
            match found {
                Ok(()) => tracing::info!(upstream, endpoint, "well again"),
                Err(reason) => tracing::warn!(upstream, endpoint, %reason, "not well"),
            }
        }
    }
}

async fn ask(address: &str, path: &str, protocol: Protocol) -> Result<(), Unwell> {
    let io = TokioIo::new(TcpStream::connect(address).await?);
    let request = Request::get(match protocol {
        Protocol::Http1 => path.to_owned(),
        Protocol::Http2 => format!("http://{address}{path}"),
    });
    let request = request.header(header::USER_AGENT, AGENT);
    let answer = match protocol {
        Protocol::Http1 => {
            let request = request.header(header::HOST, address).header(header::CONNECTION, "close");
            let (mut sender, connection) = http1::handshake(io).await?;
            driven(sender.send_request(request.body(Empty::<Bytes>::new())?), connection).await?
        }
        Protocol::Http2 => {
            let (mut sender, connection) = http2::handshake(Spawner(TaskTracker::new()), io).await?;
            driven(sender.send_request(request.body(Empty::<Bytes>::new())?), connection).await?
        }
    };
    if answer.status().is_success() { Ok(()) } else { Err(Unwell::Status(answer.status())) }
}

/// An answer, and what moves its connection. That may end with the answer already there.
async fn driven<A, E>(
    answer: impl Future<Output = Result<A, hyper::Error>>,
    connection: impl Future<Output = Result<(), E>>,
) -> Result<A, hyper::Error> {
    let (mut answer, mut connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
    tokio::select! {
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}
