//! `AttributeService`: an application's own data on a session.

use std::sync::Arc;

use proto::session::v1 as wire;
use proto::session::v1::attribute_service_server::AttributeService;
use tonic::{Request, Response, Status};

use super::status;
use crate::domain::{self, SessionId};
use crate::flows::Sessions;
use crate::store::AttributesSet;

/// Answers applications.
pub struct Attributes(pub Arc<Sessions>);

#[tonic::async_trait]
impl AttributeService for Attributes {
    async fn set_attributes(
        &self,
        request: Request<wire::SetAttributesRequest>,
    ) -> Result<Response<wire::SetAttributesResponse>, Status> {
        let wire::SetAttributesRequest { id, expected_version, attributes } = request.into_inner();
        let attributes =
            domain::Attributes::new(attributes.into_iter().collect()).map_err(status::attributes_refused)?;
        let id = SessionId::parse(&id).ok_or_else(status::session_not_found)?;
        let set = self.0.set_attributes(&id, expected_version, &attributes).await;
        match set.map_err(|error| status::of_store(&error))? {
            AttributesSet::Done { version } => Ok(Response::new(wire::SetAttributesResponse { version })),
            AttributesSet::VersionMismatch { current } => Err(status::version_mismatch(current)),
            AttributesSet::NotFound => Err(status::session_not_found()),
        }
    }
}
