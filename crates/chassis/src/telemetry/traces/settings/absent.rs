//! Of the specification's variables for SDKs and exporters, those that are honoured by nobody here: neither by this crate nor by
//! the SDK. Whoever sets one is told, since what it asks for does not happen.
//!
//! `OTEL_EXPORTER_OTLP_INSECURE` is not among them: it is about gRPC, and over HTTP the endpoint's scheme is what counts.

/// Traces would not be what was asked for.
const OF_TRACES: [&str; 13] = [
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
];
/// About other signals: often set for everything that runs, and no reason to be without traces.
const OF_OTHERS: [&str; 8] = [
    "OTEL_LOG_LEVEL",
    "OTEL_ENTITIES",
    "OTEL_METRICS_EXEMPLAR_FILTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    "OTEL_EXPORTER_PROMETHEUS_PORT",
];
/// Exporters of other signals that may be asked for, because it is what happens anyway.
const EXPORTERS: [(&str, &[&str]); 2] =
    [("OTEL_METRICS_EXPORTER", &["prometheus", "none"]), ("OTEL_LOGS_EXPORTER", &["none"])];

/// What the variables ask of traces that there is not, if anything.
pub(super) fn asked(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let name = OF_TRACES.into_iter().find(|name| variable(name).is_some())?;
    Some(format!("{name} is not there"))
}

/// What they ask of metrics and logs that there is not.
pub(super) fn ignored(variable: impl Fn(&str) -> Option<String>) -> Vec<&'static str> {
    let named = OF_OTHERS.into_iter().filter(|name| variable(name).is_some());
    let exporters = EXPORTERS.into_iter().filter(|(name, known)| {
        variable(name).is_some_and(|value| value.split(',').any(|one| !known.contains(&one.trim())))
    });
    named.chain(exporters.map(|(name, _)| name)).collect()
}
