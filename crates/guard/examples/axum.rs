//! An axum service that believes Latchkey's access tokens.
//!
//! `cargo run -p latchkey-guard --example axum --features connect -- guard.toml`, where `docs/guard.md` shows a `guard.toml`.
//! Three things make the difference to an open service: it connects, it puts a layer in front, and its handlers take a
//! `Caller`.

use std::{error::Error, future::Future, path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRequestParts, Path as Segment, State},
    http::{StatusCode, request::Parts},
    routing::get,
};
use latchkey_guard::{CheckFailed, Guard, Principal, connect::Config};
use tokio::net::TcpListener;

/// Who is asking. A handler that takes one cannot be reached without the layer.
struct Caller(Arc<Principal>);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.get().cloned().map(Caller).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

async fn hello(Caller(principal): Caller) -> String {
    format!("hello {}", principal.name)
}

/// What a token says is who and for what (`scope`); what somebody may do now is asked.
async fn report(
    State(guard): State<Guard>,
    Caller(principal): Caller,
    Segment(id): Segment<String>,
) -> Result<String, StatusCode> {
    match guard.check(&principal, "report:read", Some(("report", &id))).await {
        Ok(true) => Ok(format!("report {id} for {}", principal.name)),
        Ok(false) => Err(StatusCode::FORBIDDEN),
        Err(CheckFailed::Invalid(_)) => Err(StatusCode::BAD_REQUEST),
        // Not a no: nobody could be asked.
        Err(CheckFailed::Unavailable(_)) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn app(guard: &Guard) -> Router {
    Router::new()
        .route("/hello", get(hello))
        .route("/reports/{id}", get(report))
        .with_state(guard.clone())
        // Routes above it are guarded, those below are open.
        .layer(guard.layer())
        .route("/health", get(|| async { "ok" }))
}

/// Serves until `stop`.
pub async fn serve(
    config: &Path,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let guard = Guard::connect(&Config::from_file(config)?)?;
    // Without this line the first requests may be answered with 503. It also says what is wrong with the configuration.
    guard.ready(Duration::from_secs(30)).await?;
    axum::serve(listener, app(&guard)).with_graceful_shutdown(stop).await?;
    // Gives the lease back. A process that is killed makes the next logout wait until its lease is over.
    guard.close().await;
    Ok(())
}

#[tokio::main]
pub async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = std::env::args().nth(1).ok_or("usage: axum guard.toml")?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(Path::new(&config), listener, async {
        // Without a signal handler it just runs on.
        let _ = tokio::signal::ctrl_c().await;
    })
    .await
}
