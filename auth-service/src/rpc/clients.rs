//! Clients, for administration.

use proto::auth::v1::{
    self as wire, client_admin_service_server::ClientAdminService,
    client_read_service_server::ClientReadService, get_client_request,
};
use tonic::{Request, Response, Status};

use super::{Behind, administration, message, status};
use crate::{
    domain::{id::ClientId, user::Key},
    flows::clients::{self, NewClient},
};

/// Answers reads about clients.
pub struct ClientReads(pub Behind);

/// Answers administration of clients.
pub struct ClientAdmin(pub Behind);

#[tonic::async_trait]
impl ClientReadService for ClientReads {
    async fn get_client(
        &self,
        request: Request<wire::GetClientRequest>,
    ) -> Result<Response<wire::GetClientResponse>, Status> {
        let wire::GetClientRequest { key } = request.into_inner();
        let key = match key.ok_or_else(message::key_missing)? {
            get_client_request::Key::Id(id) => {
                Key::Id(ClientId::parse(&id).ok_or_else(status::client_not_found)?)
            }
            get_client_request::Key::Name(name) => Key::Name(name),
        };
        let client =
            clients::get_client(&self.0.auth, &key).await.map_err(|refused| status::of_client(&refused))?;
        Ok(Response::new(wire::GetClientResponse { client: Some(message::to_client(&client)) }))
    }

    async fn list_clients(
        &self,
        request: Request<wire::ListClientsRequest>,
    ) -> Result<Response<wire::ListClientsResponse>, Status> {
        let wire::ListClientsRequest { page_size, page_token } = request.into_inner();
        let page = message::page(page_size, &page_token)?;
        let page = clients::list_clients(&self.0.auth, &page)
            .await
            .map_err(|failure| status::of_failure(&failure))?;
        Ok(Response::new(wire::ListClientsResponse {
            clients: page.items.iter().map(message::to_client).collect(),
            next_page_token: page.next,
        }))
    }
}

#[tonic::async_trait]
impl ClientAdminService for ClientAdmin {
    async fn create_client(
        &self,
        request: Request<wire::CreateClientRequest>,
    ) -> Result<Response<wire::CreateClientResponse>, Status> {
        let origin = administration(&request);
        let wire::CreateClientRequest { name, audiences, scopes } = request.into_inner();
        let new = NewClient {
            name: &name,
            audiences: audiences.iter().map(String::as_str).collect(),
            scopes: scopes.iter().map(String::as_str).collect(),
        };
        let (client, secret) = clients::create_client(&self.0.auth, &origin, new)
            .await
            .map_err(|refused| status::of_client(&refused))?;
        Ok(Response::new(wire::CreateClientResponse {
            client: Some(message::to_client(&client)),
            client_secret: secret.reveal().to_owned(),
        }))
    }

    async fn rotate_client_secret(
        &self,
        request: Request<wire::RotateClientSecretRequest>,
    ) -> Result<Response<wire::RotateClientSecretResponse>, Status> {
        let origin = administration(&request);
        let wire::RotateClientSecretRequest { id } = request.into_inner();
        let (client, secret) = clients::rotate_client_secret(&self.0.auth, &origin, &id)
            .await
            .map_err(|refused| status::of_client(&refused))?;
        Ok(Response::new(wire::RotateClientSecretResponse {
            client: Some(message::to_client(&client)),
            client_secret: secret.reveal().to_owned(),
        }))
    }

    async fn set_client_status(
        &self,
        request: Request<wire::SetClientStatusRequest>,
    ) -> Result<Response<wire::SetClientStatusResponse>, Status> {
        let origin = administration(&request);
        let wire::SetClientStatusRequest { id, status: wanted } = request.into_inner();
        let wanted = message::status(wanted)?;
        let client = clients::set_client_status(&self.0.auth, &origin, &id, wanted)
            .await
            .map_err(|refused| status::of_client(&refused))?;
        Ok(Response::new(wire::SetClientStatusResponse { client: Some(message::to_client(&client)) }))
    }

    async fn revoke_client_tokens(
        &self,
        request: Request<wire::RevokeClientTokensRequest>,
    ) -> Result<Response<wire::RevokeClientTokensResponse>, Status> {
        let origin = administration(&request);
        let wire::RevokeClientTokensRequest { id } = request.into_inner();
        clients::revoke_client_tokens(&self.0.auth, &origin, &id)
            .await
            .map_err(|refused| status::of_client(&refused))?;
        Ok(Response::new(wire::RevokeClientTokensResponse {}))
    }

    async fn delete_client(
        &self,
        request: Request<wire::DeleteClientRequest>,
    ) -> Result<Response<wire::DeleteClientResponse>, Status> {
        let origin = administration(&request);
        let wire::DeleteClientRequest { id } = request.into_inner();
        clients::delete_client(&self.0.auth, &origin, &id)
            .await
            .map_err(|refused| status::of_client(&refused))?;
        Ok(Response::new(wire::DeleteClientResponse {}))
    }
}
