//! Users, clients, logins and tokens, as the gateway knows them.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::peers::{Asker, Concealed, Failure, Page, PageRequest, Unavailable};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Active,
    Disabled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub username: String,
    pub status: Standing,
    pub must_change_password: bool,
    pub created_at: OffsetDateTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub id: String,
    pub name: String,
    pub status: Standing,
    pub audiences: Vec<String>,
    pub scopes: Vec<String>,
    pub created_at: OffsetDateTime,
}

/// Where a signing key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    Announced,
    Active,
    Retiring,
    Gone,
}

/// A signing key, without either half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    pub kid: String,
    pub algorithm: String,
    pub state: KeyState,
    /// Since when; for one that retires, until when.
    pub moment: OffsetDateTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSet {
    pub access_token: Concealed,
    pub expires_in: Duration,
    /// None where none was issued (client credentials).
    pub refresh_token: Option<Concealed>,
    /// Space separated; empty when none was granted.
    pub scope: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginMode {
    Token,
    Session,
}

#[derive(Clone, Debug)]
pub struct NewUser {
    pub username: String,
    pub password: Concealed,
}

#[derive(Clone, Debug)]
pub struct Login {
    pub identifier: String,
    pub password: Concealed,
    pub mode: LoginMode,
    pub client_address: IpAddr,
}

#[derive(Clone, Debug)]
pub struct PasswordChange {
    pub identifier: String,
    pub current: Concealed,
    pub new: Concealed,
    pub mode: LoginMode,
    pub client_address: IpAddr,
}

#[derive(Clone, Debug)]
pub struct LoggedIn {
    pub user: User,
    pub result: LoginResult,
}

/// INVARIANT: the variant is the mode that was asked for; the adapter refuses an answer in the other.
#[derive(Clone, Debug)]
pub enum LoginResult {
    Tokens(TokenSet),
    /// From which session-service makes a session.
    Proof(Concealed),
}

#[derive(Clone, Debug)]
pub struct ClientAuthentication {
    pub client_id: String,
    /// Empty for a public client.
    pub client_secret: Concealed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Introspection {
    Inactive,
    Active(ActiveToken),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveToken {
    pub subject: String,
    pub client_id: String,
    pub scope: String,
    pub audience: String,
    pub issuer: String,
    pub token_type: String,
    pub jti: String,
    pub expires_at: Option<OffsetDateTime>,
    pub issued_at: Option<OffsetDateTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// JSON of a JWK Set.
    pub jwks: String,
    pub max_age: Duration,
}

/// How an account or application is named by an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Id(String),
    Name(String),
}

/// auth-service.
#[async_trait]
pub trait Auth: Send + Sync {
    async fn register(
        &self,
        asker: Asker<'_>,
        user: NewUser,
        client_address: IpAddr,
    ) -> Result<User, Failure>;
    async fn login(&self, asker: Asker<'_>, login: Login) -> Result<LoggedIn, Failure>;
    async fn change_password(&self, asker: Asker<'_>, change: PasswordChange) -> Result<LoggedIn, Failure>;

    /// `scope` and `audience` may be empty.
    async fn issue_client_token(
        &self,
        asker: Asker<'_>,
        client: ClientAuthentication,
        scope: String,
        audience: String,
    ) -> Result<TokenSet, Failure>;
    async fn refresh(
        &self,
        asker: Asker<'_>,
        client: ClientAuthentication,
        refresh_token: Concealed,
        scope: String,
    ) -> Result<TokenSet, Failure>;
    async fn revoke(
        &self,
        asker: Asker<'_>,
        client: ClientAuthentication,
        token: Concealed,
    ) -> Result<(), Failure>;
    async fn end_family(&self, asker: Asker<'_>, family: &str, subject: &str) -> Result<(), Failure>;
    /// Voids the one access token of that `jti`, known or not.
    async fn revoke_token(&self, asker: Asker<'_>, jti: &str) -> Result<(), Failure>;
    /// Voids all that was issued in one login, whosesoever.
    async fn revoke_family(&self, asker: Asker<'_>, family: &str) -> Result<(), Failure>;
    async fn introspect(
        &self,
        asker: Asker<'_>,
        client: ClientAuthentication,
        token: Concealed,
    ) -> Result<Introspection, Failure>;
    async fn key_set(&self, asker: Asker<'_>) -> Result<KeySet, Unavailable>;

    async fn user(&self, asker: Asker<'_>, key: Key) -> Result<User, Failure>;
    async fn users(&self, asker: Asker<'_>, page: PageRequest) -> Result<Page<User>, Failure>;
    async fn create_user(
        &self,
        asker: Asker<'_>,
        user: NewUser,
        must_change_password: bool,
    ) -> Result<User, Failure>;
    async fn set_user_status(&self, asker: Asker<'_>, id: &str, status: Standing) -> Result<User, Failure>;
    async fn set_password(
        &self,
        asker: Asker<'_>,
        id: &str,
        password: Concealed,
        must_change_password: bool,
    ) -> Result<User, Failure>;
    /// Voids all that was issued to the user so far.
    async fn revoke_user_tokens(&self, asker: Asker<'_>, id: &str) -> Result<(), Failure>;
    async fn delete_user(&self, asker: Asker<'_>, id: &str) -> Result<(), Failure>;

    async fn client(&self, asker: Asker<'_>, key: Key) -> Result<Client, Failure>;
    async fn clients(&self, asker: Asker<'_>, page: PageRequest) -> Result<Page<Client>, Failure>;
    /// The secret is told once.
    async fn create_client(
        &self,
        asker: Asker<'_>,
        name: String,
        audiences: Vec<String>,
        scopes: Vec<String>,
    ) -> Result<(Client, Concealed), Failure>;
    async fn rotate_client_secret(&self, asker: Asker<'_>, id: &str) -> Result<(Client, Concealed), Failure>;
    async fn set_client_status(
        &self,
        asker: Asker<'_>,
        id: &str,
        status: Standing,
    ) -> Result<Client, Failure>;
    /// Voids all that was issued to the client so far.
    async fn revoke_client_tokens(&self, asker: Asker<'_>, id: &str) -> Result<(), Failure>;
    async fn delete_client(&self, asker: Asker<'_>, id: &str) -> Result<(), Failure>;

    async fn signing_keys(&self, asker: Asker<'_>) -> Result<Vec<SigningKey>, Failure>;
    /// The announced key, and from when it signs.
    async fn rotate_key(&self, asker: Asker<'_>) -> Result<(SigningKey, OffsetDateTime), Failure>;
    async fn revoke_key(&self, asker: Asker<'_>, kid: &str) -> Result<(), Failure>;
}
