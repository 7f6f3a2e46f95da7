//! The one place where outcomes and failures become statuses. A store that cannot be asked is UNAVAILABLE and never
//! "not found": that would log somebody out.

use chassis::status::{refusal, unavailable};
use tonic::{Code, Status};

use crate::domain::AttributesRefused;
use crate::flows::CreateError;
use crate::store::StoreError;

pub(super) const PROOF_INVALID: &str = "PROOF_INVALID";
pub(super) const SESSION_LIMIT: &str = "SESSION_LIMIT";

pub(super) fn of_store(error: &StoreError) -> Status {
    if let StoreError::Corrupt(_) = error {
        // Asking again will not help; somebody has to look.
        tracing::error!(error = %chassis::status::chain(error), "the session store is damaged");
    }
    unavailable("the session store cannot be asked", error)
}

pub(super) fn of_create(error: &CreateError) -> Status {
    match error {
        CreateError::Store(error) => of_store(error),
        CreateError::Keys(error) => unavailable("the login proof cannot be verified now", error),
    }
}

pub(super) fn session_not_found() -> Status {
    refusal(Code::NotFound, "SESSION_NOT_FOUND", "no such session: unknown, expired or ended")
}

pub(super) fn proof_invalid() -> Status {
    refusal(Code::Unauthenticated, PROOF_INVALID, "the login proof is not believed")
}

pub(super) fn session_limit() -> Status {
    refusal(Code::ResourceExhausted, SESSION_LIMIT, "the user has as many sessions as it may")
}

pub(super) fn version_mismatch(current: u64) -> Status {
    refusal(Code::Aborted, "VERSION_MISMATCH", format!("the attributes have version {current}"))
}

pub(super) fn attributes_refused(refused: AttributesRefused) -> Status {
    let reason = match refused {
        AttributesRefused::TooLarge => "ATTRIBUTES_TOO_LARGE",
        AttributesRefused::NameEmpty => "ATTRIBUTE_NAME_INVALID",
    };
    chassis::status::invalid("attributes", reason, refused.to_string())
}
