//! policy-service's checks.

use std::time::Duration;

use async_trait::async_trait;
use chassis::{
    entropy::SharedEntropy,
    grpc::{Call, client::Channel},
};
use proto::policy::v1::{
    CheckRequest, Decision, Resource, Subject, SubjectKind, check_service_client::CheckServiceClient,
};
use tonic::Code;

use super::request_id;
use crate::{CheckFailed, Checks, PrincipalKind, Question};

/// Asks with every question.
pub struct Permissions {
    checks: CheckServiceClient<Channel>,
    entropy: SharedEntropy,
    patience: Duration,
}

impl Permissions {
    pub fn new(policy: Channel, entropy: SharedEntropy, patience: Duration) -> Self {
        Self { checks: CheckServiceClient::new(policy), entropy, patience }
    }
}

#[async_trait]
impl Checks for Permissions {
    async fn check(&self, question: Question<'_>) -> Result<bool, CheckFailed> {
        let call = Call::new(request_id(&self.entropy, "check_"), self.patience);
        let mut checks = self.checks.clone();
        let asked = checks.check(call.request(message(question)));
        let unavailable = |why: String| CheckFailed::Unavailable(why);
        match tokio::time::timeout(self.patience, asked).await {
            Ok(Ok(answer)) => decided(answer.into_inner().decision)
                .ok_or_else(|| unavailable("policy-service answered neither allow nor deny".to_owned())),
            Ok(Err(status)) if status.code() == Code::InvalidArgument => {
                Err(CheckFailed::Invalid(status.message().to_owned()))
            }
            Ok(Err(status)) => Err(unavailable(format!("{:?}: {}", status.code(), status.message()))),
            Err(elapsed) => Err(unavailable(elapsed.to_string())),
        }
    }
}

/// Nobody is configured to ask.
pub(super) struct NotConfigured;

#[async_trait]
impl Checks for NotConfigured {
    async fn check(&self, _: Question<'_>) -> Result<bool, CheckFailed> {
        Err(CheckFailed::Unavailable("the guard's configuration names no `policy`".to_owned()))
    }
}

fn message(Question { kind, id, permission, resource }: Question<'_>) -> CheckRequest {
    let kind = match kind {
        PrincipalKind::User => SubjectKind::User,
        PrincipalKind::Client => SubjectKind::Client,
    };
    CheckRequest {
        subject: Some(Subject { kind: kind.into(), id: id.to_owned() }),
        permission: permission.to_owned(),
        resource: resource.map(|(kind, id)| Resource { kind: kind.to_owned(), id: id.to_owned() }),
        at_least: 0,
    }
}

/// Anything but a plain ALLOW or DENY is no answer.
fn decided(decision: i32) -> Option<bool> {
    match Decision::try_from(decision) {
        Ok(Decision::Allow) => Some(true),
        Ok(Decision::Deny) => Some(false),
        Ok(Decision::Unspecified) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allow_allows_and_the_unknown_is_no_answer() {
        assert_eq!([0, 1, 2, 3].map(decided), [None, Some(true), Some(false), None]);
    }
}
