//! Traces: one span for each call that is made, one for each that is answered and one for each call of a store, joined
//! over every process by W3C trace context, and exported by OTLP.
//!
//! Off unless the environment names a collector, by the variables of the OpenTelemetry specification. Spans of traces
//! have a target of their own, which only this layer looks at: when it is not there they are never made, and when it
//! is they do not burden log lines. The exporter has a thread and an HTTP client apart from the runtime (OTLP over tonic
//! can lock up a runtime with one worker, opentelemetry-rust#2715), behind a queue that drops rather than waits.

mod context;
mod queue;
mod settings;
mod store;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::metrics::Meter;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

pub use context::{answered, answering, asking, id};
pub use settings::Settings;
pub use store::storing;

use queue::{Bounded, Counted, Tally};

/// The target of every span that belongs to traces.
pub(super) const TARGET: &str = "trace";
/// How long stopping waits for the collector to take what is left.
const FLUSH: Duration = Duration::from_secs(2);

/// The traces of this process, if there are any.
static BEGUN: OnceLock<Traces> = OnceLock::new();

/// Spans on their way to a collector.
#[derive(Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    tally: Arc<Tally>,
}

/// There can be no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("the collector's client cannot be made: {0}")]
    Client(#[source] reqwest::Error),
    #[error("the exporter cannot be made: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

impl Traces {
    /// Begins to export. Not inside a runtime's thread: the exporter's client refuses to be made there.
    pub fn begin(settings: &Settings, service: &str) -> Result<Traces, TracesError> {
        let client = reqwest::blocking::Client::builder()
            .timeout(settings.timeout)
            .build()
            .map_err(TracesError::Client)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&settings.endpoint)
            .with_timeout(settings.timeout)
            .build()?;
        let tally = Arc::new(Tally::default());
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(settings.queue)
            .with_max_export_batch_size(settings.batch())
            .build();
        let processor = BatchSpanProcessor::builder(Counted::new(exporter, tally.clone()))
            .with_batch_config(batches)
            .build();
        // What `settings` leaves to the SDK it reads itself: the resource, the sampler, limits, the delay; and the exporter headers.
        let resource = match settings.names_service {
            true => Resource::builder().build(),
            false => Resource::builder().with_service_name(format!("latchkey-{service}")).build(),
        };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Bounded::new(processor, settings.queue, tally.clone()))
            .with_resource(resource)
            .build();
        global::set_text_map_propagator(settings.propagator());
        Ok(Traces { provider, tally })
    }

    /// What turns spans into what is exported.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("latchkey"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET))
    }

    /// Spans that no collector will see: the queue was full, or it did not take them.
    pub fn dropped(&self) -> u64 {
        self.tally.overflowed() + self.tally.failed()
    }

    /// Hands over what is left, for so long at most. Blocks.
    pub fn end(&self, patience: Duration) {
        // Whether it went well is in the count of those dropped; there is nobody left to tell.
        let _ = self.provider.shutdown_with_timeout(patience);
    }
}

/// Begins what the environment asks for. `Err`: why there are no traces although it asks for them.
pub(super) fn from_environment(service: &str) -> Result<Option<Traces>, String> {
    let Some(settings) = settings::asked(variable)? else {
        return Ok(None);
    };
    if let Some(begun) = BEGUN.get() {
        return Ok(Some(begun.clone()));
    }
    let traces = Traces::begin(&settings, service).map_err(|error| crate::status::chain(&error))?;
    Ok(Some(BEGUN.get_or_init(|| traces).clone()))
}

/// What the environment asks for that is neither traces nor there.
pub(super) fn ignored() -> Vec<&'static str> {
    settings::ignored(variable)
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

/// Hands over the last spans before the process ends. Blocks, for a moment at most.
pub(crate) fn flush() {
    if let Some(traces) = BEGUN.get() {
        traces.end(FLUSH);
    }
}

/// Counts what is lost, where there is something to lose.
pub(crate) fn observe(meter: &Meter) {
    let Some(Traces { tally, .. }) = BEGUN.get() else { return };
    meter
        .u64_observable_counter("latchkey_process_spans_dropped")
        .with_description("Spans of traces that no collector will see, by reason.")
        .with_callback(|counter| {
            counter.observe(tally.overflowed(), &[KeyValue::new("reason", "queue_full")]);
            counter.observe(tally.failed(), &[KeyValue::new("reason", "not_taken")]);
        })
        .build();
}
