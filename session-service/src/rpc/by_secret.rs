//! `SessionService`: what the gateway calls for a browser. A string that cannot be a secret is treated as one that opens
//! nothing, since that is what it is.

use std::sync::Arc;

use proto::session::v1 as wire;
use proto::session::v1::session_service_server::SessionService;
use tonic::{Request, Response, Status};

use super::audit::{self, Origin};
use super::{message, status};
use crate::domain::{SessionId, SessionSecret};
use crate::flows::{Creation, EndedOthers, Login, Sessions};

/// Answers for those who have a secret, or the proof from which one is made.
pub struct BySecret(pub Arc<Sessions>);

impl BySecret {
    fn session(&self, session: crate::domain::Session) -> Option<wire::Session> {
        Some(message::to_session(session, self.0.lifetimes()))
    }
}

#[tonic::async_trait]
impl SessionService for BySecret {
    async fn create_session(
        &self,
        request: Request<wire::CreateSessionRequest>,
    ) -> Result<Response<wire::CreateSessionResponse>, Status> {
        let origin = Origin::of(&request);
        let wire::CreateSessionRequest { login_proof, user_agent, client_address, former_secret } =
            request.get_ref();
        let login = Login {
            proof: login_proof,
            user_agent,
            client_address,
            former: SessionSecret::parse(former_secret),
        };
        match self.0.create(login).await.map_err(|error| status::of_create(&error))? {
            Creation::Created { session, secret, ended } => {
                for one in &ended {
                    audit::ended(one, origin);
                }
                let (session, secret) = (self.session(*session), secret.expose());
                Ok(Response::new(wire::CreateSessionResponse { session, secret }))
            }
            Creation::ProofInvalid(why) => {
                audit::login_refused(status::PROOF_INVALID, why, client_address, origin);
                Err(status::proof_invalid())
            }
            Creation::LimitReached => {
                audit::login_refused(status::SESSION_LIMIT, "", client_address, origin);
                Err(status::session_limit())
            }
        }
    }

    async fn resolve_session(
        &self,
        request: Request<wire::ResolveSessionRequest>,
    ) -> Result<Response<wire::ResolveSessionResponse>, Status> {
        let secret = SessionSecret::parse(&request.get_ref().secret).ok_or_else(status::session_not_found)?;
        let resolved = self.0.resolve(&secret).await.map_err(|error| status::of_store(&error))?;
        let resolved = resolved.ok_or_else(status::session_not_found)?;
        Ok(Response::new(wire::ResolveSessionResponse {
            session: self.session(resolved.session),
            current_secret: resolved.current_secret.map(|secret| secret.expose()).unwrap_or_default(),
        }))
    }

    async fn rotate_session(
        &self,
        request: Request<wire::RotateSessionRequest>,
    ) -> Result<Response<wire::RotateSessionResponse>, Status> {
        let secret = SessionSecret::parse(&request.get_ref().secret).ok_or_else(status::session_not_found)?;
        let rotated = self.0.rotate(&secret).await.map_err(|error| status::of_store(&error))?;
        let rotated = rotated.ok_or_else(status::session_not_found)?;
        Ok(Response::new(wire::RotateSessionResponse {
            session: self.session(rotated.session),
            secret: rotated.secret.expose(),
        }))
    }

    async fn end_session(
        &self,
        request: Request<wire::EndSessionRequest>,
    ) -> Result<Response<wire::EndSessionResponse>, Status> {
        let wire::EndSessionRequest { secret, id } = request.get_ref();
        let nothing = Ok(Response::new(wire::EndSessionResponse { ended: false }));
        let Some(secret) = SessionSecret::parse(secret) else { return nothing };
        let id = match id.as_str() {
            "" => None,
            id => match SessionId::parse(id) {
                Some(id) => Some(id),
                None => return nothing,
            },
        };
        let ended = self.0.end(&secret, id).await.map_err(|error| status::of_store(&error))?;
        if let Some(ended) = &ended {
            audit::ended(ended, Origin::of(&request));
        }
        Ok(Response::new(wire::EndSessionResponse { ended: ended.is_some() }))
    }

    async fn end_other_sessions(
        &self,
        request: Request<wire::EndOtherSessionsRequest>,
    ) -> Result<Response<wire::EndOtherSessionsResponse>, Status> {
        let secret = SessionSecret::parse(&request.get_ref().secret).ok_or_else(status::session_not_found)?;
        match self.0.end_others(&secret).await.map_err(|error| status::of_store(&error))? {
            EndedOthers::NotFound => Err(status::session_not_found()),
            EndedOthers::Done(ended) => {
                for one in &ended {
                    audit::ended(one, Origin::of(&request));
                }
                let ended = u32::try_from(ended.len()).unwrap_or(u32::MAX);
                Ok(Response::new(wire::EndOtherSessionsResponse { ended }))
            }
        }
    }
}
