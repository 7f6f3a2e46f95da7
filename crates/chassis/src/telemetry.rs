//! Logs and metrics.
//!
//! Logs are lines on standard output, one JSON object each, or text for a person. The fields are stable. Lines of
//! the target `audit` are written whatever the level says. Metrics belong to a [`crate::lifecycle::Lifecycle`], not to
//! the process, so that services tested in one process keep theirs apart.

mod json;
mod metrics;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

pub use metrics::Metrics;

use crate::config::{Log, LogFormat};

/// Starts logging to standard output. The first call counts; later ones change nothing, so that several services
/// can start in one process.
pub fn init(log: &Log, service: &'static str) {
    let filter = filter(&log.level);
    let registry = tracing_subscriber::registry();
    // An error means that logging has begun already.
    let _ = match log.format {
        LogFormat::Json => {
            let lines = json::Lines::new(service, std::io::stdout);
            tracing::subscriber::set_global_default(registry.with(lines.with_filter(filter)))
        }
        LogFormat::Text => {
            // What cannot be written is not complained about on standard error, where that could not be written either.
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stdout)
                .with_ansi(false)
                .log_internal_errors(false);
            tracing::subscriber::set_global_default(registry.with(lines.with_filter(filter)))
        }
    };
}

/// The configured level, and audit lines always.
fn filter(level: &str) -> Targets {
    // `config::Log::problems` has judged it; a log that says too much is better than none.
    let configured: Targets =
        level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    configured.with_target("audit", LevelFilter::TRACE)
}

#[cfg(test)]
mod tests;
