//! The least that a hyper proxy can do: one `current_thread` runtime, one pool of upstream connections, no routes and no
//! authentication. What our gateway costs above this is what its own work costs.

use std::{cell::RefCell, convert::Infallible, net::SocketAddr, rc::Rc};

use anyhow::Context;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

type Body = http_body_util::Either<Incoming, http_body_util::Empty<bytes::Bytes>>;

/// Connections that wait for a request, most recently used last.
type Pool = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

pub fn run(listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(listen).await.with_context(|| listen.to_string())?;
        let pool = Pool::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let pool = pool.clone();
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request| forward(request, upstream, pool.clone()));
                // A connection that breaks is its client's matter.
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    })
}

async fn forward(
    request: Request<Incoming>,
    upstream: SocketAddr,
    pool: Pool,
) -> Result<Response<Body>, Infallible> {
    Ok(match send(request, upstream, pool).await {
        Ok(response) => response.map(http_body_util::Either::Left),
        Err(_) => {
            let mut response = Response::new(http_body_util::Either::Right(http_body_util::Empty::new()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    })
}

async fn send(
    request: Request<Incoming>,
    upstream: SocketAddr,
    pool: Pool,
) -> anyhow::Result<Response<Incoming>> {
    let waiting = loop {
        let popped = pool.borrow_mut().pop();
        match popped {
            Some(connection) if connection.is_closed() => {}
            other => break other,
        }
    };
    let mut connection = match waiting {
        Some(connection) => connection,
        None => connect(upstream).await?,
    };
    connection.ready().await?;
    let response = connection.send_request(request).await?;
    pool.borrow_mut().push(connection);
    Ok(response)
}

async fn connect(upstream: SocketAddr) -> anyhow::Result<SendRequest<Incoming>> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}
