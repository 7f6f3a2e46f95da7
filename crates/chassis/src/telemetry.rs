//! Logs, metrics and traces.
//!
//! Logs are lines on standard output, one JSON object each, or text for a person. The fields are stable. Lines of
//! the target `audit` are written whatever the level says. Metrics belong to a [`crate::lifecycle::Lifecycle`], not to
//! the process, so that services tested in one process keep theirs apart.

mod json;
mod metrics;
pub mod traces;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

pub use metrics::Metrics;

use crate::config::{Log, LogFormat};

/// Starts logging to standard output, and traces if the environment asks for them. The first call counts; later ones
/// change nothing, so that several services can start in one process. Not inside a runtime.
pub fn init(log: &Log, service: &'static str) {
    let filter = filter(&log.level);
    let registry = tracing_subscriber::registry();
    let traces = traces::from_environment(service);
    let exported = traces.as_ref().ok().and_then(Option::as_ref);
    match log.format {
        LogFormat::Json => {
            let lines = json::Lines::new(service, std::io::stdout);
            begin(registry.with(lines.with_filter(filter)), exported);
        }
        LogFormat::Text => {
            // What cannot be written is not complained about on standard error, where that could not be written either.
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stdout)
                .with_ansi(false)
                .log_internal_errors(false);
            begin(registry.with(lines.with_filter(filter)), exported);
        }
    }
    if let Err(reason) = &traces {
        tracing::error!(reason, "there are no traces although the environment asks for them");
    }
}

fn begin<S>(subscriber: S, traces: Option<&traces::Traces>)
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    // An error means that logging has begun already.
    let _ = match traces {
        None => tracing::subscriber::set_global_default(subscriber),
        Some(traces) => tracing::subscriber::set_global_default(subscriber.with(traces.layer())),
    };
}

/// The configured level, and audit lines always. The spans of traces are not for lines.
fn filter(level: &str) -> Targets {
    // `config::Log::problems` has judged it; a log that says too much is better than none.
    let configured: Targets =
        level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    configured.with_target("audit", LevelFilter::TRACE).with_target(traces::TARGET, LevelFilter::OFF)
}

#[cfg(test)]
mod tests;
