//! policy-service over gRPC.

use std::time::Duration;

use async_trait::async_trait;
use chassis::grpc::client::{Call, Channel};
use proto::policy::v1::{
    self as wire, GetSubjectRolesRequest, SubjectKind, policy_read_service_client::PolicyReadServiceClient,
};

use super::{PeerCall, Policy, PolicyUnavailable, Subject};
use crate::domain::claims::SubjectRoles;

/// The longest that issuing waits for roles, whatever the caller's deadline.
const LONGEST: Duration = Duration::from_secs(2);

/// policy-service behind a channel.
pub struct GrpcPolicy {
    client: PolicyReadServiceClient<Channel>,
}

impl GrpcPolicy {
    pub fn new(channel: Channel) -> Self {
        Self { client: PolicyReadServiceClient::new(channel) }
    }
}

#[async_trait]
impl Policy for GrpcPolicy {
    async fn roles_of(
        &self,
        subject: Subject<'_>,
        call: &PeerCall,
    ) -> Result<SubjectRoles, PolicyUnavailable> {
        let (kind, id) = match subject {
            Subject::User(id) => (SubjectKind::User, id.to_string()),
            Subject::Client(id) => (SubjectKind::Client, id.to_string()),
        };
        let message =
            GetSubjectRolesRequest { subject: Some(wire::Subject { kind: kind.into(), id }), at_least: 0 };
        let PeerCall { request_id, timeout, traceparent } = call.clone();
        let call = Call { request_id, actor: None, timeout: timeout.min(LONGEST), traceparent };
        // Any status is "cannot be asked": an answer about roles has no refusals that a caller could be told.
        let answer = self.client.clone().get_subject_roles(call.request(message)).await;
        let answer = answer.map_err(|status| PolicyUnavailable(Box::new(status)))?.into_inner();
        Ok(SubjectRoles { roles: answer.roles, revision: answer.revision })
    }
}
