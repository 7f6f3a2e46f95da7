//! The metrics of one life, made through OpenTelemetry and read as Prometheus text.

use std::sync::Arc;

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder as _, Registry, TextEncoder};

/// The metrics of one process. Clones are the same metrics.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    provider: SdkMeterProvider,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build();
        let builder = SdkMeterProvider::builder();
        let provider = match exporter {
            Ok(exporter) => builder.with_reader(exporter).build(),
            // Only a registry that holds such an exporter already refuses one, and this one is new.
            Err(error) => {
                tracing::error!(%error, "there will be no metrics");
                builder.build()
            }
        };
        Metrics { inner: Arc::new(Inner { registry, provider }) }
    }

    /// Where instruments are made. Names are `latchkey_<service>_<noun>`: `_total` is added to counters, and the unit
    /// (`s`, `By`) as `_seconds` or `_bytes`, by the exporter. Hot paths count with atomics of their own, read by an
    /// observable counter.
    pub fn meter(&self) -> Meter {
        self.inner.provider.meter("latchkey")
    }

    /// Every metric as Prometheus text.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.inner.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                String::new()
            }
        }
    }
}
