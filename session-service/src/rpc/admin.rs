//! `SessionAdminService`: endings by somebody else than the session's own subject.

use std::sync::Arc;

use chassis::audit::Record;
use proto::session::v1 as wire;
use proto::session::v1::session_admin_service_server::SessionAdminService;
use tonic::{Request, Response, Status};

use super::audit::{self, Origin};
use super::{by_id, status};
use crate::domain::SessionId;
use crate::flows::Sessions;
use crate::store::StoreError;

/// Answers administration.
pub struct Admin(pub Arc<Sessions>);

#[tonic::async_trait]
impl SessionAdminService for Admin {
    async fn end_session_by_id(
        &self,
        request: Request<wire::EndSessionByIdRequest>,
    ) -> Result<Response<wire::EndSessionByIdResponse>, Status> {
        let origin = Origin::administration(&request);
        // What cannot be an id is the id of no session: nothing is left to end.
        let Some(id) = SessionId::parse(&request.get_ref().id) else {
            return Ok(Response::new(wire::EndSessionByIdResponse { ended: false }));
        };
        let ended = self
            .0
            .end_by_id(id.clone())
            .await
            .map_err(|error| failed(&error, origin, |record| record.session(&id)))?;
        match &ended {
            Some(ended) => audit::ended(ended, origin),
            None => origin
                .record(Record::success("session.end").session(&id).detail("nothing was left to end"))
                .emit(),
        }
        Ok(Response::new(wire::EndSessionByIdResponse { ended: ended.is_some() }))
    }

    async fn end_subject_sessions(
        &self,
        request: Request<wire::EndSubjectSessionsRequest>,
    ) -> Result<Response<wire::EndSubjectSessionsResponse>, Status> {
        let origin = Origin::administration(&request);
        let subject = by_id::subject_of(&request.get_ref().subject)?;
        let ended = self
            .0
            .end_subject(subject.clone())
            .await
            .map_err(|error| failed(&error, origin, |record| record.subject(&subject)))?;
        if ended.is_empty() {
            let record = Record::success("session.end").subject(&subject).detail("nothing was left to end");
            origin.record(record).emit();
        }
        for one in &ended {
            audit::ended(one, origin);
        }
        let ended = u32::try_from(ended.len()).unwrap_or(u32::MAX);
        Ok(Response::new(wire::EndSubjectSessionsResponse { ended }))
    }
}

/// Administration that could not be done is told too.
fn failed(error: &StoreError, origin: Origin<'_>, about: impl FnOnce(Record) -> Record) -> Status {
    origin.record(about(Record::failed("session.end", "UNAVAILABLE"))).emit();
    status::of_store(error)
}
