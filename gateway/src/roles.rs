//! The roles of now: those that a token carries, unless they changed since it was issued; then policy-service's answer, kept for as
//! long as it holds.

use std::time::Duration;

use feed::driver::watching::Watching;
use feed::watcher::{Fetch, Fetched, FlightId};
use feed::{Credential, Target, Verdict, What};

use crate::layers::identity::Roles;
use crate::peers::{Asker, Policy, Subject};
use crate::problem::{Problem, catalogue};

/// A fetch that was overtaken by a change is made again, this often at most.
const ROUNDS: usize = 3;

/// policy-service's changes, watched.
pub trait RoleChanges: Send + Sync {
    /// Whether the roles that a credential carries are those of now. False also where nobody here knows.
    fn are_current(&self, credential: &Credential) -> bool;
    /// Whether a route that prefers old answers to none may go by the roles that a credential carries: nobody here knows whether they
    /// are those of now, and when the last lease ended, not longer ago than that, they were.
    fn were_current(&self, credential: &Credential, stale_for: Duration) -> bool;
    /// The newest version of roles that was heard of.
    fn version(&self) -> u64;
    /// What is kept of a principal's roles. `None`: there is no lease, so nothing is kept.
    fn fetch(&self, principal: &Target) -> Option<Fetch<Roles>>;
    /// What a fetch brought.
    fn fetched(&self, flight: FlightId, roles: Option<Roles>) -> Fetched;
}

impl RoleChanges for Watching<Roles> {
    fn are_current(&self, credential: &Credential) -> bool {
        self.judge(credential) == Some(Verdict::Live)
    }

    fn were_current(&self, credential: &Credential, stale_for: Duration) -> bool {
        self.judge(credential).is_none()
            && self.may_serve_stale(stale_for)
            && self.judge_stale(credential) == Verdict::Live
    }

    fn version(&self) -> u64 {
        self.roles_version()
    }

    fn fetch(&self, principal: &Target) -> Option<Fetch<Roles>> {
        Watching::fetch(self, principal)
    }

    fn fetched(&self, flight: FlightId, roles: Option<Roles>) -> Fetched {
        Watching::fetched(self, flight, roles)
    }
}

/// From memory under a lease, else from policy-service.
pub async fn of(
    changes: &dyn RoleChanges,
    policy: &dyn Policy,
    asker: Asker<'_>,
    subject: &Subject,
) -> Result<Roles, Problem> {
    let principal = Target::new(What::Principal, subject.id.as_str());
    for _ in 0..ROUNDS {
        let flight = match changes.fetch(&principal) {
            Some(Fetch::Cached(roles)) => return Ok(roles),
            Some(Fetch::Begin { flight, .. }) => Some(Flight { changes, id: Some(flight) }),
            // Another fetches it, or nothing can be kept: what is asked from here on is of now.
            Some(Fetch::Join { .. }) | None => None,
        };
        let known = changes.version();
        let held = policy.subject_roles(asker, subject.clone()).await?;
        let roles = Roles::new(held.roles.into());
        // Older than what was heard of when it was asked for: good for as long as who gave it has the right to, and not to be
        // kept beyond.
        let kept = (held.revision >= known).then(|| roles.clone());
        match flight.map(|flight| flight.landed(kept)) {
            Some(Fetched::Discard) => {}
            Some(Fetched::Use) | None => return Ok(roles),
        }
    }
    Err(catalogue::UNAVAILABLE.into())
}

/// A fetch under way. One that is dropped has brought nothing.
struct Flight<'a> {
    changes: &'a dyn RoleChanges,
    id: Option<FlightId>,
}

impl Flight<'_> {
    fn landed(mut self, roles: Option<Roles>) -> Fetched {
        match self.id.take() {
            Some(id) => self.changes.fetched(id, roles),
            None => Fetched::Discard,
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.changes.fetched(id, None);
        }
    }
}
