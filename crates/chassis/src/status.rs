//! Refusals and failures as gRPC statuses, and back.
//!
//! Every refusal carries a `google.rpc.ErrorInfo` whose reason is a stable word of the contract; messages are for
//! people and may change.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every reason of ours.
pub const DOMAIN: &str = "latchkey";

/// A refusal with its stable reason.
pub fn refusal(code: Code, reason: &str, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, details(reason))
}

/// A refusal that may be worth repeating after `retry_after`.
pub fn with_retry(code: Code, reason: &str, message: impl Into<String>, retry_after: Duration) -> Status {
    let mut details = details(reason);
    details.set_retry_info(Some(retry_after));
    Status::with_error_details(code, message, details)
}

/// INVALID_ARGUMENT that names the field of the request.
pub fn invalid(field: &str, reason: &str, message: impl Into<String>) -> Status {
    let message = message.into();
    let mut details = details(reason);
    details.add_bad_request_violation(field, message.clone());
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// UNAVAILABLE. The caller learns `message`; what it came from goes to the log, here and once.
pub fn unavailable(message: impl Into<String>, source: &(dyn std::error::Error + 'static)) -> Status {
    let message = message.into();
    tracing::warn!(error = %chain(source), "{message}");
    let mut details = details("UNAVAILABLE");
    details.set_retry_info(Some(Duration::from_secs(1)));
    Status::with_error_details(Code::Unavailable, message, details)
}

/// INTERNAL, for what should be impossible (a corrupt row). The caller learns nothing; the log learns `source`.
pub fn internal(what: &str, source: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(error = %chain(source), "{what}");
    Status::with_error_details(Code::Internal, "internal error", details("INTERNAL"))
}

/// The stable reason, when the status is one of ours.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason)
}

/// When to try again, when the status says so.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

/// An error and its sources, in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        // Many errors repeat their source in their own words.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = source.source();
    }
    line
}

fn details(reason: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, DOMAIN, std::collections::HashMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_carries_its_reason_and_when_to_retry() {
        let status = with_retry(Code::ResourceExhausted, "TOO_BUSY", "later", Duration::from_secs(3));
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(reason(&status).as_deref(), Some("TOO_BUSY"));
        assert_eq!(retry_after(&status), Some(Duration::from_secs(3)));

        let status = refusal(Code::NotFound, "USER_UNKNOWN", "no such user");
        assert_eq!(reason(&status).as_deref(), Some("USER_UNKNOWN"));
        assert_eq!(retry_after(&status), None);
    }

    #[test]
    fn an_invalid_field_is_named() {
        let status = invalid("name", "NAME_INVALID", "too long");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.first().unwrap().field, "name");
        assert_eq!(reason(&status).as_deref(), Some("NAME_INVALID"));
    }

    #[test]
    fn only_our_own_reasons_count() {
        let mut details = ErrorDetails::new();
        details.set_error_info("USER_UNKNOWN", "elsewhere.example", std::collections::HashMap::new());
        let status = Status::with_error_details(Code::NotFound, "", details);
        assert_eq!(reason(&status), None);
        assert_eq!(reason(&Status::not_found("")), None);
    }

    #[test]
    fn what_it_came_from_stays_out_of_an_unavailable_status() {
        let source = std::io::Error::other("disk /secret/path");
        let status = unavailable("the store cannot be reached", &source);
        assert_eq!(status.code(), Code::Unavailable);
        assert!(!format!("{status:?}").contains("/secret/path"), "{status:?}");
        assert!(retry_after(&status).is_some());
    }
}
