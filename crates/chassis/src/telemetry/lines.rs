//! Log lines: `timestamp`, `level`, `service`, `target`, `message`, the fields of the call around the event, and its own. One
//! of its own takes the place of one of the call's.

use std::fmt;
use std::io::Write;

use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::around;
use crate::clock::{Clock as _, SystemClock};
use crate::config::LogFormat;

/// The layer that writes them.
pub(super) struct Lines<W> {
    service: &'static str,
    format: LogFormat,
    writer: W,
}

impl<W> Lines<W> {
    pub(super) fn new(service: &'static str, format: LogFormat, writer: W) -> Lines<W> {
        Lines { service, format, writer }
    }
}

impl<S, W, O> Layer<S> for Lines<W>
where
    S: Subscriber,
    W: Fn() -> O + 'static,
    O: Write,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Map::new();
        let mut put = |name: &str, value: Value| line.insert(name.to_owned(), value);
        put("timestamp", SystemClock.now().format(&Rfc3339).unwrap_or_default().into());
        put("level", event.metadata().level().as_str().into());
        put("service", self.service.into());
        put("target", event.metadata().target().into());
        around::each(|name, value| {
            put(name, value.into());
        });
        event.record(&mut Collect(&mut line));
        let text = match self.format {
            LogFormat::Json => serde_json::to_string(&line).unwrap_or_default(),
            LogFormat::Text => text(line),
        };
        // One write a line, so that lines of several threads do not mix. A full disk or a closed pipe does not stop the
        // service.
        let _ = (self.writer)().write_all(format!("{text}\n").as_bytes());
    }
}

/// For a person: what every line has by itself, the rest by name. What is not ours is quoted, and nothing breaks a line.
fn text(mut line: Map<String, Value>) -> String {
    let mut bare = |name| match line.remove(name) {
        Some(Value::String(text)) if !text.chars().any(char::is_control) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let (timestamp, level, service) = (bare("timestamp"), bare("level"), bare("service"));
    let (target, message) = (bare("target"), bare("message"));
    let mut text = format!("{timestamp} {level:>5} {service} {target}: {message}");
    for (name, value) in line {
        text.push_str(&format!(" {name}={value}"));
    }
    text
}

struct Collect<'a>(&'a mut Map<String, Value>);

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    /// With what is behind it, which is mostly what one looks for.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, crate::status::chain(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}
