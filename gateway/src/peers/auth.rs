//! auth-service over gRPC.

mod accounts;

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use chassis::grpc::client::Channel;
use proto::auth::v1 as rpc;
use rpc::client_admin_service_client::ClientAdminServiceClient;
use rpc::client_read_service_client::ClientReadServiceClient;
use rpc::key_admin_service_client::KeyAdminServiceClient;
use rpc::key_read_service_client::KeyReadServiceClient;
use rpc::login_service_client::LoginServiceClient;
use rpc::token_admin_service_client::TokenAdminServiceClient;
use rpc::token_read_service_client::TokenReadServiceClient;
use rpc::token_service_client::TokenServiceClient;
use rpc::user_admin_service_client::UserAdminServiceClient;
use rpc::user_read_service_client::UserReadServiceClient;
use time::OffsetDateTime;

use accounts::{authentication, client_of, key_of, logged_in, mode, standing_to, tokens_of, user_of};

use super::wire::{self, ADMINISTRATION, ENDING, LOGIN, answer, request};
use super::{
    ActiveToken, Asker, Auth, Client, ClientAuthentication, Concealed, Failure, Introspection, Key, KeySet,
    KeyState, LoggedIn, Login, LoginMode, LoginResult, NewUser, Page, PageRequest, PasswordChange,
    SigningKey, Standing, TokenSet, Unavailable, User,
};

const PEER: &str = "auth";

pub struct AuthService {
    check_timeout: Duration,
    logins: LoginServiceClient<Channel>,
    tokens: TokenServiceClient<Channel>,
    token_admin: TokenAdminServiceClient<Channel>,
    token_reads: TokenReadServiceClient<Channel>,
    user_reads: UserReadServiceClient<Channel>,
    user_admin: UserAdminServiceClient<Channel>,
    client_reads: ClientReadServiceClient<Channel>,
    client_admin: ClientAdminServiceClient<Channel>,
    key_reads: KeyReadServiceClient<Channel>,
    key_admin: KeyAdminServiceClient<Channel>,
}

impl AuthService {
    pub fn new(channel: Channel, check_timeout: Duration) -> Self {
        Self {
            check_timeout,
            logins: LoginServiceClient::new(channel.clone()),
            tokens: TokenServiceClient::new(channel.clone()),
            token_admin: TokenAdminServiceClient::new(channel.clone()),
            token_reads: TokenReadServiceClient::new(channel.clone()),
            user_reads: UserReadServiceClient::new(channel.clone()),
            user_admin: UserAdminServiceClient::new(channel.clone()),
            client_reads: ClientReadServiceClient::new(channel.clone()),
            client_admin: ClientAdminServiceClient::new(channel.clone()),
            key_reads: KeyReadServiceClient::new(channel.clone()),
            key_admin: KeyAdminServiceClient::new(channel),
        }
    }
}

/// One call on a copy of a client: copies share their connection.
macro_rules! call {
    ($client:expr, $method:ident, $asker:expr, $timeout:expr, $message:expr) => {{
        let mut client = $client.clone();
        let request = request($asker, $timeout, $message);
        answer(PEER, $timeout, client.$method(request)).await
    }};
}
use call;

#[async_trait]
impl Auth for AuthService {
    async fn register(
        &self,
        asker: Asker<'_>,
        user: NewUser,
        client_address: IpAddr,
    ) -> Result<User, Failure> {
        let message = rpc::RegisterRequest {
            username: user.username,
            password: user.password.reveal().to_owned(),
            client_address: client_address.to_string(),
        };
        user_of(call!(self.logins, register, asker, LOGIN, message)?.user)
    }

    async fn login(&self, asker: Asker<'_>, login: Login) -> Result<LoggedIn, Failure> {
        let message = rpc::LoginRequest {
            identifier: login.identifier,
            password: login.password.reveal().to_owned(),
            mode: mode(login.mode).into(),
            client_address: login.client_address.to_string(),
        };
        let reply = call!(self.logins, login, asker, LOGIN, message)?;
        let result = match wire::set(PEER, "result", reply.result)? {
            rpc::login_response::Result::Tokens(tokens) => LoginResult::Tokens(tokens_of(Some(tokens))?),
            rpc::login_response::Result::LoginProof(proof) => LoginResult::Proof(Concealed::new(proof)),
        };
        logged_in(login.mode, user_of(reply.user)?, result)
    }

    async fn change_password(&self, asker: Asker<'_>, change: PasswordChange) -> Result<LoggedIn, Failure> {
        let message = rpc::ChangePasswordRequest {
            identifier: change.identifier,
            current_password: change.current.reveal().to_owned(),
            new_password: change.new.reveal().to_owned(),
            mode: mode(change.mode).into(),
            client_address: change.client_address.to_string(),
        };
        let reply = call!(self.logins, change_password, asker, ENDING, message)?;
        let result = match wire::set(PEER, "result", reply.result)? {
            rpc::change_password_response::Result::Tokens(tokens) => {
                LoginResult::Tokens(tokens_of(Some(tokens))?)
            }
            rpc::change_password_response::Result::LoginProof(proof) => {
                LoginResult::Proof(Concealed::new(proof))
            }
        };
        logged_in(change.mode, user_of(reply.user)?, result)
    }

    async fn issue_client_token(
        &self,
        asker: Asker<'_>,
        client: ClientAuthentication,
        scope: String,
        audience: String,
    ) -> Result<TokenSet, Failure> {
        let message = rpc::IssueClientTokenRequest { client: authentication(&client), scope, audience };
        tokens_of(call!(self.tokens, issue_client_token, asker, LOGIN, message)?.tokens)
    }

    async fn refresh(
        &self,
        asker: Asker<'_>,
        client: ClientAuthentication,
        refresh_token: Concealed,
        scope: String,
    ) -> Result<TokenSet, Failure> {
        let message = rpc::RefreshRequest {
            client: authentication(&client),
            refresh_token: refresh_token.reveal().to_owned(),
            scope,
        };
        tokens_of(call!(self.tokens, refresh, asker, ENDING, message)?.tokens)
    }

    async fn revoke(
        &self,
        asker: Asker<'_>,
        client: ClientAuthentication,
        token: Concealed,
    ) -> Result<(), Failure> {
        let message =
            rpc::RevokeRequest { client: authentication(&client), token: token.reveal().to_owned() };
        call!(self.tokens, revoke, asker, ENDING, message).map(|rpc::RevokeResponse {}| ())
    }

    async fn end_family(&self, asker: Asker<'_>, family: &str, subject: &str) -> Result<(), Failure> {
        let message = rpc::EndFamilyRequest { family: family.to_owned(), subject: subject.to_owned() };
        call!(self.tokens, end_family, asker, ENDING, message).map(|rpc::EndFamilyResponse {}| ())
    }

    async fn revoke_token(&self, asker: Asker<'_>, jti: &str) -> Result<(), Failure> {
        let message = rpc::RevokeTokenRequest { jti: jti.to_owned() };
        call!(self.token_admin, revoke_token, asker, ENDING, message).map(|rpc::RevokeTokenResponse {}| ())
    }

    async fn revoke_family(&self, asker: Asker<'_>, family: &str) -> Result<(), Failure> {
        let message = rpc::RevokeFamilyRequest { family: family.to_owned() };
        call!(self.token_admin, revoke_family, asker, ENDING, message).map(|rpc::RevokeFamilyResponse {}| ())
    }

    async fn introspect(
        &self,
        asker: Asker<'_>,
        client: ClientAuthentication,
        token: Concealed,
    ) -> Result<Introspection, Failure> {
        let message =
            rpc::IntrospectRequest { client: authentication(&client), token: token.reveal().to_owned() };
        let reply = call!(self.token_reads, introspect, asker, LOGIN, message)?;
        if !reply.active {
            return Ok(Introspection::Inactive);
        }
        let moment = |name, stamp: Option<_>| match stamp {
            None => Ok(None),
            Some(stamp) => wire::moment(PEER, name, Some(stamp)).map(Some),
        };
        Ok(Introspection::Active(ActiveToken {
            subject: reply.subject,
            client_id: reply.client_id,
            scope: reply.scope,
            audience: reply.audience,
            issuer: reply.issuer,
            token_type: reply.token_type,
            jti: reply.jti,
            expires_at: moment("expires_at", reply.expires_at)?,
            issued_at: moment("issued_at", reply.issued_at)?,
        }))
    }

    async fn key_set(&self, asker: Asker<'_>) -> Result<KeySet, Unavailable> {
        // Not on any request's way (the guard fetches it beforehand), but a request may wait for a new key.
        let reply =
            call!(self.token_reads, get_key_set, asker, 4 * self.check_timeout, rpc::GetKeySetRequest {})
                .map_err(|no| no.outage(PEER))?;
        Ok(KeySet { jwks: reply.jwks, max_age: Duration::from_secs(reply.max_age.into()) })
    }

    async fn user(&self, asker: Asker<'_>, key: Key) -> Result<User, Failure> {
        self.get_user(asker, key).await
    }

    async fn users(&self, asker: Asker<'_>, page: PageRequest) -> Result<Page<User>, Failure> {
        self.list_users(asker, page).await
    }

    async fn create_user(
        &self,
        asker: Asker<'_>,
        user: NewUser,
        must_change_password: bool,
    ) -> Result<User, Failure> {
        let message = rpc::CreateUserRequest {
            username: user.username,
            password: user.password.reveal().to_owned(),
            must_change_password,
        };
        user_of(call!(self.user_admin, create_user, asker, LOGIN, message)?.user)
    }

    async fn set_user_status(&self, asker: Asker<'_>, id: &str, status: Standing) -> Result<User, Failure> {
        let message = rpc::SetUserStatusRequest { id: id.to_owned(), status: standing_to(status).into() };
        user_of(call!(self.user_admin, set_user_status, asker, ENDING, message)?.user)
    }

    async fn set_password(
        &self,
        asker: Asker<'_>,
        id: &str,
        password: Concealed,
        must_change_password: bool,
    ) -> Result<User, Failure> {
        let message = rpc::SetPasswordRequest {
            id: id.to_owned(),
            password: password.reveal().to_owned(),
            must_change_password,
        };
        user_of(call!(self.user_admin, set_password, asker, ENDING, message)?.user)
    }

    async fn revoke_user_tokens(&self, asker: Asker<'_>, id: &str) -> Result<(), Failure> {
        let message = rpc::RevokeUserTokensRequest { id: id.to_owned() };
        call!(self.user_admin, revoke_user_tokens, asker, ENDING, message)
            .map(|rpc::RevokeUserTokensResponse {}| ())
    }

    async fn delete_user(&self, asker: Asker<'_>, id: &str) -> Result<(), Failure> {
        let message = rpc::DeleteUserRequest { id: id.to_owned() };
        call!(self.user_admin, delete_user, asker, ENDING, message).map(|rpc::DeleteUserResponse {}| ())
    }

    async fn client(&self, asker: Asker<'_>, key: Key) -> Result<Client, Failure> {
        self.get_client(asker, key).await
    }

    async fn clients(&self, asker: Asker<'_>, page: PageRequest) -> Result<Page<Client>, Failure> {
        self.list_clients(asker, page).await
    }

    async fn create_client(
        &self,
        asker: Asker<'_>,
        name: String,
        audiences: Vec<String>,
        scopes: Vec<String>,
    ) -> Result<(Client, Concealed), Failure> {
        let message = rpc::CreateClientRequest { name, audiences, scopes };
        let reply = call!(self.client_admin, create_client, asker, LOGIN, message)?;
        Ok((client_of(reply.client)?, Concealed::new(reply.client_secret)))
    }

    async fn rotate_client_secret(&self, asker: Asker<'_>, id: &str) -> Result<(Client, Concealed), Failure> {
        let message = rpc::RotateClientSecretRequest { id: id.to_owned() };
        let reply = call!(self.client_admin, rotate_client_secret, asker, ENDING, message)?;
        Ok((client_of(reply.client)?, Concealed::new(reply.client_secret)))
    }

    async fn set_client_status(
        &self,
        asker: Asker<'_>,
        id: &str,
        status: Standing,
    ) -> Result<Client, Failure> {
        let message = rpc::SetClientStatusRequest { id: id.to_owned(), status: standing_to(status).into() };
        client_of(call!(self.client_admin, set_client_status, asker, ENDING, message)?.client)
    }

    async fn revoke_client_tokens(&self, asker: Asker<'_>, id: &str) -> Result<(), Failure> {
        let message = rpc::RevokeClientTokensRequest { id: id.to_owned() };
        call!(self.client_admin, revoke_client_tokens, asker, ENDING, message)
            .map(|rpc::RevokeClientTokensResponse {}| ())
    }

    async fn delete_client(&self, asker: Asker<'_>, id: &str) -> Result<(), Failure> {
        let message = rpc::DeleteClientRequest { id: id.to_owned() };
        call!(self.client_admin, delete_client, asker, ENDING, message).map(|rpc::DeleteClientResponse {}| ())
    }

    async fn signing_keys(&self, asker: Asker<'_>) -> Result<Vec<SigningKey>, Failure> {
        let reply = call!(self.key_reads, list_keys, asker, ADMINISTRATION, rpc::ListKeysRequest {})?;
        reply.keys.into_iter().map(|key| key_of(Some(key))).collect()
    }

    async fn rotate_key(&self, asker: Asker<'_>) -> Result<(SigningKey, OffsetDateTime), Failure> {
        let reply = call!(self.key_admin, rotate_key, asker, ADMINISTRATION, rpc::RotateKeyRequest {})?;
        Ok((key_of(reply.key)?, wire::moment(PEER, "signs_from", reply.signs_from)?))
    }

    async fn revoke_key(&self, asker: Asker<'_>, kid: &str) -> Result<(), Failure> {
        let message = rpc::RevokeKeyRequest { kid: kid.to_owned() };
        call!(self.key_admin, revoke_key, asker, ENDING, message).map(|rpc::RevokeKeyResponse {}| ())
    }
}
