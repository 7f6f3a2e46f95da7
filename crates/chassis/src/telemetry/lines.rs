//! Log lines as JSON: `timestamp`, `level`, `service`, `target`, `message`, then the fields of the spans around the
//! event from the outermost in, then its own. An inner field takes the place of an outer one of the same name.

use std::fmt;
use std::io::Write;

use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::{Clock as _, SystemClock};

/// The layer that writes them.
pub(super) struct Lines<W> {
    service: &'static str,
    writer: W,
}

impl<W> Lines<W> {
    pub(super) fn new(service: &'static str, writer: W) -> Lines<W> {
        Lines { service, writer }
    }
}

/// The fields of a span, kept beside it: for each call, and mostly for no line. A list, because there are few of them.
struct Fields(Vec<(&'static str, Value)>);

impl<S, W, O> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn() -> O + 'static,
    O: Write,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Vec::with_capacity(attributes.fields().len());
        attributes.record(&mut Collect(&mut fields));
        span.extensions_mut().insert(Fields(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(Fields(fields)) = span.extensions_mut().get_mut::<Fields>() {
            values.record(&mut Collect(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut own = Vec::with_capacity(metadata.fields().len());
        event.record(&mut Collect(&mut own));
        let mut named = |(name, value): &(&'static str, Value)| ((*name).to_owned(), value.clone());

        let mut line = Map::new();
        let timestamp = SystemClock.now().format(&Rfc3339).unwrap_or_default();
        line.insert("timestamp".to_owned(), timestamp.into());
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("service".to_owned(), self.service.into());
        line.insert("target".to_owned(), metadata.target().into());
        // Here, before the rest.
        line.extend(own.iter().find(|(name, _)| *name == "message").map(&mut named));
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(Fields(fields)) = span.extensions().get::<Fields>() {
                line.extend(fields.iter().map(&mut named));
            }
        }
        line.extend(own.iter().map(&mut named));
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            // One write a line, so that lines of several threads do not mix. A full disk or a closed pipe does not
            // stop the service.
            let _ = (self.writer)().write_all(&text);
        }
    }
}

struct Collect<'a>(&'a mut Vec<(&'static str, Value)>);

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(name, _)| *name == field.name()) {
            Some((_, before)) => *before = value,
            None => self.0.push((field.name(), value)),
        }
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
