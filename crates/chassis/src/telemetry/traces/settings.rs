//! What the environment says about traces, in the words of the OpenTelemetry specification. Those that the SDK does
//! not read itself are read here: whether it is on at all, the exporter, the propagators.

use std::time::Duration;

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
            propagators: vec![Propagated::TraceContext, Propagated::Baggage],
            names_service: false,
        }
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
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        match variable(name).as_deref().map(str::trim) {
            None => {}
            Some("http/protobuf") => break,
            Some(other) => return Err(format!("{name}: {other:?} is not there, only http/protobuf")),
        }
    }
    let mut settings = Settings::to(endpoint.trim());
    let names = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    if let Some((name, value)) = names.iter().find_map(|name| Some((name, variable(name)?))) {
        let millis = value.trim().parse().map_err(|_| format!("{name}: {value:?} is not in milliseconds"))?;
        settings.timeout = Duration::from_millis(millis);
    }
    if let Some(value) = variable("OTEL_BSP_MAX_QUEUE_SIZE") {
        let queue = value.trim().parse().ok().filter(|queue| *queue > 0);
        settings.queue =
            queue.ok_or_else(|| format!("OTEL_BSP_MAX_QUEUE_SIZE: {value:?} is not a number"))?;
    }
    if let Some(value) = variable("OTEL_PROPAGATORS") {
        settings.propagators = propagators(&value)?;
    }
    let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    settings.names_service = variable("OTEL_SERVICE_NAME").is_some()
        || attributes.split(',').any(|pair| pair.trim_start().starts_with("service.name="));
    Ok(Some(settings))
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
        ] {
            assert!(with(&[COLLECTOR, (name, value)]).unwrap_err().starts_with(name), "{name}={value}");
        }
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
        assert_eq!(settings.propagators, [Propagated::Baggage]);
        assert!(settings.names_service);
        let none = with(&[COLLECTOR, ("OTEL_PROPAGATORS", "none")]).unwrap().unwrap();
        assert_eq!((none.propagators, none.names_service), (Vec::new(), false));
    }
}
