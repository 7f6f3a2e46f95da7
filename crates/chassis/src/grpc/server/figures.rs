//! How often a method was called, with what outcome, and how long its answers took.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, Counter, Histogram, Meter};
use tonic::Code;

/// What all methods of a server are counted in.
#[derive(Clone)]
pub(super) struct Instruments {
    calls: Counter<u64>,
    durations: Histogram<f64>,
}

/// A method's share of them. Its series are looked up once: that costs more than counting, and there is a count for each call.
/// What was never called has none.
pub(super) struct Figures {
    method: &'static str,
    instruments: Instruments,
    durations: OnceLock<BoundHistogram<f64>>,
    calls: [OnceLock<BoundCounter<u64>>; CODES],
}

/// Codes are numbered from 0.
const CODES: usize = Code::Unauthenticated as usize + 1;

impl Instruments {
    pub(super) fn new(meter: &Meter, server: &str) -> Instruments {
        Instruments {
            calls: meter
                .u64_counter(format!("latchkey_{server}_rpcs"))
                .with_description("Calls answered, by method and gRPC code.")
                .build(),
            durations: meter
                .f64_histogram(format!("latchkey_{server}_rpc_duration"))
                .with_unit("s")
                .with_boundaries(vec![
                    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
                ])
                .with_description("Time to the answer's head.")
                .build(),
        }
    }

    pub(super) fn of(&self, method: &'static str) -> Figures {
        let calls = std::array::from_fn(|_| OnceLock::new());
        Figures { method, instruments: self.clone(), durations: OnceLock::new(), calls }
    }
}

impl Figures {
    pub(super) fn record(&self, code: Code, took: Duration) {
        let method = || KeyValue::new("method", self.method);
        self.durations
            .get_or_init(|| self.instruments.durations.bind(&[method()]))
            .record(took.as_secs_f64());
        if let Some(calls) = self.calls.get(code as usize) {
            calls
                .get_or_init(|| {
                    self.instruments.calls.bind(&[method(), KeyValue::new("code", code_word(code))])
                })
                .add(1);
        }
    }
}

/// The code's name in the specification, as a label.
fn code_word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
