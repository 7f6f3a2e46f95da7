//! Answers questions, one or a batch, all at one revision.

use super::{ReadError, not_before};
use crate::domain::{At, Decision, Question, Revision, decide};
use crate::store::Store;

/// Decides every question, in order, from one snapshot that is not older than `at_least`.
pub async fn check(
    store: &dyn Store,
    questions: &[Question],
    at_least: Revision,
) -> Result<At<Vec<Decision>>, ReadError> {
    let held = not_before(at_least, store.holdings_for(questions).await?)?;
    let decisions = questions
        .iter()
        .zip(&held.value)
        .map(|(question, held)| decide(held, &question.permission, question.resource.as_ref()))
        .collect();
    Ok(At { value: decisions, revision: held.revision })
}
