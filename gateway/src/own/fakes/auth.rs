//! auth-service.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

use super::{ALICE, AT, World, refused, tokens};
use crate::peers::*;

#[async_trait]
impl Auth for World {
    async fn register(&self, _: Asker<'_>, user: NewUser, _: IpAddr) -> Result<User, Failure> {
        self.ask("auth", "register", &user.username)?;
        self.add(&user.username, "usr_new", user.password.reveal());
        self.by_id("usr_new")
    }

    async fn login(&self, _: Asker<'_>, login: Login) -> Result<LoggedIn, Failure> {
        self.ask("auth", "login", &login.identifier)?;
        let held = self.0.lock().unwrap();
        match held.users.get(&login.identifier) {
            Some((user, password)) if password == login.password.reveal() => {
                let user = user.clone();
                drop(held);
                Ok(self.logged_in(user, login.mode))
            }
            _ => Err(refused(Reason::InvalidCredentials, None)),
        }
    }

    async fn change_password(&self, _: Asker<'_>, change: PasswordChange) -> Result<LoggedIn, Failure> {
        self.ask("auth", "change_password", &change.identifier)?;
        let mut held = self.0.lock().unwrap();
        match held.users.get_mut(&change.identifier) {
            Some((user, password)) if password == change.current.reveal() => {
                *password = change.new.reveal().to_owned();
                let user = user.clone();
                drop(held);
                Ok(self.logged_in(user, change.mode))
            }
            _ => Err(refused(Reason::InvalidCredentials, None)),
        }
    }

    async fn issue_client_token(
        &self,
        _: Asker<'_>,
        client: ClientAuthentication,
        scope: String,
        audience: String,
    ) -> Result<TokenSet, Failure> {
        self.ask("auth", "issue_client_token", &format!("{} {scope} {audience}", client.client_id))?;
        Ok(tokens(false))
    }

    async fn refresh(
        &self,
        _: Asker<'_>,
        client: ClientAuthentication,
        refresh_token: Concealed,
        _: String,
    ) -> Result<TokenSet, Failure> {
        self.ask("auth", "refresh", &client.client_id)?;
        match refresh_token.reveal() {
            "lkr_good" => Ok(tokens(true)),
            _ => Err(refused(Reason::InvalidGrant, None)),
        }
    }

    async fn revoke(&self, _: Asker<'_>, client: ClientAuthentication, _: Concealed) -> Result<(), Failure> {
        self.ask("auth", "revoke", &client.client_id)
    }

    async fn end_family(&self, _: Asker<'_>, family: &str, subject: &str) -> Result<(), Failure> {
        self.ask("auth", "end_family", &format!("{family} {subject}"))
    }

    async fn revoke_token(&self, asker: Asker<'_>, jti: &str) -> Result<(), Failure> {
        let actor = asker.actor.unwrap_or("nobody");
        self.ask("auth", "revoke_token", &format!("{jti} by {actor}"))
    }

    async fn revoke_family(&self, asker: Asker<'_>, family: &str) -> Result<(), Failure> {
        let actor = asker.actor.unwrap_or("nobody");
        self.ask("auth", "revoke_family", &format!("{family} by {actor}"))?;
        if family == "fam_1" { Ok(()) } else { Err(refused(Reason::FamilyNotFound, None)) }
    }

    async fn introspect(
        &self,
        _: Asker<'_>,
        client: ClientAuthentication,
        token: Concealed,
    ) -> Result<Introspection, Failure> {
        self.ask("auth", "introspect", &client.client_id)?;
        Ok(match token.reveal() {
            "known" => Introspection::Active(ActiveToken {
                subject: ALICE.into(),
                client_id: "cli_1".into(),
                scope: String::new(),
                audience: "orders".into(),
                issuer: "https://app.example".into(),
                token_type: "Bearer".into(),
                jti: "j".into(),
                expires_at: Some(AT + Duration::from_secs(300)),
                issued_at: Some(AT),
            }),
            _ => Introspection::Inactive,
        })
    }

    async fn key_set(&self, _: Asker<'_>) -> Result<KeySet, Unavailable> {
        match self.ask("auth", "key_set", "") {
            Err(Failure::Unavailable(unavailable)) => Err(unavailable),
            _ => {
                let jwks = self.0.lock().unwrap().jwks.clone();
                Ok(KeySet { jwks, max_age: Duration::from_secs(300) })
            }
        }
    }

    async fn user(&self, _: Asker<'_>, key: Key) -> Result<User, Failure> {
        self.ask("auth", "user", "")?;
        match key {
            Key::Id(id) => self.by_id(&id),
            Key::Name(name) => {
                let held = self.0.lock().unwrap();
                held.users
                    .get(&name)
                    .map(|(user, _)| user.clone())
                    .ok_or_else(|| refused(Reason::UserNotFound, None))
            }
        }
    }

    async fn users(&self, asker: Asker<'_>, page: PageRequest) -> Result<Page<User>, Failure> {
        let about = format!("by {} {} {}", asker.actor.unwrap_or("nobody"), page.size, page.token);
        self.ask("auth", "users", &about)?;
        let held = self.0.lock().unwrap();
        Ok(Page { items: held.users.values().map(|(user, _)| user.clone()).collect(), next: "more".into() })
    }

    async fn create_user(&self, _: Asker<'_>, user: NewUser, must: bool) -> Result<User, Failure> {
        self.ask("auth", "create_user", &format!("{} {must}", user.username))?;
        self.add(&user.username, "usr_new", user.password.reveal());
        self.by_id("usr_new")
    }

    async fn set_user_status(&self, asker: Asker<'_>, id: &str, status: Standing) -> Result<User, Failure> {
        let actor = asker.actor.unwrap_or("nobody");
        self.ask("auth", "set_user_status", &format!("{id} {status:?} by {actor}"))?;
        self.change(id, |(user, _)| user.status = status)
    }

    async fn set_password(
        &self,
        _: Asker<'_>,
        id: &str,
        new: Concealed,
        must: bool,
    ) -> Result<User, Failure> {
        self.ask("auth", "set_password", id)?;
        self.change(id, |(user, password)| {
            *password = new.reveal().to_owned();
            user.must_change_password = must;
        })
    }

    async fn revoke_user_tokens(&self, _: Asker<'_>, id: &str) -> Result<(), Failure> {
        self.ask("auth", "revoke_user_tokens", id)
    }

    async fn delete_user(&self, _: Asker<'_>, id: &str) -> Result<(), Failure> {
        self.ask("auth", "delete_user", id)?;
        self.0.lock().unwrap().users.retain(|_, (user, _)| user.id != id);
        Ok(())
    }

    async fn client(&self, _: Asker<'_>, key: Key) -> Result<Client, Failure> {
        self.ask("auth", "client", "")?;
        let (Key::Id(name) | Key::Name(name)) = key;
        let client = client(name.strip_prefix("cli_").unwrap_or(&name));
        let disabled = self.0.lock().unwrap().disabled_clients.contains(&client.id);
        Ok(Client { status: if disabled { Standing::Disabled } else { Standing::Active }, ..client })
    }

    async fn clients(&self, _: Asker<'_>, _: PageRequest) -> Result<Page<Client>, Failure> {
        self.ask("auth", "clients", "")?;
        Ok(Page { items: vec![client("shop")], next: String::new() })
    }

    async fn create_client(
        &self,
        _: Asker<'_>,
        name: String,
        audiences: Vec<String>,
        _: Vec<String>,
    ) -> Result<(Client, Concealed), Failure> {
        self.ask("auth", "create_client", &format!("{name} {audiences:?}"))?;
        Ok((client(&name), Concealed::new("lks_new")))
    }

    async fn rotate_client_secret(&self, _: Asker<'_>, id: &str) -> Result<(Client, Concealed), Failure> {
        self.ask("auth", "rotate_client_secret", id)?;
        Ok((client("shop"), Concealed::new("lks_new")))
    }

    async fn set_client_status(&self, _: Asker<'_>, id: &str, status: Standing) -> Result<Client, Failure> {
        self.ask("auth", "set_client_status", &format!("{id} {status:?}"))?;
        Ok(Client { status, ..client("shop") })
    }

    async fn revoke_client_tokens(&self, _: Asker<'_>, id: &str) -> Result<(), Failure> {
        self.ask("auth", "revoke_client_tokens", id)
    }

    async fn delete_client(&self, _: Asker<'_>, id: &str) -> Result<(), Failure> {
        self.ask("auth", "delete_client", id)
    }

    async fn signing_keys(&self, _: Asker<'_>) -> Result<Vec<SigningKey>, Failure> {
        self.ask("auth", "signing_keys", "")?;
        Ok(vec![key("k1", KeyState::Active)])
    }

    async fn rotate_key(&self, _: Asker<'_>) -> Result<(SigningKey, time::OffsetDateTime), Failure> {
        self.ask("auth", "rotate_key", "")?;
        Ok((key("k2", KeyState::Announced), AT + Duration::from_secs(3_600)))
    }

    async fn revoke_key(&self, _: Asker<'_>, kid: &str) -> Result<(), Failure> {
        self.ask("auth", "revoke_key", kid)?;
        if kid == "k1" { Ok(()) } else { Err(refused(Reason::KeyNotFound, None)) }
    }
}

fn key(kid: &str, state: KeyState) -> SigningKey {
    SigningKey { kid: kid.into(), algorithm: "ES256".into(), state, moment: AT }
}

fn client(name: &str) -> Client {
    Client {
        id: format!("cli_{name}"),
        name: name.into(),
        status: Standing::Active,
        audiences: vec!["orders".into()],
        scopes: Vec::new(),
        created_at: AT,
    }
}
