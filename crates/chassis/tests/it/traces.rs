//! Traces over real servers, to a collector that the test is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use latchkey_chassis::grpc::Call;
use latchkey_chassis::telemetry::traces::{Settings, Traces};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use tokio::net::TcpListener;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::authority::Authority;
use crate::echo::{SAY, call, say, send, start};

const LONG: Duration = Duration::from_secs(20);
const RELAY: &str = "/test.v1.Echo/Relay";

#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

async fn collect(State(collected): State<Collected>, body: Bytes) {
    collected.0.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
}

async fn collector() -> (SocketAddr, Collected) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, collected) = (listener.local_addr().unwrap(), Collected::default());
    let router = Router::new().route("/v1/traces", post(collect)).with_state(collected.clone());
    // The chassis' axum has no `serve`.
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let io = hyper_util::rt::TokioIo::new(tcp);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    (address, collected)
}

/// Exporting, for what runs on this thread.
async fn begin(settings: Settings) -> (Traces, tracing::subscriber::DefaultGuard) {
    latchkey_chassis::process::prepare();
    let traces =
        tokio::task::spawn_blocking(move || Traces::begin(&settings, "test").unwrap()).await.unwrap();
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    let guard = tracing::subscriber::set_default(subscriber);
    (traces, guard)
}

async fn end(traces: Traces, patience: Duration) {
    tokio::task::spawn_blocking(move || traces.end(patience)).await.unwrap();
}

#[tokio::test]
async fn one_trace_goes_from_the_caller_through_a_server_to_its_neighbour() {
    let (address, collected) = collector().await;
    let (traces, _guard) = begin(Settings::to(format!("http://{address}/v1/traces"))).await;

    let authority = Authority::new();
    let (first, second) = (start(&authority.identity("auth")), start(&authority.identity("auth")));
    let gateway = authority.identity("gateway");
    first.echo.next.set(second.channel(&gateway)).unwrap();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let call = Call { traceparent: Some(traceparent), ..call() };
    send(first.channel(&gateway), RELAY, call.request("hello".to_owned())).await.unwrap();
    end(traces, LONG).await;

    let requests = collected.0.lock().unwrap().clone();
    let resources: Vec<_> = requests.iter().flat_map(|request| &request.resource_spans).collect();
    let attributes = &resources[0].resource.as_ref().unwrap().attributes;
    let name = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
    let Some(Value::StringValue(name)) = name.value.as_ref().unwrap().value.clone() else {
        panic!("{name:?}")
    };
    assert_eq!(name, "latchkey-test");

    let spans: Vec<&Span> =
        resources.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans).collect();
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (&*span.span_id, *span)).collect();
    assert_eq!((spans.len(), by_id.len()), (4, 4), "{spans:?}");
    assert!(spans.iter().all(|span| hex(&span.trace_id) == "0af7651916cd43dd8448eb211c80319c"), "{spans:?}");
    // From the innermost out.
    let innermost = spans.iter().find(|span| !spans.iter().any(|other| other.parent_span_id == span.span_id));
    let (mut at, mut path) = (innermost.copied(), Vec::new());
    while let Some(span) = at {
        path.push((span.name.as_str(), span.kind()));
        at = by_id.get(&*span.parent_span_id).copied();
        if at.is_none() {
            assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331", "the caller's own");
        }
    }
    let (say, relay) = (SAY.trim_start_matches('/'), RELAY.trim_start_matches('/'));
    let expected = [
        (say, SpanKind::Server),
        (say, SpanKind::Client),
        (relay, SpanKind::Server),
        (relay, SpanKind::Client),
    ];
    assert_eq!(path, expected);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_collector_that_says_nothing_holds_up_nobody_and_what_is_lost_is_counted() {
    // The kernel accepts, nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings {
        queue: 16,
        timeout: LONG,
        ..Settings::to(format!("http://{}/v1/traces", silent.local_addr().unwrap()))
    };
    let (traces, _guard) = begin(settings).await;
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let channel = server.channel(&authority.identity("gateway"));
    for _ in 0..100 {
        say(&channel).await.unwrap();
    }
    // Two spans for each call; a queue and a batch of them wait, a few may be open.
    let dropped = traces.dropped();
    assert!((200 - 16 - 4 - 2..=200 - 16).contains(&dropped), "{dropped}");
    let stopped = tokio::time::timeout(LONG / 2, end(traces, Duration::from_millis(50))).await;
    stopped.expect("stopping does not wait for it");
}

#[tokio::test]
async fn without_a_collector_there_are_no_spans_and_a_callers_context_goes_on_as_it_is() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let mut headers = http::HeaderMap::new();
    headers.insert("traceparent", "00-1-2-01".parse().unwrap());
    let subscriber = tracing_subscriber::registry();
    let _guard =
        tracing::subscriber::set_default(subscriber.with(tracing_subscriber::filter::Targets::new()));
    assert!(latchkey_chassis::telemetry::traces::answering("x", &headers).is_disabled());
    assert!(latchkey_chassis::telemetry::traces::asking("auth", "x", &mut headers).is_disabled());
    assert_eq!(headers["traceparent"], "00-1-2-01");
    say(&server.channel(&authority.identity("gateway"))).await.unwrap();
}
