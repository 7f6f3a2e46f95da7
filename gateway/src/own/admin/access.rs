//! Who may administer what. A handler that takes an [`Admin`] cannot run without it.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use http::request::Parts;
use token::PrincipalKind;

use crate::layers::caller::RequestId;
use crate::layers::credential::authorization;
use crate::own::Own;
use crate::own::credential::caller;
use crate::peers::{Asker, Question, Subject};
use crate::problem::{Problem, catalogue};

/// A part of administration, and the permission that it needs.
pub(super) trait Area: Send + Sync {
    const PERMISSION: &'static str;
}

macro_rules! areas {
    ($($name:ident $permission:literal)*) => {
        $(
            pub(super) struct $name;

            impl Area for $name {
                const PERMISSION: &'static str = $permission;
            }
        )*
    };
}

areas! {
    Users "latchkey:users"
    Clients "latchkey:clients"
    Roles "latchkey:roles"
    Sessions "latchkey:sessions"
    Tokens "latchkey:tokens"
    Keys "latchkey:keys"
    Check "latchkey:check"
}

/// A principal that holds the area's permission at this moment.
pub(super) struct Admin<A> {
    actor: String,
    request_id: RequestId,
    area: PhantomData<A>,
}

impl<A> Admin<A> {
    pub(super) fn asker(&self) -> Asker<'_> {
        Asker::acting(self.request_id.as_str(), &self.actor)
    }
}

impl<A: Area> FromRequestParts<Own> for Admin<A> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, own: &Own) -> Result<Self, Problem> {
        // No cookies here: the listener is for programs and operators, and so has no cross-site rule to forget.
        let token = authorization(&parts.headers)?.ok_or(catalogue::CREDENTIAL_MISSING)?;
        let request_id = caller(parts)?.request_id.clone();
        let principal = own.tokens.verify(token, own.clock.now()).await?;
        let subject = match principal.kind {
            PrincipalKind::User => Subject::user(principal.id.clone()),
            PrincipalKind::Client => Subject::client(principal.id.clone()),
        };
        let question = Question { subject, permission: A::PERMISSION.to_owned(), resource: None };
        // A question of ours that it does not understand says nothing about the caller either.
        let asker = Asker::new(request_id.as_str());
        let decided = own.peers.policy.check(asker, question).await.map_err(|no| no.outage("policy"))?;
        if !decided.allowed {
            return Err(Problem::new(catalogue::PERMISSION_DENIED)
                .detail(format!("needs `{}`", A::PERMISSION))
                .principal(principal.id));
        }
        Ok(Self { actor: principal.id, request_id, area: PhantomData })
    }
}
