//! Messages to domain values and back.

use chassis::status::invalid;
use prost_types::Timestamp;
use proto::auth::v1 as wire;
use time::OffsetDateTime;
use tonic::Status as Refusal;

use crate::{
    domain::{
        client::{Audience, Client},
        page::PageRequest,
        signing_key::{KeyRecord, KeyState},
        user::{Status, User},
    },
    flows::{authenticate_client::ClientCredentials, grant::LoginMode, issue::TokenSet},
};

/// Zero is UNSPECIFIED, and refused.
pub(super) fn login_mode(mode: i32) -> Result<LoginMode, Refusal> {
    match wire::LoginMode::try_from(mode) {
        Ok(wire::LoginMode::Token) => Ok(LoginMode::Token),
        Ok(wire::LoginMode::Session) => Ok(LoginMode::Session),
        _ => Err(invalid("mode", "MODE_INVALID", "must be LOGIN_MODE_TOKEN or LOGIN_MODE_SESSION")),
    }
}

pub(super) fn status(status: i32) -> Result<Status, Refusal> {
    match wire::Status::try_from(status) {
        Ok(wire::Status::Active) => Ok(Status::Active),
        Ok(wire::Status::Disabled) => Ok(Status::Disabled),
        _ => Err(invalid("status", "STATUS_INVALID", "must be STATUS_ACTIVE or STATUS_DISABLED")),
    }
}

pub(super) fn page(size: u32, token: &str) -> Result<PageRequest, Refusal> {
    PageRequest::parse(size, token)
        .ok_or_else(|| invalid("page_size", "PAGE_SIZE_INVALID", "must be 0 to 1000"))
}

pub(super) fn key_missing() -> Refusal {
    invalid("key", "KEY_INVALID", "id or name must be set")
}

/// An absent message is a client without an id, which is nobody.
pub(super) fn credentials(client: Option<&wire::ClientAuthentication>) -> ClientCredentials<'_> {
    match client {
        Some(client) => ClientCredentials { id: &client.client_id, secret: &client.client_secret },
        None => ClientCredentials { id: "", secret: "" },
    }
}

pub(super) fn to_user(user: User) -> wire::User {
    wire::User {
        id: user.id.to_string(),
        username: user.username.as_str().to_owned(),
        status: to_status(user.status).into(),
        must_change_password: user.must_change_password,
        created_at: Some(to_timestamp(user.created_at)),
    }
}

pub(super) fn to_client(client: &Client) -> wire::Client {
    wire::Client {
        id: client.id.to_string(),
        name: client.name.as_str().to_owned(),
        status: to_status(client.status).into(),
        audiences: client.audiences.iter().map(Audience::as_str).map(str::to_owned).collect(),
        scopes: client.scopes.words().map(str::to_owned).collect(),
        created_at: Some(to_timestamp(client.created_at)),
    }
}

pub(super) fn to_key(key: &KeyRecord) -> wire::SigningKey {
    let KeyRecord { kid, algorithm, state } = key;
    let (state, moment) = match *state {
        KeyState::Announced { at } => (wire::KeyState::Announced, at),
        KeyState::Active { since } => (wire::KeyState::Active, since),
        KeyState::Retiring { until } => (wire::KeyState::Retiring, until),
        KeyState::Gone { at } => (wire::KeyState::Gone, at),
    };
    wire::SigningKey {
        kid: kid.clone(),
        algorithm: algorithm.as_str().to_owned(),
        state: state.into(),
        moment: Some(to_timestamp(moment)),
    }
}

pub(super) fn to_tokens(tokens: TokenSet) -> wire::TokenSet {
    wire::TokenSet {
        access_token: tokens.access_token,
        expires_in: tokens.expires_in,
        refresh_token: tokens.refresh_token.as_str().to_owned(),
        scope: tokens.scope,
    }
}

pub(super) fn to_timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: i32::try_from(at.nanosecond()).unwrap_or_default() }
}

fn to_status(status: Status) -> wire::Status {
    match status {
        Status::Active => wire::Status::Active,
        Status::Disabled => wire::Status::Disabled,
    }
}
