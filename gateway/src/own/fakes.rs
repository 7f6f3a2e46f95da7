//! The three services and the guard in memory, for tests of the handlers: they keep what they are told, write down
//! what they are asked, and can be switched off.

mod auth;
mod policy;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use guard::{Principal, Refusal};
use time::OffsetDateTime;
use token::{Epochs, Issued, PrincipalKind, Refused as Bad};

use super::Tokens;
use crate::peers::*;

pub(super) const AT: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
pub(super) const ALICE: &str = "usr_0123456789abcdefghjkmnpqrs";
pub(super) const MALLORY: &str = "usr_zzzzzzzzzzzzzzzzzzzzzzzzzz";

#[derive(Default)]
pub(super) struct World(Mutex<Held>);

#[derive(Default)]
struct Held {
    asked: Vec<String>,
    /// `auth`, or one call such as `session.end_subject`.
    down: BTreeSet<String>,
    /// By username.
    users: BTreeMap<String, (User, String)>,
    /// By secret.
    sessions: BTreeMap<String, Session>,
    permissions: BTreeSet<(String, String)>,
    grants: Vec<Grant>,
    groups: Vec<Group>,
    disabled_clients: BTreeSet<String>,
    /// The next answer of the call of this name.
    refusals: BTreeMap<String, (Reason, Option<Duration>)>,
    /// The call whose next answer is that not everybody has heard of it.
    unheard: BTreeSet<String>,
    next: u32,
    jwks: String,
    renewed: Option<String>,
}

impl World {
    pub(super) fn with_alice() -> Self {
        let world = Self::default();
        world.add("alice", ALICE, "correct horse");
        world.add("mallory", MALLORY, "battery staple");
        world
    }

    pub(super) fn add(&self, name: &str, id: &str, password: &str) {
        let user = User {
            id: id.into(),
            username: name.into(),
            status: Standing::Active,
            must_change_password: false,
            created_at: AT,
        };
        self.0.lock().unwrap().users.insert(name.into(), (user, password.into()));
    }

    pub(super) fn session(&self, secret: &str, id: &str, subject: &str, username: &str) {
        let session = Session {
            id: id.into(),
            subject: subject.into(),
            username: username.into(),
            epoch: 1,
            methods: vec!["pwd".into()],
            authenticated_at: AT,
            created_at: AT,
            last_active_at: AT,
            idle_expires_at: AT + Duration::from_secs(1800),
            absolute_expires_at: AT + Duration::from_secs(43_200),
            user_agent: String::new(),
            client_address: String::new(),
        };
        self.0.lock().unwrap().sessions.insert(secret.into(), session);
    }

    pub(super) fn permit(&self, subject: &str, permission: &str) {
        self.0.lock().unwrap().permissions.insert((subject.into(), permission.into()));
    }

    pub(super) fn grant(&self, id: &str, subject: Subject, role: &str, within: Option<Resource>) {
        self.0.lock().unwrap().grants.push(Grant { id: id.into(), subject, role: role.into(), within });
    }

    pub(super) fn group(&self, name: &str, members: Vec<Subject>) {
        self.0.lock().unwrap().groups.push(Group { name: name.into(), members });
    }

    pub(super) fn disable_client(&self, id: &str) {
        self.0.lock().unwrap().disabled_clients.insert(id.into());
    }

    pub(super) fn switch_off(&self, what: &str) {
        self.0.lock().unwrap().down.insert(what.into());
    }

    pub(super) fn switch_on(&self, what: &str) {
        self.0.lock().unwrap().down.remove(what);
    }

    pub(super) fn refuse(&self, call: &str, reason: Reason, retry_after: Option<Duration>) {
        self.0.lock().unwrap().refusals.insert(call.into(), (reason, retry_after));
    }

    pub(super) fn leave_unheard(&self, call: &str) {
        self.0.lock().unwrap().unheard.insert(call.into());
    }

    pub(super) fn publish(&self, jwks: &str) {
        self.0.lock().unwrap().jwks = jwks.into();
    }

    /// The next sessions that are resolved were presented with a former secret.
    pub(super) fn renew(&self, secret: &str) {
        self.0.lock().unwrap().renewed = Some(secret.into());
    }

    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    pub(super) fn live(&self, secret: &str) -> bool {
        self.0.lock().unwrap().sessions.contains_key(secret)
    }

    pub(super) fn password(&self, name: &str) -> Option<String> {
        self.0.lock().unwrap().users.get(name).map(|(_, password)| password.clone())
    }

    fn ask(&self, peer: &'static str, call: &str, about: &str) -> Result<(), Failure> {
        let mut held = self.0.lock().unwrap();
        let name = format!("{peer}.{call}");
        held.asked.push(format!("{name} {about}").trim().to_owned());
        if held.down.contains(peer) || held.down.contains(&name) {
            return Err(Unavailable::new(peer, "switched off").into());
        }
        if held.unheard.remove(&name) {
            return Err(Failure::NotEverywhere { retry_after: Some(Duration::from_secs(2)) });
        }
        match held.refusals.remove(&name) {
            Some((reason, retry_after)) => Err(refused(reason, retry_after)),
            None => Ok(()),
        }
    }

    fn logged_in(&self, user: User, mode: LoginMode) -> LoggedIn {
        let result = match mode {
            LoginMode::Token => LoginResult::Tokens(tokens(true)),
            LoginMode::Session => LoginResult::Proof(Concealed::new(format!("proof:{}", user.id))),
        };
        LoggedIn { user, result }
    }

    fn by_id(&self, id: &str) -> Result<User, Failure> {
        let held = self.0.lock().unwrap();
        let mut users = held.users.values().map(|(user, _)| user);
        users.find(|user| user.id == id).cloned().ok_or_else(|| refused(Reason::UserNotFound, None))
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut (User, String))) -> Result<User, Failure> {
        let mut held = self.0.lock().unwrap();
        let found = held.users.values_mut().find(|(user, _)| user.id == id);
        let found = found.ok_or_else(|| refused(Reason::UserNotFound, None))?;
        change(found);
        Ok(found.0.clone())
    }
}

fn refused(reason: Reason, retry_after: Option<Duration>) -> Failure {
    Refused { reason, message: "because".into(), retry_after }.into()
}

fn tokens(with_refresh: bool) -> TokenSet {
    TokenSet {
        access_token: Concealed::new("issued.access.token"),
        expires_in: Duration::from_secs(300),
        refresh_token: with_refresh.then(|| Concealed::new("lkr_issued")),
        scope: String::new(),
    }
}

/// Good tokens are `token:<user id>` and `client:<client id>`; `expired:<user id>` was one.
#[async_trait]
impl Tokens for World {
    async fn verify(&self, token: &str, _: OffsetDateTime) -> Result<Principal, Refusal> {
        let principal = |kind, id: &str, family| Principal {
            kind,
            id: id.into(),
            name: if id == ALICE { "alice".into() } else { "somebody".into() },
            client_id: "first-party".into(),
            roles: None,
            session: None,
            family,
            scope: String::new(),
            epochs: Epochs::default(),
            permission_version: 0,
            expires_at: AT + Duration::from_secs(300),
            authenticated_by: vec!["pwd".to_owned()].into(),
        };
        match token.split_once(':') {
            Some(("token", id)) => Ok(principal(PrincipalKind::User, id, Some("fam_1".into()))),
            Some(("client", id)) => Ok(principal(PrincipalKind::Client, id, None)),
            _ if token == "unknowable" => Err(guard::Unavailable::NoKeys.into()),
            Some(("expired", _)) => Err(Bad::Expired.into()),
            _ => Err(Bad::Signature.into()),
        }
    }

    async fn issued(&self, token: &str) -> Result<Issued, Refusal> {
        let token = token.replace("expired:", "token:");
        let Principal { id, client_id, family, expires_at, .. } = self.verify(&token, AT).await?;
        Ok(Issued { token: "tok_1".into(), subject: id, client: client_id, family, expires_at })
    }

    /// What is before four dots at the end; there is no time for `overloaded`.
    async fn open(&self, jwe: &str) -> Result<String, Refusal> {
        match jwe.strip_suffix("....") {
            Some("overloaded") => Err(guard::Unavailable::Overloaded.into()),
            Some(inside) if !inside.is_empty() => Ok(inside.to_owned()),
            _ => Err(Bad::Undecryptable.into()),
        }
    }
}
