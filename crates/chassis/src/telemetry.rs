//! Logs, metrics and traces.
//!
//! Logs are lines on standard output, one JSON object each, or text for a person. The fields are stable. Lines of
//! the target `audit` are written whatever the level says. Metrics belong to a [`crate::lifecycle::Lifecycle`], not to
//! the process, so that services tested in one process keep theirs apart.

mod around;
mod lines;
mod metrics;
pub mod traces;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

pub use around::Around;
pub use metrics::Metrics;

use crate::config::Log;

/// Starts logging to standard output, and traces if the environment asks for them. The first call counts; later ones
/// change nothing, so that several services can start in one process. Not inside a runtime.
pub fn init(log: &Log, service: &'static str) {
    let lines = lines::Lines::new(service, log.format, std::io::stdout).with_filter(filter(&log.level));
    let subscriber = tracing_subscriber::registry().with(lines);
    let traces = traces::from_environment(service);
    // An error means that logging has begun already.
    let _ = match &traces {
        Ok(Some(traces)) => tracing::subscriber::set_global_default(subscriber.with(traces.layer())),
        Ok(None) | Err(_) => tracing::subscriber::set_global_default(subscriber),
    };
    match &traces {
        Ok(None) => {}
        Ok(Some(_)) => traces::ignored().into_iter().for_each(|variable| {
            tracing::warn!(
                variable,
                "what it asks for is not there: metrics are at /metrics, and logs are lines"
            );
        }),
        Err(reason) => tracing::error!(reason, "there are no traces although the environment asks for them"),
    }
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
