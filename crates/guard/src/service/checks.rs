//! What somebody may do, as a service asks it. The guard knows no transport.

use async_trait::async_trait;

use crate::PrincipalKind;

/// Who decides.
#[async_trait]
pub trait Checks: Send + Sync + 'static {
    async fn check(&self, question: Question<'_>) -> Result<bool, CheckFailed>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    pub kind: PrincipalKind,
    /// `usr_…` or `cli_…`.
    pub id: &'a str,
    /// `kind:action`, no wildcard.
    pub permission: &'a str,
    /// Kind and id. `None`: only what is held everywhere counts.
    pub resource: Option<(&'a str, &'a str)>,
}

/// There is no answer: neither that it is allowed nor that it is not.
#[derive(Debug, thiserror::Error)]
pub enum CheckFailed {
    /// 503, and the same question may be answered in a moment.
    #[error("nobody can say whether it is allowed: {0}")]
    Unavailable(String),
    /// The question makes no sense: a mistake in this service.
    #[error("the check is not one that can be answered: {0}")]
    Invalid(String),
}
