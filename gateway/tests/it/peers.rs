//! The services, as far as the proxying path asks them, in memory; and they can be out of order.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use gateway::peers::*;
use time::OffsetDateTime;

pub const AT: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// What the services know.
#[derive(Default)]
pub struct World {
    held: Mutex<Held>,
}

#[derive(Default)]
pub struct Held {
    pub jwks: String,
    /// Public id and subject by secret.
    pub sessions: HashMap<String, (String, String)>,
    /// The former secret and the one that took its place.
    pub rotated: HashMap<String, String>,
    pub roles: HashMap<String, Vec<String>>,
    pub roles_revision: u64,
    /// Subject, permission, resource.
    pub allowed: HashSet<(String, String, String)>,
    pub down: HashSet<&'static str>,
    pub asked: Vec<String>,
}

impl World {
    pub fn with<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        act(&mut self.held.lock().unwrap())
    }

    fn ask(&self, peer: &'static str, what: String) -> Result<(), Unavailable> {
        self.with(|held| {
            held.asked.push(what);
            if held.down.contains(peer) { Err(Unavailable::new(peer, "switched off")) } else { Ok(()) }
        })
    }

    pub fn peers(self: &Arc<Self>) -> Peers {
        let fake = Arc::new(Fake(Arc::clone(self)));
        Peers { auth: fake.clone(), sessions: fake.clone(), policy: fake }
    }
}

struct Fake(Arc<World>);

fn unasked<T>() -> Result<T, Failure> {
    Err(Unavailable::new("fake", "not part of these tests").into())
}

#[async_trait]
impl Sessions for Fake {
    async fn resolve(&self, _: Asker<'_>, secret: &str) -> Result<SessionLookup, Unavailable> {
        self.0.ask("session", "resolve".to_owned())?;
        Ok(self.0.with(|held| {
            let current = held.rotated.get(secret).cloned();
            match held.sessions.get(current.as_deref().unwrap_or(secret)) {
                Some((id, subject)) => SessionLookup::Found {
                    session: Box::new(session(id, subject)),
                    current_secret: current.map(Concealed::new),
                },
                None => SessionLookup::NotFound,
            }
        }))
    }

    async fn create(&self, _: Asker<'_>, _: NewSession) -> Result<(Session, Concealed), Failure> {
        unasked()
    }
    async fn end(&self, _: Asker<'_>, _: &str, _: Option<&str>) -> Result<bool, Failure> {
        unasked()
    }
    async fn end_others(&self, _: Asker<'_>, _: &str) -> Result<u32, Failure> {
        unasked()
    }
    async fn get(&self, _: Asker<'_>, _: &str) -> Result<Session, Failure> {
        unasked()
    }
    async fn list(&self, _: Asker<'_>, _: Option<&str>, _: PageRequest) -> Result<Page<Session>, Failure> {
        unasked()
    }
    async fn end_by_id(&self, _: Asker<'_>, _: &str) -> Result<bool, Failure> {
        unasked()
    }
    async fn end_subject(&self, _: Asker<'_>, _: &str) -> Result<u32, Failure> {
        unasked()
    }
}

fn session(id: &str, subject: &str) -> Session {
    Session {
        id: id.to_owned(),
        subject: subject.to_owned(),
        username: format!("name of {subject}"),
        epoch: 1,
        methods: vec!["pwd".to_owned()],
        authenticated_at: AT,
        created_at: AT,
        last_active_at: AT,
        idle_expires_at: AT + Duration::from_secs(1800),
        absolute_expires_at: AT + Duration::from_secs(43_200),
        user_agent: String::new(),
        client_address: String::new(),
    }
}

#[async_trait]
impl Policy for Fake {
    async fn check(&self, _: Asker<'_>, question: Question) -> Result<Decided, Failure> {
        let resource = question
            .resource
            .map(|resource| format!("{}/{}", resource.kind, resource.id))
            .unwrap_or_default();
        self.0.ask("policy", format!("check {} {resource}", question.permission))?;
        let key = (question.subject.id, question.permission, resource);
        let allowed = self.0.with(|held| held.allowed.contains(&key));
        Ok(Decided { allowed, revision: 1, grants: Vec::new() })
    }

    async fn subject_roles(&self, _: Asker<'_>, subject: Subject) -> Result<SubjectRoles, Unavailable> {
        self.0.ask("policy", "roles".to_owned())?;
        let roles = self.0.with(|held| held.roles.get(&subject.id).cloned().unwrap_or_default());
        let revision = self.0.with(|held| held.roles_revision);
        Ok(SubjectRoles { roles, revision, ..SubjectRoles::default() })
    }

    async fn role(&self, _: Asker<'_>, _: &str) -> Result<Role, Failure> {
        unasked()
    }
    async fn roles(&self, _: Asker<'_>, _: PageRequest) -> Result<Page<Role>, Failure> {
        unasked()
    }
    async fn put_role(&self, _: Asker<'_>, _: String, _: Vec<String>) -> Result<(Role, u64), Failure> {
        unasked()
    }
    async fn delete_role(&self, _: Asker<'_>, _: &str) -> Result<u64, Failure> {
        unasked()
    }
    async fn grants(
        &self,
        _: Asker<'_>,
        _: Option<Subject>,
        _: Option<&str>,
        _: PageRequest,
    ) -> Result<Page<Grant>, Failure> {
        unasked()
    }
    async fn create_grant(
        &self,
        _: Asker<'_>,
        _: Subject,
        _: String,
        _: Option<Resource>,
    ) -> Result<(Grant, u64), Failure> {
        unasked()
    }
    async fn delete_grant(&self, _: Asker<'_>, _: &str) -> Result<u64, Failure> {
        unasked()
    }
    async fn groups(&self, _: Asker<'_>, _: PageRequest) -> Result<Page<Group>, Failure> {
        unasked()
    }
    async fn create_group(&self, _: Asker<'_>, _: String) -> Result<(Group, u64), Failure> {
        unasked()
    }
    async fn delete_group(&self, _: Asker<'_>, _: &str) -> Result<u64, Failure> {
        unasked()
    }
    async fn add_member(&self, _: Asker<'_>, _: &str, _: Subject) -> Result<u64, Failure> {
        unasked()
    }
    async fn remove_member(&self, _: Asker<'_>, _: &str, _: Subject) -> Result<u64, Failure> {
        unasked()
    }
    async fn forget_subject(&self, _: Asker<'_>, _: Subject) -> Result<u64, Failure> {
        unasked()
    }
}

#[async_trait]
impl Auth for Fake {
    async fn key_set(&self, _: Asker<'_>) -> Result<KeySet, Unavailable> {
        self.0.ask("auth", "key_set".to_owned())?;
        Ok(KeySet { jwks: self.0.with(|held| held.jwks.clone()), max_age: Duration::from_secs(300) })
    }

    async fn register(&self, _: Asker<'_>, _: NewUser, _: IpAddr) -> Result<User, Failure> {
        unasked()
    }
    async fn login(&self, _: Asker<'_>, _: Login) -> Result<LoggedIn, Failure> {
        unasked()
    }
    async fn change_password(&self, _: Asker<'_>, _: PasswordChange) -> Result<LoggedIn, Failure> {
        unasked()
    }
    async fn issue_client_token(
        &self,
        _: Asker<'_>,
        _: ClientAuthentication,
        _: String,
        _: String,
    ) -> Result<TokenSet, Failure> {
        unasked()
    }
    async fn refresh(
        &self,
        _: Asker<'_>,
        _: ClientAuthentication,
        _: Concealed,
        _: String,
    ) -> Result<TokenSet, Failure> {
        unasked()
    }
    async fn revoke(&self, _: Asker<'_>, _: ClientAuthentication, _: Concealed) -> Result<(), Failure> {
        unasked()
    }
    async fn end_family(&self, _: Asker<'_>, _: &str, _: &str) -> Result<(), Failure> {
        unasked()
    }
    async fn revoke_token(&self, _: Asker<'_>, _: &str) -> Result<(), Failure> {
        unasked()
    }
    async fn revoke_family(&self, _: Asker<'_>, _: &str) -> Result<(), Failure> {
        unasked()
    }
    async fn introspect(
        &self,
        _: Asker<'_>,
        _: ClientAuthentication,
        _: Concealed,
    ) -> Result<Introspection, Failure> {
        unasked()
    }
    async fn user(&self, _: Asker<'_>, _: Key) -> Result<User, Failure> {
        unasked()
    }
    async fn users(&self, _: Asker<'_>, _: PageRequest) -> Result<Page<User>, Failure> {
        unasked()
    }
    async fn create_user(&self, _: Asker<'_>, _: NewUser, _: bool) -> Result<User, Failure> {
        unasked()
    }
    async fn set_user_status(&self, _: Asker<'_>, _: &str, _: Standing) -> Result<User, Failure> {
        unasked()
    }
    async fn set_password(&self, _: Asker<'_>, _: &str, _: Concealed, _: bool) -> Result<User, Failure> {
        unasked()
    }
    async fn revoke_user_tokens(&self, _: Asker<'_>, _: &str) -> Result<(), Failure> {
        unasked()
    }
    async fn delete_user(&self, _: Asker<'_>, _: &str) -> Result<(), Failure> {
        unasked()
    }
    async fn client(&self, _: Asker<'_>, _: Key) -> Result<Client, Failure> {
        unasked()
    }
    async fn clients(&self, _: Asker<'_>, _: PageRequest) -> Result<Page<Client>, Failure> {
        unasked()
    }
    async fn create_client(
        &self,
        _: Asker<'_>,
        _: String,
        _: Vec<String>,
        _: Vec<String>,
    ) -> Result<(Client, Concealed), Failure> {
        unasked()
    }
    async fn rotate_client_secret(&self, _: Asker<'_>, _: &str) -> Result<(Client, Concealed), Failure> {
        unasked()
    }
    async fn set_client_status(&self, _: Asker<'_>, _: &str, _: Standing) -> Result<Client, Failure> {
        unasked()
    }
    async fn revoke_client_tokens(&self, _: Asker<'_>, _: &str) -> Result<(), Failure> {
        unasked()
    }
    async fn delete_client(&self, _: Asker<'_>, _: &str) -> Result<(), Failure> {
        unasked()
    }
    async fn signing_keys(&self, _: Asker<'_>) -> Result<Vec<SigningKey>, Failure> {
        unasked()
    }
    async fn rotate_key(&self, _: Asker<'_>) -> Result<(SigningKey, OffsetDateTime), Failure> {
        unasked()
    }
    async fn revoke_key(&self, _: Asker<'_>, _: &str) -> Result<(), Failure> {
        unasked()
    }
}
