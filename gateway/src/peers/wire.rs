//! From gRPC to the gateway's own types, for the three adapters.
//!
//! The rule for statuses: a reason that is this service's, under a code that refuses, is a refusal. Everything else
//! (unavailable, too late, internal, unknown, a reason from a newer version, no reason at all) says that no
//! answer was had. The rule for messages is the same: an unset field or an unknown enum value is no answer.

use std::time::Duration;

use chassis::grpc::client::Call;
use time::OffsetDateTime;
use tonic::{Code, Request, Response, Status};

use super::{Asker, Failure, Reason, Refused, Unavailable};

/// A password is hashed, after a place in the queue.
pub(super) const LOGIN: Duration = Duration::from_secs(5);
/// Reads and changes that end nothing: a write, and whom it is passed on to.
pub(super) const ADMINISTRATION: Duration = Duration::from_secs(3);
/// Endings: a write, and then every guard has applied it or its lease (5 s, unless configured) has been waited out.
pub(super) const ENDING: Duration = Duration::from_secs(15);

pub(super) fn request<M>(asker: Asker<'_>, timeout: Duration, message: M) -> Request<M> {
    let call = Call::new(asker.request_id, timeout);
    match asker.actor {
        Some(actor) => call.actor(actor).request(message),
        None => call.request(message),
    }
}

/// Waits for an answer, at most `timeout` whatever the channel does.
pub(super) async fn answer<M>(
    peer: &'static str,
    timeout: Duration,
    call: impl Future<Output = Result<Response<M>, Status>>,
) -> Result<M, Failure> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(failure(peer, &status)),
        Err(_) => Err(Unavailable::new(peer, format!("no answer within {timeout:?}")).into()),
    }
}

fn failure(peer: &'static str, status: &Status) -> Failure {
    let retry_after = chassis::status::retry_after(status);
    let refuses = matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
    );
    let reason = chassis::status::reason(status);
    if status.code() == Code::Unavailable && reason.as_deref() == Some("NOT_CONFIRMED") {
        return Failure::NotEverywhere { retry_after };
    }
    let known = reason.as_deref().filter(|_| refuses).and_then(|reason| match Reason::parse(peer, reason) {
        None if status.code() == Code::InvalidArgument => Some(Reason::InvalidArgument),
        known => known,
    });
    match known {
        Some(reason) => Refused { reason, message: status.message().to_owned(), retry_after }.into(),
        None => {
            let reason = reason.unwrap_or_default();
            let because = format!("{:?} {reason} {}", status.code(), status.message());
            Unavailable { peer, because, retry_after }.into()
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// A field that the contract promises.
pub(super) fn set<T>(peer: &'static str, name: &'static str, field: Option<T>) -> Result<T, Unavailable> {
    field.ok_or_else(|| Unavailable::new(peer, format!("the answer lacks {name}")))
}

pub(super) fn moment(
    peer: &'static str,
    name: &'static str,
    field: Option<prost_types::Timestamp>,
) -> Result<OffsetDateTime, Unavailable> {
    let stamp = set(peer, name, field)?;
    let nanoseconds = i128::from(stamp.seconds) * 1_000_000_000 + i128::from(stamp.nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .map_err(|_| Unavailable::new(peer, format!("{name} is not a time")))
}

/// An enum value that this version knows and that is not `UNSPECIFIED`.
pub(super) fn known<W: TryFrom<i32>, T>(
    peer: &'static str,
    name: &'static str,
    value: i32,
    to: impl FnOnce(W) -> Option<T>,
) -> Result<T, Unavailable> {
    W::try_from(value)
        .ok()
        .and_then(to)
        .ok_or_else(|| Unavailable::new(peer, format!("{name} has the unknown value {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEERS: [&str; 3] = ["auth", "session", "policy"];

    fn reason_from(peer: &'static str, status: &Status) -> Option<Reason> {
        match failure(peer, status) {
            Failure::Refused(refused) => Some(refused.reason),
            Failure::Unavailable(_) | Failure::NotEverywhere { .. } => None,
        }
    }

    fn reason_of(status: Status) -> Option<Reason> {
        let all = PEERS.map(|peer| reason_from(peer, &status));
        all.into_iter().flatten().next()
    }

    #[test]
    fn a_services_own_reason_under_a_refusing_code_is_a_refusal() {
        for reason in Reason::NAMED {
            let status = chassis::status::refusal(Code::FailedPrecondition, reason.name(), "no");
            let refused = PEERS.map(|peer| reason_from(peer, &status));
            assert_eq!(refused.iter().flatten().collect::<Vec<_>>(), [reason]);
        }
    }

    #[test]
    fn z01_another_services_reason_is_an_outage() {
        let wrong_password =
            chassis::status::refusal(Code::Unauthenticated, "INVALID_CREDENTIALS", "the password is wrong");
        assert_eq!(reason_from("auth", &wrong_password), Some(Reason::InvalidCredentials));
        assert_eq!(reason_from("policy", &wrong_password), None);
        assert_eq!(reason_from("session", &wrong_password), None);
    }

    #[test]
    fn z01_what_is_not_understood_is_an_outage() {
        use chassis::status::refusal;
        for status in [
            Status::unavailable("down"),
            Status::deadline_exceeded("late"),
            Status::internal("broken"),
            Status::unknown("?"),
            Status::unimplemented("older"),
            Status::cancelled("gone"),
            Status::data_loss("corrupt"),
            // No reason of ours: some proxy between us said so.
            Status::permission_denied("who are you"),
            Status::unauthenticated("who are you"),
            Status::not_found("no such path"),
            Status::invalid_argument("bad protobuf"),
            Status::resource_exhausted("message too large"),
            refusal(Code::PermissionDenied, "CALLER_NOT_LISTED", "gateway may not"),
            refusal(Code::NotFound, "FROM_A_NEWER_VERSION", "?"),
            // A refusal's reason under a code that does not refuse.
            refusal(Code::Unavailable, "SESSION_NOT_FOUND", "down"),
            refusal(Code::Internal, "INVALID_CREDENTIALS", "broken"),
        ] {
            assert_eq!(reason_of(status.clone()), None, "{status:?}");
        }
    }

    #[test]
    fn an_invalid_argument_of_ours_is_a_refusal_whatever_its_reason() {
        let status = chassis::status::invalid("page_size", "PAGE_SIZE_INVALID", "at most 1,000");
        assert_eq!(reason_of(status), Some(Reason::InvalidArgument));
    }

    #[test]
    fn what_is_done_but_not_everywhere_is_neither_a_refusal_nor_an_outage() {
        let of = |code| chassis::status::with_retry(code, "NOT_CONFIRMED", "", Duration::from_secs(2));
        let Failure::NotEverywhere { retry_after } = failure("auth", &of(Code::Unavailable)) else {
            panic!()
        };
        assert_eq!(retry_after, Some(Duration::from_secs(2)));
        assert!(matches!(failure("auth", &of(Code::Internal)), Failure::Unavailable(_)));
    }

    #[test]
    fn when_to_come_back_is_kept() {
        let wait = Duration::from_secs(7);
        let status = chassis::status::with_retry(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS", "", wait);
        let Failure::Refused(refused) = failure("auth", &status) else { panic!("a refusal") };
        assert_eq!(refused.retry_after, Some(wait));
    }

    #[test]
    fn times_and_fields_that_make_no_sense_are_outages() {
        assert!(set::<u8>("auth", "user", None).is_err());
        assert!(moment("auth", "created_at", None).is_err());
        let far = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        assert!(moment("auth", "created_at", Some(far)).is_err());
        let epoch = prost_types::Timestamp { seconds: 0, nanos: 500_000_000 };
        let half = OffsetDateTime::UNIX_EPOCH + Duration::from_millis(500);
        assert_eq!(moment("auth", "created_at", Some(epoch)).unwrap(), half);
    }

    #[test]
    fn z01_unknown_enum_values_are_outages() {
        use proto::policy::v1::Decision;
        let parse = |value| {
            known("policy", "decision", value, |decision| match decision {
                Decision::Unspecified => None,
                Decision::Allow => Some(true),
                Decision::Deny => Some(false),
            })
        };
        assert!(parse(1).unwrap());
        assert!(!parse(2).unwrap());
        assert!(parse(0).is_err());
        assert!(parse(3).is_err());
    }
}
