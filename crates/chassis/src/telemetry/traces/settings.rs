//! What the environment says about traces, in the words of the OpenTelemetry specification. Those that the SDK does
//! not read itself are read here: whether it is on at all, the exporter, the propagators.
//!
//! Those that it does read are judged here: what it does not understand it replaces by a default and tells nobody.

mod absent;

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

/// How spans are exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to, with the path.
    pub endpoint: String,
    /// How long the collector may take for a batch.
    pub timeout: Duration,
    /// How many spans may wait for it; further ones are dropped.
    pub queue: usize,
    /// How many are sent together. `None`: few enough that the queue has room while they are.
    pub batch: Option<usize>,
    /// Which contexts travel in headers.
    pub propagators: Vec<Propagated>,
    /// Whether the environment says what the service is called.
    pub names_service: bool,
}

/// A context that travels in headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagated {
    TraceContext,
    Baggage,
}

impl Settings {
    /// As by default, to a collector at `endpoint`.
    pub fn to(endpoint: impl Into<String>) -> Settings {
        Settings {
            endpoint: endpoint.into(),
            timeout: Duration::from_secs(10),
            queue: 2048,
            batch: None,
            propagators: vec![Propagated::TraceContext, Propagated::Baggage],
            names_service: false,
        }
    }

    pub(super) fn batch(&self) -> usize {
        self.batch.unwrap_or((self.queue / 4).clamp(1, 512))
    }

    pub(super) fn propagator(&self) -> TextMapCompositePropagator {
        let each = |propagated: &Propagated| -> Box<dyn TextMapPropagator + Send + Sync> {
            match propagated {
                Propagated::TraceContext => Box::new(TraceContextPropagator::new()),
                Propagated::Baggage => Box::new(BaggagePropagator::new()),
            }
        };
        TextMapCompositePropagator::new(self.propagators.iter().map(each).collect())
    }
}

/// Numbers that the SDK reads.
const NUMBERS: [&str; 4] = [
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
];

/// What the environment asks of metrics and logs that there is not, by name.
pub(super) fn ignored(variable: impl Fn(&str) -> Option<String>) -> Vec<&'static str> {
    absent::ignored(|name| variable(name).filter(|value| !value.trim().is_empty()))
}

/// What the variables ask for: `None` is no traces. `Err` is what they ask for that there is not.
pub(super) fn asked(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Settings>, String> {
    // The specification: an empty variable is one that is not set.
    let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    match variable("OTEL_TRACES_EXPORTER").as_deref().map(str::trim) {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => return Err(format!("OTEL_TRACES_EXPORTER: {other:?} is neither otlp nor none")),
    }
    let base = || {
        let base = variable("OTEL_EXPORTER_OTLP_ENDPOINT")?;
        Some(format!("{}/v1/traces", base.trim().trim_end_matches('/')))
    };
    let Some(endpoint) = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(base) else {
        return Ok(None);
    };
    if let Some(absent) = absent::asked(variable) {
        return Err(absent);
    }
    // What is said for traces alone comes first.
    let of_exporter = |what: &str| {
        let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
        names.into_iter().find_map(|name| variable(&name).map(|value| (name, value)))
    };
    for (what, only) in [("PROTOCOL", "http/protobuf"), ("COMPRESSION", "none")] {
        if let Some((name, value)) = of_exporter(what).filter(|(_, value)| value.trim() != only) {
            return Err(format!("{name}: {:?} is not there, only {only}", value.trim()));
        }
    }
    if let Some((name, value)) = of_exporter("HEADERS") {
        // Not what is wrong: it may be a secret.
        are_headers(&value).then_some(()).ok_or_else(|| format!("{name}: is not NAME=VALUE,NAME=VALUE"))?;
    }
    sampler(variable("OTEL_TRACES_SAMPLER"), variable("OTEL_TRACES_SAMPLER_ARG"))?;
    for name in NUMBERS {
        if let Some(value) = variable(name).filter(|value| value.parse::<u32>().is_err()) {
            return Err(format!("{name}: {value:?} is not a number"));
        }
    }
    let mut settings = Settings::to(endpoint.trim());
    if let Some((name, value)) = of_exporter("TIMEOUT") {
        settings.timeout = milliseconds(&name, &value)?;
    }
    // Of a batch that is one request it bounds the same. The SDK's processor reads it and does nothing with it.
    if let Some(value) = variable("OTEL_BSP_EXPORT_TIMEOUT") {
        settings.timeout = settings.timeout.min(milliseconds("OTEL_BSP_EXPORT_TIMEOUT", &value)?);
    }
    if let Some(value) = variable("OTEL_BSP_MAX_QUEUE_SIZE") {
        let queue = value.trim().parse().ok().filter(|queue| *queue > 0);
        settings.queue =
            queue.ok_or_else(|| format!("OTEL_BSP_MAX_QUEUE_SIZE: {value:?} is not a number"))?;
    }
    if let Some(value) = variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") {
        let batch: Option<usize> = value.trim().parse().ok().filter(|batch| *batch > 0);
        let batch =
            batch.ok_or_else(|| format!("OTEL_BSP_MAX_EXPORT_BATCH_SIZE: {value:?} is not a number"))?;
        settings.batch = Some(batch.min(settings.queue));
    }
    if let Some(value) = variable("OTEL_PROPAGATORS") {
        settings.propagators = propagators(&value)?;
    }
    let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    settings.names_service = variable("OTEL_SERVICE_NAME").is_some()
        || attributes.split(',').any(|pair| pair.trim_start().starts_with("service.name="));
    Ok(Some(settings))
}

fn milliseconds(name: &str, value: &str) -> Result<Duration, String> {
    let millis = value.trim().parse().ok().filter(|millis| *millis > 0);
    let millis = millis.ok_or_else(|| format!("{name}: {value:?} is not in milliseconds"))?;
    Ok(Duration::from_millis(millis))
}

/// As the SDK takes them: a pair that is none it leaves out.
fn are_headers(value: &str) -> bool {
    value.split(',').filter(|pair| !pair.trim().is_empty()).all(|pair| {
        pair.split_once('=').is_some_and(|(name, value)| {
            let value = value.trim();
            HeaderName::from_str(name.trim()).is_ok()
                && !value.is_empty()
                && HeaderValue::from_str(value).is_ok()
        })
    })
}

/// To the letter, as the SDK does.
fn sampler(name: Option<String>, argument: Option<String>) -> Result<(), String> {
    match name.as_deref() {
        None | Some("always_on" | "always_off" | "parentbased_always_on" | "parentbased_always_off") => {
            Ok(())
        }
        Some("traceidratio" | "parentbased_traceidratio") => match argument {
            Some(ratio) if !ratio.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio)) => {
                Err(format!("OTEL_TRACES_SAMPLER_ARG: {ratio:?} is not a number from 0 to 1"))
            }
            _ => Ok(()),
        },
        Some(other) => Err(format!("OTEL_TRACES_SAMPLER: {other:?} is not there")),
    }
}

fn propagators(value: &str) -> Result<Vec<Propagated>, String> {
    let mut propagators = Vec::new();
    for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name {
            "tracecontext" => propagators.push(Propagated::TraceContext),
            "baggage" => propagators.push(Propagated::Baggage),
            "none" => return Ok(Vec::new()),
            other => return Err(format!("OTEL_PROPAGATORS: {other:?} is not there")),
        }
    }
    propagators.dedup();
    Ok(propagators)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    fn with(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        asked(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn traces_are_off_unless_a_collector_is_named_and_nothing_switches_them_off() {
        assert_eq!(with(&[]), Ok(None));
        assert_eq!(with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
        assert_eq!(with(&[COLLECTOR, ("OTEL_SDK_DISABLED", "True")]), Ok(None));
        assert_eq!(with(&[COLLECTOR, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let on = Settings::to("http://127.0.0.1:4318/v1/traces");
        assert_eq!(with(&[COLLECTOR]), Ok(Some(on.clone())));
        assert_eq!(with(&[COLLECTOR, ("OTEL_SDK_DISABLED", "false")]), Ok(Some(on.clone())));
        assert_eq!(with(&[COLLECTOR, ("OTEL_TRACES_EXPORTER", "otlp")]), Ok(Some(on)));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/here");
        assert_eq!(with(&[COLLECTOR, own]), Ok(Some(Settings::to("http://traces:4318/here"))));
    }

    #[test]
    fn what_there_is_not_is_said_and_not_replaced() {
        for (name, value) in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_PROPAGATORS", "tracecontext,b3"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "10s"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,=c"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=b,a b=c"),
            ("OTEL_TRACES_SAMPLER", "nonsense"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER", " always_off"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "oops"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
        ]
        .into_iter()
        .chain(NUMBERS.map(|name| (name, "5s")))
        {
            assert!(with(&[COLLECTOR, (name, value)]).unwrap_err().starts_with(name), "{name}={value}");
        }
        for ratio in ["half", "1.5", "NaN"] {
            let sampler =
                [COLLECTOR, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
            assert!(with(&sampler).unwrap_err().starts_with("OTEL_TRACES_SAMPLER_ARG"), "{ratio}");
        }
        let secret = with(&[COLLECTOR, ("OTEL_EXPORTER_OTLP_HEADERS", "authorization:secret")]);
        assert!(!secret.unwrap_err().contains("secret"));
    }

    /// By the specification's tables of variables.
    #[test]
    fn what_the_specification_has_of_traces_and_nobody_honours_is_refused_by_name() {
        for name in [
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
            "OTEL_CONFIG_FILE",
            "OTEL_EXPERIMENTAL_CONFIG_FILE",
        ] {
            assert_eq!(with(&[COLLECTOR, (name, "1")]), Err(format!("{name} is not there")));
            assert_eq!(with(&[COLLECTOR, (name, "")]), with(&[COLLECTOR]), "{name} is as good as not set");
        }
    }

    #[test]
    fn what_is_about_metrics_and_logs_is_named_and_no_reason_to_be_without_traces() {
        for (name, value) in [
            ("OTEL_LOG_LEVEL", "info"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://collector:4318/v1/metrics"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://collector:4318/v1/logs"),
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_METRICS_EXPORTER", "prometheus, console"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
        ] {
            assert_eq!(with(&[COLLECTOR, (name, value)]), with(&[COLLECTOR]), "{name}={value}");
            let variable = |asked: &str| (asked == name).then(|| value.to_owned());
            assert_eq!(ignored(variable), [name], "{value}");
        }
        let nothing = |name: &str| match name {
            "OTEL_METRICS_EXPORTER" => Some("prometheus".to_owned()),
            "OTEL_LOGS_EXPORTER" => Some("none".to_owned()),
            _ => None,
        };
        assert_eq!(ignored(nothing), [""; 0]);
    }

    #[test]
    fn what_is_left_to_the_sdk_or_happens_anyway_changes_nothing() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc, x-tenant=a=b,"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER", ""),
            ("OTEL_TRACES_SAMPLER_ARG", "of no sampler"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "7"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ] {
            assert_eq!(with(&[COLLECTOR, (name, value)]), with(&[COLLECTOR]), "{name}={value}");
        }
        let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")];
        assert_eq!(with(&[&[COLLECTOR][..], &ratio].concat()), with(&[COLLECTOR]));
        // As of the protocol: what is said for traces alone is what counts.
        let own = ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none");
        assert_eq!(with(&[COLLECTOR, ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"), own]), with(&[COLLECTOR]));
    }

    #[test]
    fn the_rest_is_taken_over() {
        let settings = with(&[
            COLLECTOR,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
            ("OTEL_PROPAGATORS", "baggage"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test, service.name=x"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!((settings.timeout, settings.queue), (Duration::from_millis(250), 64));
        assert_eq!(settings.batch(), 16);
        let batch = with(&[COLLECTOR, ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1024")]).unwrap().unwrap();
        assert_eq!(batch.batch(), 1024);
        for (shorter, timeout) in [("100", 100), ("30000", 10_000)] {
            let settings = with(&[COLLECTOR, ("OTEL_BSP_EXPORT_TIMEOUT", shorter)]).unwrap().unwrap();
            assert_eq!(settings.timeout, Duration::from_millis(timeout), "{shorter}");
        }
        assert_eq!(settings.propagators, [Propagated::Baggage]);
        assert!(settings.names_service);
        let none = with(&[COLLECTOR, ("OTEL_PROPAGATORS", "none")]).unwrap().unwrap();
        assert_eq!((none.propagators, none.names_service), (Vec::new(), false));
    }
}
