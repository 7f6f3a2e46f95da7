//! Audit lines, caught as they are written. One catcher a process; tests tell their lines by request id.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, Once, PoisonError},
};

use tracing::field::{Field, Visit};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt as _};

static LINES: Mutex<Vec<Fields>> = Mutex::new(Vec::new());
static INSTALLED: Once = Once::new();

/// The fields of one line.
pub type Fields = BTreeMap<String, String>;

struct Catcher;

struct Reader(Fields);

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Catcher {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "audit" {
            let mut reader = Reader(Fields::new());
            event.record(&mut reader);
            LINES.lock().unwrap_or_else(PoisonError::into_inner).push(reader.0);
        }
    }
}

/// Begins to catch.
pub fn install() {
    INSTALLED.call_once(|| {
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Catcher));
    });
}

/// The lines of one request.
pub fn lines(request_id: &str) -> Vec<Fields> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.get("request_id").is_some_and(|id| id == request_id)).cloned().collect()
}

/// Everything caught, as text.
pub fn everything() -> String {
    format!("{:?}", LINES.lock().unwrap_or_else(PoisonError::into_inner))
}
