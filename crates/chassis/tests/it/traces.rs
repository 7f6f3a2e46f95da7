//! Traces over real servers, to a collector that the test is.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Command;
use std::time::Duration;

use latchkey_chassis::config::{Log, Shutdown};
use latchkey_chassis::grpc::Call;
use latchkey_chassis::telemetry::traces::{Settings, Traces, answering, storing};
use latchkey_chassis::{process, telemetry};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use servers::{Collected, Collector};
use tokio::net::TcpListener;
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::authority::Authority;
use crate::echo::{SAY, call, say, send, start};

const LONG: Duration = Duration::from_secs(20);
/// The spans of [`child_traces`].
const SPANS: usize = 8;
const RELAY: &str = "/test.v1.Echo/Relay";

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
    let collector = Collector::start().await;
    let (traces, _guard) = begin(Settings::to(format!("{}/v1/traces", collector.endpoint()))).await;

    let authority = Authority::new();
    let (first, second) = (start(&authority.identity("auth")), start(&authority.identity("auth")));
    let gateway = authority.identity("gateway");
    first.echo.next.set(second.channel(&gateway)).unwrap();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let call = Call { traceparent: Some(traceparent), ..call() };
    send(first.channel(&gateway), RELAY, call.request("hello".to_owned())).await.unwrap();
    end(traces, LONG).await;

    let spans = collector.spans();
    let by_id: BTreeMap<&str, &Collected> = spans.iter().map(|span| (&*span.id, span)).collect();
    assert_eq!((spans.len(), by_id.len()), (4, 4), "{spans:?}");
    assert!(spans.iter().all(|span| span.service == "latchkey-test"), "{spans:?}");
    assert!(spans.iter().all(|span| span.trace == "0af7651916cd43dd8448eb211c80319c"), "{spans:?}");
    // From the innermost out.
    let innermost = spans.iter().find(|span| !spans.iter().any(|other| other.parent == span.id));
    let (mut at, mut path) = (innermost, Vec::new());
    while let Some(span) = at {
        path.push((span.name.as_str(), span.kind));
        at = by_id.get(&*span.parent).copied();
        if at.is_none() {
            assert_eq!(span.parent, "b7ad6b7169203331", "the caller's own");
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

#[tokio::test]
async fn a_call_of_a_store_is_a_span_only_as_part_of_a_trace() {
    let collector = Collector::start().await;
    let (traces, _guard) = begin(Settings::to(format!("{}/v1/traces", collector.endpoint()))).await;
    let call = |operation, outcome: Result<u8, ()>| storing("redis", operation, async move { outcome });
    assert_eq!(call("sweep", Ok(1)).await, Ok(1));
    let trace = answering("route", &http::HeaderMap::new());
    assert_eq!(call("find", Ok(2)).instrument(trace.clone()).await, Ok(2));
    assert_eq!(call("end", Err(())).instrument(trace.clone()).await, Err(()));
    drop(trace);
    end(traces, LONG).await;

    let spans = collector.spans();
    let by_name = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    assert_eq!(spans.len(), 3, "{spans:?}");
    for (name, failed) in [("find", false), ("end", true)] {
        let span = by_name(name);
        assert_eq!((&span.parent, span.kind, span.failed), (&by_name("route").id, SpanKind::Client, failed));
        assert_eq!(span.attributes["db.system.name"], "redis");
        assert_eq!(span.attributes["db.operation.name"], name);
    }
}

#[test]
#[ignore = "a child of another test"]
fn child_traces() {
    process::prepare();
    telemetry::init(&Log::default(), "test");
    let shutdown = Shutdown { settle: Duration::ZERO, ..Shutdown::default() };
    process::serve(shutdown, |life| async move {
        (0..SPANS).for_each(|_| drop(answering("route", &http::HeaderMap::new())));
        life.trigger();
        Ok(())
    })
    .unwrap();
}

/// What the SDK reads by itself only a process of its own can be told. What that prints.
async fn told(collector: &str, variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "--nocapture", "traces::child_traces"]);
    child.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector).envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_sampler_of_the_environment_is_kept_and_one_that_is_not_there_is_said() {
    for (sampler, ratio, expected) in [
        ("always_on", "", SPANS),
        ("always_off", "", 0),
        ("traceidratio", "0", 0),
        ("parentbased_traceidratio", "1", SPANS),
    ] {
        let collector = Collector::start().await;
        let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
        let said = told(&collector.endpoint(), &variables).await;
        assert!(!said.contains("OTEL_"), "{said}");
        assert_eq!(collector.spans().len(), expected, "{sampler} {ratio}");
    }
    let collector = Collector::start().await;
    let said = told(&collector.endpoint(), &[("OTEL_TRACES_SAMPLER", "nonsense")]).await;
    assert!(said.contains("there are no traces") && said.contains("OTEL_TRACES_SAMPLER: "), "{said}");
    assert_eq!(collector.spans().len(), 0);
}

#[tokio::test]
async fn headers_of_the_environment_reach_the_collector() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let collector = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let head = BufReader::new(&tcp).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
        let head: Vec<String> = head.map(|line| line.to_lowercase()).collect();
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        head
    });
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc, x-tenant=a=b");
    told(&collector, &[headers]).await;
    let head = asked.join().unwrap();
    for header in ["authorization: bearer abc", "x-tenant: a=b"] {
        assert!(head.iter().any(|line| line == header), "{header}: {head:?}");
    }
}
