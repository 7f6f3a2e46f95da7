//! `SessionReadService`: sessions by what everybody may know of them.

use std::sync::Arc;

use chassis::status::invalid;
use proto::session::v1 as wire;
use proto::session::v1::session_read_service_server::SessionReadService;
use tonic::{Request, Response, Status};

use super::{message, status};
use crate::domain::{Cursor, PageSize, SessionId, Subject};
use crate::flows::{ListQuery, Sessions};

/// Answers for those who know a public id or a subject.
pub struct ByPublicId(pub Arc<Sessions>);

#[tonic::async_trait]
impl SessionReadService for ByPublicId {
    async fn get_session(
        &self,
        request: Request<wire::GetSessionRequest>,
    ) -> Result<Response<wire::GetSessionResponse>, Status> {
        // What cannot be an id is the id of no session.
        let id = SessionId::parse(&request.get_ref().id).ok_or_else(status::session_not_found)?;
        let session = self.0.get(&id).await.map_err(|error| status::of_store(&error))?;
        let session = session.ok_or_else(status::session_not_found)?;
        let session = Some(message::to_session(session, self.0.lifetimes()));
        Ok(Response::new(wire::GetSessionResponse { session }))
    }

    async fn list_sessions(
        &self,
        request: Request<wire::ListSessionsRequest>,
    ) -> Result<Response<wire::ListSessionsResponse>, Status> {
        let wire::ListSessionsRequest { subject, page_size, page_token } = request.into_inner();
        let subject = match subject.as_str() {
            "" => None,
            text => Some(subject_of(text)?),
        };
        let size = PageSize::parse(page_size)
            .ok_or_else(|| invalid("page_size", "PAGE_SIZE_INVALID", "must be at most 1000"))?;
        let after = match page_token.as_str() {
            "" => None,
            token => Some(Cursor::parse(token).ok_or_else(|| {
                invalid("page_token", "PAGE_TOKEN_INVALID", "must be the next_page_token of an answer")
            })?),
        };
        let page = self
            .0
            .list(ListQuery { subject, size, after })
            .await
            .map_err(|error| status::of_store(&error))?;
        Ok(Response::new(wire::ListSessionsResponse {
            sessions: page
                .sessions
                .into_iter()
                .map(|session| message::to_session(session, self.0.lifetimes()))
                .collect(),
            next_page_token: page.next.map(|cursor| cursor.to_token()).unwrap_or_default(),
        }))
    }
}

pub(super) fn subject_of(text: &str) -> Result<Subject, Status> {
    Subject::parse(text).ok_or_else(|| {
        invalid("subject", "SUBJECT_INVALID", "must be the id of a user: 1 to 128 printable characters")
    })
}
