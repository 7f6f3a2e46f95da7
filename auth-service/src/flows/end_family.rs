//! Logging out of a login by token: its refresh family ends.

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
};
use crate::{
    domain::id::{FamilyId, UserId},
    store::FamilyEnd,
};

/// Idempotent. Another subject's family is left alone.
pub async fn end_family(auth: &Auth, origin: &Origin, family: &str, subject: &str) -> Result<(), Failure> {
    // What is no id is no family of anybody's: ended is what it is.
    let Some((family, subject)) = FamilyId::parse(family).zip(UserId::parse(subject)) else { return Ok(()) };
    let mut line = Line::begin(origin, "logout");
    line.subject(&subject);
    line.detail(format!("family={family}"));
    let ending = auth.ending();
    let ended = auth.store.end_family(&family, Some(&subject), FamilyEnd::Logout, ending).await;
    let ended = ended.map_err(Failure::from);
    match &ended {
        Ok(true) => line.close(Ending::Success),
        // The second time, or not his.
        Ok(false) => line.withdraw(),
        Err(failure) => line.close(failure.ending()),
    }
    ended?;
    auth.hold_everywhere().await
}
