//! What is known about a call besides its message: who calls, for whom, until when, under which id.

use std::sync::Arc;
use std::time::Duration;

use tonic::Request;
use tonic::metadata::MetadataMap;

/// The metadata key of a request's id.
pub const REQUEST_ID: &str = "x-request-id";
/// The metadata key of the principal that acts, in administration.
pub const ACTOR: &str = "latchkey-actor";
/// The metadata key of the W3C trace context.
pub const TRACEPARENT: &str = "traceparent";

/// The metadata key, in answers to health checks, of a process that keeps its state in its own memory: which life of it
/// this is.
pub(crate) const INCARNATION: &str = "latchkey-incarnation";

/// What a server knows of each call besides its message: in the extensions of its request, as one, since each that is put there
/// is allocated and hashed.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// The calling process, by the name in its certificate (`gateway`), or `mesh` behind a mesh.
    pub(super) caller: Arc<str>,
    /// The id of the request that the call belongs to; the server makes one when the caller sent none.
    pub(super) request_id: Arc<str>,
    /// Until when the caller waits for an answer.
    pub(super) deadline: tokio::time::Instant,
}

impl Known {
    fn of<T>(request: &Request<T>) -> Option<&Known> {
        request.extensions().get()
    }
}

/// The calling process; empty outside [`super::server::Server`].
pub fn caller<T>(request: &Request<T>) -> &str {
    Known::of(request).map_or("", |known| &*known.caller)
}

/// The request's id; empty outside [`super::server::Server`].
pub fn request_id<T>(request: &Request<T>) -> &str {
    Known::of(request).map_or("", |known| &*known.request_id)
}

/// What is left of the time that the caller waits, nothing once that has passed. `None` outside [`super::server::Server`].
pub(super) fn remaining<T>(request: &Request<T>) -> Option<Duration> {
    let left = |known: &Known| known.deadline.saturating_duration_since(tokio::time::Instant::now());
    Known::of(request).map(left)
}

/// The principal that acts, when the caller named one.
pub fn actor<T>(request: &Request<T>) -> Option<&str> {
    text(request.metadata(), ACTOR)
}

/// The W3C trace context, when the caller sent one.
pub fn traceparent<T>(request: &Request<T>) -> Option<&str> {
    text(request.metadata(), TRACEPARENT)
}

fn text<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata.get(key).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

/// Whether a caller's request id may go into logs and answers: short, and of plain characters.
pub(super) fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

/// The value of a `grpc-timeout` header: up to eight digits and a unit.
pub(super) fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// What is left, as a `grpc-timeout` header: in the finest unit that eight digits allow.
pub(super) fn format_timeout(left: Duration) -> String {
    const DIGITS: u128 = 99_999_999;
    match (left.as_micros(), left.as_millis()) {
        (micros, _) if micros <= DIGITS => format!("{micros}u"),
        (_, millis) if millis <= DIGITS => format!("{millis}m"),
        _ => format!("{}S", u128::from(left.as_secs()).min(DIGITS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("7u"), Some(Duration::from_micros(7)));
        for wrong in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5é"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_left_is_written_as_it_is_read() {
        for (left, text) in [
            (Duration::from_micros(250), "250u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
        ] {
            assert_eq!(format_timeout(left), text);
            assert_eq!(parse_timeout(text), Some(left));
        }
        assert_eq!(format_timeout(Duration::MAX), "99999999S");
    }

    #[test]
    fn a_request_id_is_short_and_plain() {
        assert!(is_request_id("req_01abc-DEF.2:3"));
        for wrong in ["", "a b", "a\n", "\"", &"x".repeat(129)] {
            assert!(!is_request_id(wrong), "{wrong:?}");
        }
    }
}
