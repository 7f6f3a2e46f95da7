use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;
use crate::audit;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn lines(level: &str, body: impl FnOnce()) -> Vec<Value> {
    let sink = Sink::default();
    let writer = sink.clone();
    let lines = json::Lines::new("auth", move || writer.clone());
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter(level)));
    tracing::subscriber::with_default(subscriber, body);
    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_has_stable_fields_and_those_of_its_spans() {
    let lines = lines("info", || {
        let span = tracing::info_span!("rpc", request_id = "req_1", caller = tracing::field::Empty);
        span.record("caller", "gateway");
        span.in_scope(|| tracing::info!(count = 3, error = %"gone", "store \"read\"\n"));
    });
    let line = lines.first().unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["service"], "auth");
    assert_eq!(line["message"], "store \"read\"\n");
    assert_eq!(line["request_id"], "req_1");
    assert_eq!(line["caller"], "gateway");
    assert_eq!(line["count"], 3);
    assert_eq!(line["error"], "gone");
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    assert!(line["target"].as_str().unwrap().contains("telemetry"));
}

#[test]
fn an_error_is_written_with_what_is_behind_it() {
    #[derive(Debug, thiserror::Error)]
    #[error("the keys cannot be fetched")]
    struct Outer(#[source] std::io::Error);
    let error = Outer(std::io::Error::other("connection refused"));
    let lines = lines("info", || tracing::warn!(error = &error as &dyn std::error::Error, "no keys"));
    assert_eq!(lines.first().unwrap()["error"], "the keys cannot be fetched: connection refused");
}

#[test]
fn audit_lines_are_written_whatever_the_level() {
    for level in ["error", "off", "audit=off"] {
        let lines = lines(level, || {
            tracing::info!("chatter");
            audit::Record::refused("login", "wrong_password")
                .subject("usr_1")
                .client("cli_1")
                .address("127.0.0.1")
                .request_id("req_1")
                .emit();
        });
        assert_eq!(lines.len(), 1, "{level}");
        let line = lines.first().unwrap();
        assert_eq!(line["target"], "audit");
        assert_eq!(line["event"], "login");
        assert_eq!(line["outcome"], "refused");
        assert_eq!(line["reason"], "wrong_password");
        assert_eq!(line["subject"], "usr_1");
        assert_eq!(line["request_id"], "req_1");
        assert_eq!(line.get("session"), None, "what does not apply is not there");
    }
}

#[test]
fn instruments_become_prometheus_text() {
    let metrics = Metrics::new();
    let counter = metrics.meter().u64_counter("latchkey_auth_logins").with_description("Logins.").build();
    counter.add(2, &[opentelemetry::KeyValue::new("outcome", "success")]);
    let text = metrics.render();
    assert!(text.contains("latchkey_auth_logins_total{outcome=\"success\"} 2"), "{text}");
    assert_eq!(Metrics::new().render(), "", "each has its own");
}
