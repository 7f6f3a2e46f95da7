//! Reads about users and clients, and the messages of auth-service as the gateway's own types.

use super::*;

impl AuthService {
    pub(super) async fn get_user(&self, asker: Asker<'_>, key: Key) -> Result<User, Failure> {
        let key = Some(match key {
            Key::Id(id) => rpc::get_user_request::Key::Id(id),
            Key::Name(name) => rpc::get_user_request::Key::Username(name),
        });
        user_of(call!(self.user_reads, get_user, asker, ADMINISTRATION, rpc::GetUserRequest { key })?.user)
    }

    pub(super) async fn list_users(
        &self,
        asker: Asker<'_>,
        page: PageRequest,
    ) -> Result<Page<User>, Failure> {
        let message = rpc::ListUsersRequest { page_size: page.size, page_token: page.token };
        let reply = call!(self.user_reads, list_users, asker, ADMINISTRATION, message)?;
        let items = reply.users.into_iter().map(|user| user_of(Some(user))).collect::<Result<_, _>>()?;
        Ok(Page { items, next: reply.next_page_token })
    }

    pub(super) async fn get_client(&self, asker: Asker<'_>, key: Key) -> Result<Client, Failure> {
        let key = Some(match key {
            Key::Id(id) => rpc::get_client_request::Key::Id(id),
            Key::Name(name) => rpc::get_client_request::Key::Name(name),
        });
        let message = rpc::GetClientRequest { key };
        client_of(call!(self.client_reads, get_client, asker, ADMINISTRATION, message)?.client)
    }

    pub(super) async fn list_clients(
        &self,
        asker: Asker<'_>,
        page: PageRequest,
    ) -> Result<Page<Client>, Failure> {
        let message = rpc::ListClientsRequest { page_size: page.size, page_token: page.token };
        let reply = call!(self.client_reads, list_clients, asker, ADMINISTRATION, message)?;
        let items =
            reply.clients.into_iter().map(|client| client_of(Some(client))).collect::<Result<_, _>>()?;
        Ok(Page { items, next: reply.next_page_token })
    }
}

pub(super) fn authentication(client: &ClientAuthentication) -> Option<rpc::ClientAuthentication> {
    Some(rpc::ClientAuthentication {
        client_id: client.client_id.clone(),
        client_secret: client.client_secret.reveal().to_owned(),
    })
}

pub(super) fn mode(mode: LoginMode) -> rpc::LoginMode {
    match mode {
        LoginMode::Token => rpc::LoginMode::Token,
        LoginMode::Session => rpc::LoginMode::Session,
    }
}

pub(super) fn standing_to(status: Standing) -> rpc::Status {
    match status {
        Standing::Active => rpc::Status::Active,
        Standing::Disabled => rpc::Status::Disabled,
    }
}

fn standing(value: i32) -> Result<Standing, Unavailable> {
    wire::known(PEER, "status", value, |status| match status {
        rpc::Status::Unspecified => None,
        rpc::Status::Active => Some(Standing::Active),
        rpc::Status::Disabled => Some(Standing::Disabled),
    })
}

pub(super) fn user_of(user: Option<rpc::User>) -> Result<User, Failure> {
    let rpc::User { id, username, status, must_change_password, created_at } = wire::set(PEER, "user", user)?;
    let created_at = wire::moment(PEER, "created_at", created_at)?;
    Ok(User { id, username, status: standing(status)?, must_change_password, created_at })
}

pub(super) fn client_of(client: Option<rpc::Client>) -> Result<Client, Failure> {
    let rpc::Client { id, name, status, audiences, scopes, created_at } = wire::set(PEER, "client", client)?;
    let created_at = wire::moment(PEER, "created_at", created_at)?;
    Ok(Client { id, name, status: standing(status)?, audiences, scopes, created_at })
}

pub(super) fn key_of(key: Option<rpc::SigningKey>) -> Result<SigningKey, Failure> {
    let rpc::SigningKey { kid, algorithm, state, moment } = wire::set(PEER, "key", key)?;
    let state = wire::known(PEER, "state", state, |state| match state {
        rpc::KeyState::Unspecified => None,
        rpc::KeyState::Announced => Some(KeyState::Announced),
        rpc::KeyState::Active => Some(KeyState::Active),
        rpc::KeyState::Retiring => Some(KeyState::Retiring),
        rpc::KeyState::Gone => Some(KeyState::Gone),
    })?;
    Ok(SigningKey { kid, algorithm, state, moment: wire::moment(PEER, "moment", moment)? })
}

pub(super) fn tokens_of(tokens: Option<rpc::TokenSet>) -> Result<TokenSet, Failure> {
    let rpc::TokenSet { access_token, expires_in, refresh_token, scope } = wire::set(PEER, "tokens", tokens)?;
    if access_token.is_empty() {
        return Err(Unavailable::new(PEER, "the answer lacks an access token").into());
    }
    Ok(TokenSet {
        access_token: Concealed::new(access_token),
        expires_in: Duration::from_secs(expires_in.into()),
        refresh_token: Some(refresh_token).filter(|token| !token.is_empty()).map(Concealed::new),
        scope,
    })
}

/// Tokens where a proof was asked for, or the reverse, must not be handed on.
pub(super) fn logged_in(asked: LoginMode, user: User, result: LoginResult) -> Result<LoggedIn, Failure> {
    match (asked, &result) {
        (LoginMode::Token, LoginResult::Tokens(_)) | (LoginMode::Session, LoginResult::Proof(_)) => {
            Ok(LoggedIn { user, result })
        }
        _ => Err(Unavailable::new(PEER, "the login was answered in another mode").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> rpc::User {
        rpc::User {
            id: "usr_1".into(),
            username: "alice".into(),
            status: rpc::Status::Active.into(),
            must_change_password: false,
            created_at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        }
    }

    #[test]
    fn a_user_of_unknown_status_is_no_answer() {
        assert_eq!(user_of(Some(user())).unwrap().status, Standing::Active);
        for status in [0, 9] {
            assert!(matches!(user_of(Some(rpc::User { status, ..user() })), Err(Failure::Unavailable(_))));
        }
    }

    #[test]
    fn a_login_answered_in_another_mode_is_no_answer() {
        let user = user_of(Some(user())).unwrap();
        let proof = LoginResult::Proof(Concealed::new("proof"));
        assert!(logged_in(LoginMode::Session, user.clone(), proof.clone()).is_ok());
        assert!(logged_in(LoginMode::Token, user, proof).is_err());
    }

    #[test]
    fn tokens_without_an_access_token_are_no_answer() {
        assert!(tokens_of(Some(rpc::TokenSet::default())).is_err());
        assert!(tokens_of(None).is_err());
    }
}
