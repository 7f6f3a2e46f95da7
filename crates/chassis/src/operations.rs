//! The listener for probes and metrics: `/livez`, `/readyz` (`?verbose`), `/metrics`. Read-only, plain HTTP.
//!
//! It answers until the very end, drain included: that a process is draining is what a probe wants to know.

use std::fmt::Write as _;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use opentelemetry::KeyValue;
use tokio::net::TcpListener;

use crate::lifecycle::Lifecycle;

/// hyper applies no limit to slow headers unless it is given a timer, and neither does `axum::serve`.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves on the lifecycle until the process ends.
pub fn serve(listener: TcpListener, lifecycle: &Lifecycle) {
    observe_readiness(lifecycle);
    crate::telemetry::traces::observe(&lifecycle.metrics().meter());
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(lifecycle.clone());
    lifecycle.spawn_support("operations", accept(listener, router, lifecycle.clone()));
}

async fn accept(listener: TcpListener, router: Router, lifecycle: Lifecycle) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                lifecycle.spawn_support_work("operations connection", connection(stream, router.clone()));
            }
            Err(error) => crate::grpc::server::after_accept_error(&error).await,
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, router: Router) {
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "operations connection");
    }
}

async fn readyz(State(lifecycle): State<Lifecycle>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part == "verbose" || part == "verbose=true"));
    let ready = lifecycle.is_ready();
    let mut text = String::from(match (ready, lifecycle.is_stopping()) {
        (_, true) => "stopping\n",
        (true, false) => "ready\n",
        (false, false) => "not ready\n",
    });
    for condition in lifecycle.conditions() {
        let kind = if condition.required { "" } else { " (neighbour)" };
        let _ = match condition.state {
            Ok(()) if verbose => writeln!(text, "ok: {}{kind}", condition.name),
            Err(reason) if verbose || (!ready && condition.required) => {
                writeln!(text, "not ok: {}{kind}: {reason}", condition.name)
            }
            _ => Ok(()),
        };
    }
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

async fn metrics(State(lifecycle): State<Lifecycle>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], lifecycle.metrics().render())
}

fn observe_readiness(lifecycle: &Lifecycle) {
    let meter = lifecycle.metrics().meter();
    // Weak: the life owns the meter that owns these.
    let life = lifecycle.downgrade();
    meter
        .u64_observable_gauge("latchkey_process_ready")
        .with_description("1 when the process says that it can serve.")
        .with_callback(move |gauge| {
            if let Some(life) = life.upgrade() {
                gauge.observe(life.is_ready().into(), &[]);
            }
        })
        .build();
    let life = lifecycle.downgrade();
    meter
        .u64_observable_gauge("latchkey_process_condition")
        .with_description("1 when a condition of being ready, or a neighbour, is as it should be.")
        .with_callback(move |gauge| {
            for condition in life.upgrade().map(|life| life.conditions()).unwrap_or_default() {
                gauge.observe(
                    condition.state.is_ok().into(),
                    &[KeyValue::new("condition", condition.name.to_string())],
                );
            }
        })
        .build();
}
