//! The bound on spans that wait for the collector, and the count of those that it never sees.
//!
//! The SDK's own queue drops too when it is full, but tells only its log how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

#[derive(Debug, Default)]
pub(super) struct Tally {
    waiting: AtomicUsize,
    overflowed: AtomicU64,
    failed: AtomicU64,
    /// Whether the collector took the last batch, so that only changes are logged.
    is_refusing: AtomicBool,
}

impl Tally {
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Lets through what there is room for.
#[derive(Debug)]
pub(super) struct Bounded {
    inner: BatchSpanProcessor,
    room: usize,
    tally: Arc<Tally>,
}

impl Bounded {
    pub(super) fn new(inner: BatchSpanProcessor, room: usize, tally: Arc<Tally>) -> Bounded {
        Bounded { inner, room, tally }
    }
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.tally.waiting.fetch_add(1, Ordering::Relaxed) < self.room {
            self.inner.on_end(span);
        } else {
            self.tally.waiting.fetch_sub(1, Ordering::Relaxed);
            self.tally.overflowed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// An exporter whose failures are counted, and logged when they begin and end.
#[derive(Debug)]
pub(super) struct Counted<E> {
    inner: E,
    tally: Arc<Tally>,
}

impl<E> Counted<E> {
    pub(super) fn new(inner: E, tally: Arc<Tally>) -> Counted<E> {
        Counted { inner, tally }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.tally.waiting.fetch_sub(count, Ordering::Relaxed);
        let result = self.inner.export(batch).await;
        if result.is_err() {
            self.tally.failed.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        let was_refusing = self.tally.is_refusing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_refusing => {
                tracing::warn!(%error, "the collector does not take spans: they are dropped")
            }
            Ok(()) if was_refusing => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
