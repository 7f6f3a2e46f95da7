//! Says what a principal holds: for the roles in a token, and for `/v1/me`.

use super::{ReadError, not_before};
use crate::domain::{At, Principal, Revision, SubjectRoles};
use crate::store::Store;

/// The principal's roles, permissions and scoped grants, from one snapshot that is not older than `at_least`.
pub async fn subject_roles(
    store: &dyn Store,
    principal: &Principal,
    at_least: Revision,
) -> Result<At<SubjectRoles>, ReadError> {
    let At { value, revision } = not_before(at_least, store.holdings_of(principal).await?)?;
    Ok(At { value: SubjectRoles::of(value), revision })
}
