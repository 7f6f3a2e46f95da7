//! session-service over gRPC.

use std::time::Duration;

use async_trait::async_trait;
use chassis::grpc::client::Channel;
use proto::session::v1 as rpc;
use rpc::session_admin_service_client::SessionAdminServiceClient;
use rpc::session_read_service_client::SessionReadServiceClient;
use rpc::session_service_client::SessionServiceClient;

use super::wire::{self, ADMINISTRATION, answer, request};
use super::{
    Asker, Concealed, Failure, NewSession, Page, PageRequest, Reason, Session, SessionLookup, Sessions,
    Unavailable,
};

const PEER: &str = "session";

pub struct SessionService {
    check_timeout: Duration,
    sessions: SessionServiceClient<Channel>,
    reads: SessionReadServiceClient<Channel>,
    admin: SessionAdminServiceClient<Channel>,
}

impl SessionService {
    pub fn new(channel: Channel, check_timeout: Duration) -> Self {
        Self {
            check_timeout,
            sessions: SessionServiceClient::new(channel.clone()),
            reads: SessionReadServiceClient::new(channel.clone()),
            admin: SessionAdminServiceClient::new(channel),
        }
    }
}

macro_rules! call {
    ($client:expr, $method:ident, $asker:expr, $timeout:expr, $message:expr) => {{
        let mut client = $client.clone();
        let request = request($asker, $timeout, $message);
        answer(PEER, $timeout, client.$method(request)).await
    }};
}

#[async_trait]
impl Sessions for SessionService {
    async fn create(&self, asker: Asker<'_>, new: NewSession) -> Result<(Session, Concealed), Failure> {
        let former = new.former_secret.as_ref().map_or("", Concealed::reveal);
        let message = rpc::CreateSessionRequest {
            login_proof: new.login_proof.reveal().to_owned(),
            user_agent: new.user_agent,
            client_address: new.client_address.to_string(),
            former_secret: former.to_owned(),
        };
        let reply = call!(self.sessions, create_session, asker, ADMINISTRATION, message)?;
        Ok((session_of(reply.session)?, secret_of(reply.secret)?))
    }

    async fn resolve(&self, asker: Asker<'_>, secret: &str) -> Result<SessionLookup, Unavailable> {
        let message = rpc::ResolveSessionRequest { secret: secret.to_owned() };
        match call!(self.sessions, resolve_session, asker, self.check_timeout, message) {
            Ok(reply) => Ok(SessionLookup::Found {
                session: Box::new(session_of(reply.session)?),
                current_secret: Some(reply.current_secret).filter(|s| !s.is_empty()).map(Concealed::new),
            }),
            Err(Failure::Refused(refused)) if refused.reason == Reason::SessionNotFound => {
                Ok(SessionLookup::NotFound)
            }
            Err(failure) => Err(failure.outage(PEER)),
        }
    }

    async fn end(&self, asker: Asker<'_>, secret: &str, id: Option<&str>) -> Result<bool, Failure> {
        let id = id.unwrap_or_default().to_owned();
        let message = rpc::EndSessionRequest { secret: secret.to_owned(), id };
        Ok(call!(self.sessions, end_session, asker, ADMINISTRATION, message)?.ended)
    }

    async fn end_others(&self, asker: Asker<'_>, secret: &str) -> Result<u32, Failure> {
        let message = rpc::EndOtherSessionsRequest { secret: secret.to_owned() };
        Ok(call!(self.sessions, end_other_sessions, asker, ADMINISTRATION, message)?.ended)
    }

    async fn get(&self, asker: Asker<'_>, id: &str) -> Result<Session, Failure> {
        let message = rpc::GetSessionRequest { id: id.to_owned() };
        Ok(session_of(call!(self.reads, get_session, asker, ADMINISTRATION, message)?.session)?)
    }

    async fn list(
        &self,
        asker: Asker<'_>,
        subject: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<Session>, Failure> {
        if subject == Some("") {
            // On the wire that would mean everybody.
            return Err(Unavailable::new(PEER, "asked about a subject without an id").into());
        }
        let subject = subject.unwrap_or_default().to_owned();
        let message = rpc::ListSessionsRequest { subject, page_size: page.size, page_token: page.token };
        let reply = call!(self.reads, list_sessions, asker, ADMINISTRATION, message)?;
        let items = reply.sessions.into_iter().map(|s| session_of(Some(s))).collect::<Result<_, _>>()?;
        Ok(Page { items, next: reply.next_page_token })
    }

    async fn end_by_id(&self, asker: Asker<'_>, id: &str) -> Result<bool, Failure> {
        let message = rpc::EndSessionByIdRequest { id: id.to_owned() };
        Ok(call!(self.admin, end_session_by_id, asker, ADMINISTRATION, message)?.ended)
    }

    async fn end_subject(&self, asker: Asker<'_>, subject: &str) -> Result<u32, Failure> {
        let message = rpc::EndSubjectSessionsRequest { subject: subject.to_owned() };
        Ok(call!(self.admin, end_subject_sessions, asker, ADMINISTRATION, message)?.ended)
    }
}

fn secret_of(secret: String) -> Result<Concealed, Unavailable> {
    if secret.is_empty() {
        return Err(Unavailable::new(PEER, "the answer lacks a secret"));
    }
    Ok(Concealed::new(secret))
}

fn session_of(session: Option<rpc::Session>) -> Result<Session, Unavailable> {
    let session = wire::set(PEER, "session", session)?;
    if session.id.is_empty() || session.subject.is_empty() {
        return Err(Unavailable::new(PEER, "the answer lacks whose session it is"));
    }
    Ok(Session {
        authenticated_at: wire::moment(PEER, "authenticated_at", session.authenticated_at)?,
        created_at: wire::moment(PEER, "created_at", session.created_at)?,
        last_active_at: wire::moment(PEER, "last_active_at", session.last_active_at)?,
        idle_expires_at: wire::moment(PEER, "idle_expires_at", session.idle_expires_at)?,
        absolute_expires_at: wire::moment(PEER, "absolute_expires_at", session.absolute_expires_at)?,
        id: session.id,
        subject: session.subject,
        username: session.username,
        epoch: session.epoch,
        methods: session.methods,
        user_agent: session.user_agent,
        client_address: session.client_address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_nobody_is_no_answer() {
        assert!(session_of(None).is_err());
        assert!(session_of(Some(rpc::Session::default())).is_err());
        assert!(secret_of(String::new()).is_err());
    }
}
