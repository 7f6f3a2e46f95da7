//! First-party login.

use proto::auth::v1::{
    self as wire, change_password_response, login_response, login_service_server::LoginService,
};
use tonic::{Request, Response, Status};

use super::{Behind, message, origin, status};
use crate::flows::{
    change_password::{ChangePassword, change_password},
    grant::Granted,
    login::{Login, login},
    register::{NewAccount, register},
};

/// Answers logins.
pub struct Logins(pub Behind);

#[tonic::async_trait]
impl LoginService for Logins {
    async fn register(
        &self,
        request: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        let origin = origin(&request);
        let wire::RegisterRequest { username, password, client_address } = request.into_inner();
        let account = NewAccount { username: &username, password: &password, must_change_password: false };
        let user = register(&self.0.auth, &origin, account, &client_address)
            .await
            .map_err(|refused| status::of_register(&refused))?;
        Ok(Response::new(wire::RegisterResponse { user: Some(message::to_user(user)) }))
    }

    async fn login(
        &self,
        request: Request<wire::LoginRequest>,
    ) -> Result<Response<wire::LoginResponse>, Status> {
        let origin = origin(&request);
        let wire::LoginRequest { identifier, password, mode, client_address } = request.into_inner();
        let mode = message::login_mode(mode)?;
        let request = Login { identifier: &identifier, password: &password, mode, address: &client_address };
        let logged_in =
            login(&self.0.auth, &origin, request).await.map_err(|refused| status::of_login(&refused))?;
        let result = match logged_in.granted {
            Granted::Tokens { tokens, .. } => login_response::Result::Tokens(message::to_tokens(tokens)),
            Granted::Proof(proof) => login_response::Result::LoginProof(proof),
        };
        let user = Some(message::to_user(logged_in.user));
        Ok(Response::new(wire::LoginResponse { user, result: Some(result) }))
    }

    async fn change_password(
        &self,
        request: Request<wire::ChangePasswordRequest>,
    ) -> Result<Response<wire::ChangePasswordResponse>, Status> {
        let origin = origin(&request);
        let wire::ChangePasswordRequest { identifier, current_password, new_password, mode, client_address } =
            request.into_inner();
        let request = ChangePassword {
            identifier: &identifier,
            current: &current_password,
            new: &new_password,
            mode: message::login_mode(mode)?,
            address: &client_address,
        };
        let logged_in = change_password(&self.0.auth, &origin, request)
            .await
            .map_err(|refused| status::of_change_password(&refused))?;
        let result = match logged_in.granted {
            Granted::Tokens { tokens, .. } => {
                change_password_response::Result::Tokens(message::to_tokens(tokens))
            }
            Granted::Proof(proof) => change_password_response::Result::LoginProof(proof),
        };
        let user = Some(message::to_user(logged_in.user));
        Ok(Response::new(wire::ChangePasswordResponse { user, result: Some(result) }))
    }
}
