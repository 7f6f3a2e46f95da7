use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;
use crate::audit;
use crate::config::LogFormat;

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

fn written(format: LogFormat, level: &str, body: impl FnOnce()) -> String {
    let sink = Sink::default();
    let writer = sink.clone();
    let lines = lines::Lines::new("auth", format, move || writer.clone());
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter(level)));
    tracing::subscriber::with_default(subscriber, body);
    String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
}

fn lines(level: &str, body: impl FnOnce()) -> Vec<Value> {
    written(LogFormat::Json, level, body).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn around() -> Around {
    let (request_id, caller) = ("req_1".into(), Some("gateway".into()));
    Around { method: Some("/a.v1.Reads/Get".into()), request_id, caller, trace_id: None }
}

#[test]
fn a_line_has_stable_fields_and_those_of_its_call() {
    let lines = lines("info", || {
        around().scope(|| tracing::info!(count = 3, error = %"gone", "store \"read\"\n"));
        tracing::info!("of no call");
    });
    assert_eq!(lines.len(), 2);
    assert_eq!(lines.last().unwrap().get("request_id"), None);
    let line = lines.first().unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["service"], "auth");
    assert_eq!(line["message"], "store \"read\"\n");
    assert_eq!(line["request_id"], "req_1");
    assert_eq!(line["caller"], "gateway");
    assert_eq!(line["method"], "/a.v1.Reads/Get");
    assert_eq!(line.get("trace_id"), None, "it is part of no trace");
    assert_eq!(line["count"], 3);
    assert_eq!(line["error"], "gone");
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    assert!(line["target"].as_str().unwrap().contains("telemetry"));
}

#[tokio::test]
async fn what_waits_says_of_which_call_it_is_each_time() {
    let sink = Sink::default();
    let writer = sink.clone();
    let lines = lines::Lines::new("auth", LogFormat::Json, move || writer.clone());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines));
    let told = |id: &str| {
        let around = Around { request_id: id.into(), ..around() };
        around.future(async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
                tracing::info!("still here");
            }
        })
    };
    tokio::join!(told("req_1"), told("req_2"), async { tracing::info!("of no call") });
    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    let count = |id: &str| text.lines().filter(|line| line.contains(id)).count();
    assert_eq!((count("req_1"), count("req_2"), count("of no call")), (3, 3, 1));
    assert!(!text.lines().any(|line| line.contains("of no call") && line.contains("req_")));
}

#[test]
fn an_inner_field_takes_the_place_of_an_outer_one() {
    let lines = lines("info", || around().scope(|| tracing::info!(caller = "somebody", "told")));
    assert_eq!(lines.first().unwrap()["caller"], "somebody");
}

#[test]
fn a_line_for_a_person_is_one_line() {
    let text = written(LogFormat::Text, "info", || {
        around().scope(|| {
            tracing::warn!(count = 3, said = "a \"word\"\nINFO forged", "told");
            tracing::info!("{}", "two\nlines");
        });
        audit::Record::refused("login", "wrong_password").emit();
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let [told, two, audit] = lines.as_slice() else { unreachable!() };
    assert!(told.contains("Z  WARN auth ") && told.contains("::telemetry::tests: told "), "{told}");
    for part in
        [r#" caller="gateway""#, r#" request_id="req_1""#, " count=3", r#" said="a \"word\"\nINFO forged""#]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(two.contains(r#": "two\nlines" "#), "{two}");
    assert!(audit.contains(" INFO auth audit: ") && audit.contains(r#" reason="wrong_password""#), "{audit}");
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
