//! From the rows that the databases answer to what principals hold.

use super::{StoreError, row};
use crate::domain::{At, Grant, Holdings, PermissionPattern, Question};

/// A revision alone, or a grant and a pattern for which it bears on a question.
#[derive(sqlx::FromRow)]
pub(super) struct HeldRow {
    revision: Option<i64>,
    question: Option<i64>,
    id: Option<String>,
    subject_kind: Option<String>,
    subject_id: Option<String>,
    role: Option<String>,
    within_kind: Option<String>,
    within_id: Option<String>,
    pattern: Option<String>,
}

/// A question as the statements take it.
pub(super) fn parts<'a>(question: &'a Question, whole_kind: &'a PermissionPattern) -> [&'a str; 6] {
    let (within_kind, within_id) = row::place(question.resource.as_ref());
    let principal = &question.principal;
    let (permission, whole_kind) = (question.permission.as_str(), whole_kind.as_str());
    [row::principal_kind(principal), principal.id(), within_kind, within_id, permission, whole_kind]
}

impl HeldRow {
    fn held(self) -> Option<(i64, row::GrantRow, String)> {
        let grant = row::GrantRow {
            id: self.id?,
            subject_kind: self.subject_kind?,
            subject_id: self.subject_id?,
            role: self.role?,
            within_kind: self.within_kind?,
            within_id: self.within_id?,
        };
        Some((self.question?, grant, self.pattern?))
    }
}

/// What each of `questions` finds, by its number.
pub(super) fn answers(rows: Vec<HeldRow>, questions: usize) -> Result<At<Vec<Holdings>>, StoreError> {
    let mut revision = None;
    let mut held = vec![Holdings::default(); questions];
    for row in rows {
        if let Some(number) = row.revision {
            revision = Some(row::revision(number)?);
            continue;
        }
        let (question, grant, pattern) = row.held().ok_or_else(|| row::impossible("grant")("absent"))?;
        let holdings = usize::try_from(question)
            .ok()
            .and_then(|question| held.get_mut(question))
            .ok_or_else(|| row::impossible("question")(question))?;
        let grant = Grant::try_from(grant)?;
        holdings.permissions.entry(grant.role.clone()).or_default().insert(row::pattern(&pattern)?);
        // A role that has both the permission and its whole kind gives the grant twice, one after the other.
        if holdings.grants.last() != Some(&grant) {
            holdings.grants.push(grant);
        }
    }
    let revision = revision.ok_or_else(|| row::impossible("revision")("absent"))?;
    Ok(At { value: held, revision })
}

/// All grants of one principal, their roles without permissions yet.
pub(super) fn grants(rows: Vec<row::GrantRow>) -> Result<Holdings, StoreError> {
    let mut held = Holdings::default();
    for row in rows {
        let grant = Grant::try_from(row)?;
        held.permissions.entry(grant.role.clone()).or_default();
        held.grants.push(grant);
    }
    Ok(held)
}

/// Roles and their patterns.
pub(super) fn permit(held: &mut Holdings, permissions: Vec<(String, String)>) -> Result<(), StoreError> {
    for (role, pattern) in permissions {
        held.permissions.entry(row::role_name(&role)?).or_default().insert(row::pattern(&pattern)?);
    }
    Ok(())
}
