//! What policy-service does, one use case a file: over the store's trait and the domain, without a wire or a driver.

use crate::domain::{At, Revision};
use crate::store::StoreError;

pub mod add_group_member;
pub mod check;
pub mod create_grant;
pub mod create_group;
pub mod delete_grant;
pub mod delete_group;
pub mod delete_role;
pub mod forget_subject;
pub mod get_role;
pub mod list;
pub mod put_role;
pub mod remove_group_member;
pub mod subject_roles;

/// Why a read that names its revision has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The caller knows a later revision than this store has.
    #[error("revision {asked} has not been reached: this is revision {current}")]
    RevisionNotReached { asked: Revision, current: Revision },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Holds back an answer older than what the caller has seen. It reads this store's one file, so a later revision can only
/// come from another database or from a backup's future: answering would be answering about something else.
fn not_before<T>(asked: Revision, answer: At<T>) -> Result<At<T>, ReadError> {
    if asked > answer.revision {
        return Err(ReadError::RevisionNotReached { asked, current: answer.revision });
    }
    Ok(answer)
}
