//! Whether a request may go on: who asks, whether a browser was meant, and what the one who asks may do.
//!
//! What could not be asked is 503, never 401 or 403: an outage says nothing about the caller (Z01).

use std::sync::Arc;

use guard::Verified;
use http::{HeaderMap, HeaderValue, Method};
use token::PrincipalKind;

use super::last_token::LastToken;
use crate::layers::credential::{Credential, choose};
use crate::layers::cross_site::Sites;
use crate::layers::identity::{Identity, Roles};
use crate::layers::origin::Origin;
use crate::peers::{Asker, Question, Resource, SessionLookup, Subject};
use crate::problem::{Problem, catalogue};
use crate::roles::RoleChanges;
use crate::routing::{Requirement, ResourceId, ResourceTemplate, Route, path};
use crate::state::State;

/// Resource ids are at most so long (policy-service's contract).
const RESOURCE_BYTES: usize = 256;

/// The right to be passed on, and what the application is told. Only this module makes one.
pub(super) struct Permit(Who);

enum Who {
    Nobody,
    /// A token that was remembered with everything that the route needs.
    Remembered(Arc<Verified<Identity>>),
    /// Boxed: the others are moved around with each request.
    Asked(Box<Asked>),
}

/// What neighbours said.
struct Asked {
    believed: Believed,
    /// Those of this moment; None: those of the token.
    roles: Option<Roles>,
    /// The session's secret was rotated a moment ago: the browser is to learn the new one.
    set_cookie: Option<HeaderValue>,
    /// Believed by what was known when the last lease ended.
    token_is_stale: bool,
    /// Its roles are those of that time, whatever is known of the token.
    roles_are_stale: bool,
}

enum Believed {
    Token(Arc<Verified<Identity>>),
    Session(Box<Identity>),
}

impl Believed {
    fn identity(&self) -> &Identity {
        match self {
            Believed::Token(verified) => &verified.prepared,
            Believed::Session(identity) => identity,
        }
    }
}

impl Permit {
    /// Adds the identity headers.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        match &self.0 {
            Who::Nobody => {}
            Who::Remembered(verified) => verified.prepared.write(None, headers),
            Who::Asked(asked) => asked.believed.identity().write(asked.roles.as_ref(), headers),
        }
    }

    /// Whether the route's `stale_for` was made use of.
    pub(super) fn is_stale(&self) -> bool {
        matches!(&self.0, Who::Asked(asked) if asked.token_is_stale || asked.roles_are_stale)
    }

    /// The token that must still hold when the request is sent; none where an old answer is good enough.
    pub(super) fn into_token(self) -> Option<Arc<Verified<Identity>>> {
        match self.0 {
            Who::Remembered(verified) => Some(verified),
            Who::Asked(asked) if asked.token_is_stale => None,
            Who::Asked(asked) => match asked.believed {
                Believed::Token(verified) => Some(verified),
                Believed::Session(_) => None,
            },
            Who::Nobody => None,
        }
    }

    /// A cookie to send with the answer.
    pub(super) fn take_cookie(&mut self) -> Option<HeaderValue> {
        match &mut self.0 {
            Who::Asked(asked) => asked.set_cookie.take(),
            Who::Nobody | Who::Remembered(_) => None,
        }
    }
}

/// What is looked at once more by who had to wait before sending: meanwhile the token may have been taken back.
#[derive(Clone, Copy)]
pub(super) struct Still<'a>(Option<(&'a State, &'a Verified<Identity>)>);

impl<'a> Still<'a> {
    pub(super) fn of(state: &'a State, token: Option<&'a Verified<Identity>>) -> Self {
        Self(token.map(|token| (state, token)))
    }

    pub(super) async fn holds(self) -> Result<(), guard::Refusal> {
        match self.0 {
            Some((state, token)) => state.shared.guard.verify_again(token).await,
            None => Ok(()),
        }
    }
}

/// Why a request does not go on, and who it was, if that was believed.
pub(super) struct Refusal {
    pub(super) problem: Problem,
    pub(super) subject: Option<String>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, subject: None }
    }
}

/// What is asked.
pub(super) struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) path: &'a str,
    pub(super) request_id: &'a str,
}

/// How far a decision got without asking anybody.
pub(super) enum Quick<'a> {
    Decided(Result<Permit, Box<Refusal>>),
    /// Somebody must be asked, with this credential.
    Ask(Credential<'a>),
}

/// What can be decided at once: an open route, a remembered token, a refusal. `reached` is called only for cookies.
pub(super) fn at_once<'a>(
    state: &State,
    last: &LastToken,
    route: &Route,
    request: &Request<'a>,
    reached: impl FnOnce() -> Option<Origin>,
) -> Quick<'a> {
    if route.accept.is_empty() {
        return Quick::Decided(Ok(Permit(Who::Nobody)));
    }
    let shared = &state.shared;
    let credential = match choose(&route.accept, request.headers, &shared.cookies) {
        Ok(credential) => credential,
        Err(problem) => return refused(problem.into()),
    };
    if credential.is_ambient() && Sites::concerns(request.method, request.headers) {
        let reached = reached();
        if let Err(code) = shared.sites.check(request.method, request.headers, reached.as_ref()) {
            return refused(Problem::new(code).into());
        }
    }
    let (Credential::Token(token) | Credential::TokenCookie(token)) = credential else {
        return Quick::Ask(credential);
    };
    let Some(verified) = last.remembered(&shared.guard, token, shared.clock.now()) else {
        return Quick::Ask(credential);
    };
    let roles = verified.prepared.roles();
    match &route.require {
        Requirement::Permission { .. } => Quick::Ask(credential),
        _ if needs_roles(route) && (roles.is_none() || !shared.roles.are_current(verified.credential())) => {
            Quick::Ask(credential)
        }
        Requirement::Role(role) if !roles.is_some_and(|roles| roles.holds(role)) => {
            refused(without_role(role, &verified.principal.id))
        }
        Requirement::Role(_) | Requirement::Nothing => Quick::Decided(Ok(Permit(Who::Remembered(verified)))),
    }
}

fn refused<'a>(refusal: Refusal) -> Quick<'a> {
    Quick::Decided(Err(Box::new(refusal)))
}

/// The rest of the decision, with neighbours.
pub(super) async fn asking(
    state: &State,
    route: &Route,
    request: Request<'_>,
    credential: Credential<'_>,
) -> Result<Permit, Box<Refusal>> {
    let (mut set_cookie, mut token_is_stale, mut roles_are_stale) = (None, false, false);
    let (believed, subject) = match credential {
        Credential::Token(token) | Credential::TokenCookie(token) => {
            let (verified, stale) = verified(state, route, token).await?;
            token_is_stale = stale;
            let id = verified.principal.id.clone();
            let subject = match verified.principal.kind {
                PrincipalKind::User => Subject::user(id),
                PrincipalKind::Client => Subject::client(id),
            };
            (Believed::Token(verified), subject)
        }
        Credential::Session(secret) => {
            let (identity, subject, cookie) = session(state, &request, secret).await?;
            set_cookie = cookie;
            (Believed::Session(Box::new(identity)), subject)
        }
    };
    let mut others_were_asked = false;
    if let Requirement::Permission { permission, resource } = &route.require {
        others_were_asked = true;
        check(state, &request, &subject, permission, resource.as_ref()).await?;
    }
    let mut roles = None;
    if needs_roles(route) && !carries_roles_of_now(state, &believed) {
        others_were_asked = true;
        let asker = Asker::new(request.request_id);
        let changes = &*state.shared.roles;
        match crate::roles::of(changes, &*state.peers.policy, asker, &subject).await {
            Ok(held) => roles = Some(held),
            // Those of the token, if the route prefers them to none.
            Err(_) if carries_roles_of_then(changes, route, &believed) => roles_are_stale = true,
            Err(problem) => return Err(boxed(problem)),
        }
    }
    if let Requirement::Role(role) = &route.require {
        let held = roles.as_ref().or(believed.identity().roles());
        if !held.is_some_and(|roles| roles.holds(role)) {
            return Err(Box::new(without_role(role, &subject.id)));
        }
    }
    if let (Believed::Token(verified), Credential::Token(token) | Credential::TokenCookie(token)) =
        (&believed, credential)
        && others_were_asked
        && !token_is_stale
        && !state.shared.guard.is_live(verified)
    {
        // Meanwhile it was taken back, or the lease ended.
        token_is_stale = self::verified(state, route, token).await?.1;
    }
    Ok(Permit(Who::Asked(Box::new(Asked { believed, roles, set_cookie, token_is_stale, roles_are_stale }))))
}

/// A session never does: it is not issued anew when roles change.
fn carries_roles_of_now(state: &State, believed: &Believed) -> bool {
    match believed {
        Believed::Token(verified) => {
            verified.prepared.roles().is_some() && state.shared.roles.are_current(verified.credential())
        }
        Believed::Session(_) => false,
    }
}

fn carries_roles_of_then(changes: &dyn RoleChanges, route: &Route, believed: &Believed) -> bool {
    let Believed::Token(verified) = believed else { return false };
    !route.stale_for.is_zero()
        && verified.prepared.roles().is_some()
        && changes.were_current(verified.credential(), route.stale_for)
}

/// A token that holds, and whether only by what was known when the last lease ended.
async fn verified(
    state: &State,
    route: &Route,
    token: &str,
) -> Result<(Arc<Verified<Identity>>, bool), Box<Refusal>> {
    let (guard, now) = (&state.shared.guard, state.shared.clock.now());
    let verified = match guard.verify(token, now).await {
        Err(guard::Refusal::Unavailable(guard::Unavailable::NoLease)) if !route.stale_for.is_zero() => {
            guard.verify_stale(token, now, route.stale_for).await.map(|verified| (verified, true))
        }
        verified => verified.map(|verified| (verified, false)),
    };
    verified.map_err(|no| boxed(no.into()))
}

async fn session(
    state: &State,
    request: &Request<'_>,
    secret: &str,
) -> Result<(Identity, Subject, Option<HeaderValue>), Box<Refusal>> {
    let asker = Asker::new(request.request_id);
    let looked_up = state.peers.sessions.resolve(asker, secret).await.map_err(|no| boxed(no.into()))?;
    let SessionLookup::Found { session, current_secret } = looked_up else {
        return Err(boxed(catalogue::SESSION_INVALID.into()));
    };
    let identity = Identity::new("user", &session.subject, &session.username, Some(&session.id), None);
    let set_cookie = current_secret.and_then(|secret| state.shared.cookies.set_session(secret.reveal()));
    Ok((identity, Subject::user(session.subject), set_cookie))
}

async fn check(
    state: &State,
    request: &Request<'_>,
    subject: &Subject,
    permission: &str,
    resource: Option<&ResourceTemplate>,
) -> Result<(), Box<Refusal>> {
    let question = Question {
        subject: subject.clone(),
        permission: permission.to_owned(),
        resource: resource.map(|template| of_path(template, request.path)).transpose().map_err(boxed)?,
    };
    let decided = state.peers.policy.check(Asker::new(request.request_id), question).await;
    if decided.map_err(|no| boxed(no.into()))?.allowed {
        return Ok(());
    }
    let problem = Problem::new(catalogue::PERMISSION_DENIED).detail(format!("This needs {permission}."));
    Err(Box::new(Refusal { problem, subject: Some(subject.id.clone()) }))
}

/// The resource that a path is about.
fn of_path(template: &ResourceTemplate, path: &str) -> Result<Resource, Problem> {
    let id = match &template.id {
        ResourceId::Fixed(id) => id.clone(),
        ResourceId::Segment(index) => {
            path::decode(path::segment(path, *index).unwrap_or_default()).into_owned()
        }
    };
    if id.is_empty() || id.len() > RESOURCE_BYTES {
        return Err(
            Problem::new(catalogue::RESOURCE_INVALID).detail("The id in the path is longer than 256 bytes.")
        );
    }
    Ok(Resource { kind: template.kind.clone(), id })
}

/// Whether somebody must be told the roles.
fn needs_roles(route: &Route) -> bool {
    route.identity || matches!(route.require, Requirement::Role(_))
}

fn without_role(role: &str, subject: &str) -> Refusal {
    let problem = Problem::new(catalogue::ROLE_REQUIRED).detail(format!("This needs the role {role}."));
    Refusal { problem, subject: Some(subject.to_owned()) }
}

fn boxed(problem: Problem) -> Box<Refusal> {
    Box::new(problem.into())
}
