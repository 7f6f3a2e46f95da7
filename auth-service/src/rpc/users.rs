//! Users, for administration.

use proto::auth::v1::{
    self as wire, get_user_request, user_admin_service_server::UserAdminService,
    user_read_service_server::UserReadService,
};
use tonic::{Request, Response, Status};

use super::{Behind, administration, message, status};
use crate::{
    domain::{id::UserId, user::Key},
    flows::{
        register::{NewAccount, create_user},
        users,
    },
};

/// Answers reads about users.
pub struct UserReads(pub Behind);

/// Answers administration of users.
pub struct UserAdmin(pub Behind);

#[tonic::async_trait]
impl UserReadService for UserReads {
    async fn get_user(
        &self,
        request: Request<wire::GetUserRequest>,
    ) -> Result<Response<wire::GetUserResponse>, Status> {
        let wire::GetUserRequest { key } = request.into_inner();
        let key = match key.ok_or_else(message::key_missing)? {
            get_user_request::Key::Id(id) => Key::Id(UserId::parse(&id).ok_or_else(status::user_not_found)?),
            get_user_request::Key::Username(name) => Key::Name(name),
        };
        let user = users::get_user(&self.0.auth, key).await.map_err(|refused| status::of_user(&refused))?;
        Ok(Response::new(wire::GetUserResponse { user: Some(message::to_user(user)) }))
    }

    async fn list_users(
        &self,
        request: Request<wire::ListUsersRequest>,
    ) -> Result<Response<wire::ListUsersResponse>, Status> {
        let wire::ListUsersRequest { page_size, page_token } = request.into_inner();
        let page = message::page(page_size, &page_token)?;
        let page =
            users::list_users(&self.0.auth, &page).await.map_err(|failure| status::of_failure(&failure))?;
        Ok(Response::new(wire::ListUsersResponse {
            users: page.items.into_iter().map(message::to_user).collect(),
            next_page_token: page.next,
        }))
    }
}

#[tonic::async_trait]
impl UserAdminService for UserAdmin {
    async fn create_user(
        &self,
        request: Request<wire::CreateUserRequest>,
    ) -> Result<Response<wire::CreateUserResponse>, Status> {
        let origin = administration(&request);
        let wire::CreateUserRequest { username, password, must_change_password } = request.into_inner();
        let account = NewAccount { username: &username, password: &password, must_change_password };
        let user = create_user(&self.0.auth, &origin, account)
            .await
            .map_err(|refused| status::of_register(&refused))?;
        Ok(Response::new(wire::CreateUserResponse { user: Some(message::to_user(user)) }))
    }

    async fn set_user_status(
        &self,
        request: Request<wire::SetUserStatusRequest>,
    ) -> Result<Response<wire::SetUserStatusResponse>, Status> {
        let origin = administration(&request);
        let wire::SetUserStatusRequest { id, status: wanted } = request.into_inner();
        let wanted = message::status(wanted)?;
        let user = users::set_user_status(&self.0.auth, &origin, &id, wanted)
            .await
            .map_err(|refused| status::of_user(&refused))?;
        Ok(Response::new(wire::SetUserStatusResponse { user: Some(message::to_user(user)) }))
    }

    async fn set_password(
        &self,
        request: Request<wire::SetPasswordRequest>,
    ) -> Result<Response<wire::SetPasswordResponse>, Status> {
        let origin = administration(&request);
        let wire::SetPasswordRequest { id, password, must_change_password } = request.into_inner();
        let user = users::set_password(&self.0.auth, &origin, &id, &password, must_change_password)
            .await
            .map_err(|refused| status::of_user(&refused))?;
        Ok(Response::new(wire::SetPasswordResponse { user: Some(message::to_user(user)) }))
    }

    async fn revoke_user_tokens(
        &self,
        request: Request<wire::RevokeUserTokensRequest>,
    ) -> Result<Response<wire::RevokeUserTokensResponse>, Status> {
        let origin = administration(&request);
        let wire::RevokeUserTokensRequest { id } = request.into_inner();
        users::revoke_user_tokens(&self.0.auth, &origin, &id)
            .await
            .map_err(|refused| status::of_user(&refused))?;
        Ok(Response::new(wire::RevokeUserTokensResponse {}))
    }

    async fn delete_user(
        &self,
        request: Request<wire::DeleteUserRequest>,
    ) -> Result<Response<wire::DeleteUserResponse>, Status> {
        let origin = administration(&request);
        let wire::DeleteUserRequest { id } = request.into_inner();
        users::delete_user(&self.0.auth, &origin, &id).await.map_err(|refused| status::of_user(&refused))?;
        Ok(Response::new(wire::DeleteUserResponse {}))
    }
}
