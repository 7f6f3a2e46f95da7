//! The guard in front of a service: for anything that is a [`tower_service::Service`] of HTTP requests, which is what axum's
//! routers and tonic's servers are.

mod bearer;
mod checks;
mod denied;
mod layer;

use std::{any::Any, fmt, sync::Arc};

use http::HeaderMap;
use time::OffsetDateTime;

pub use self::{
    bearer::{NoBearer, bearer},
    checks::{CheckFailed, Checks, Question},
    denied::Denied,
    layer::{GuardLayer, GuardService},
};
use crate::{Principal, Refusal, TokenGuard};

/// Where a guard reads the time (UTC).
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// Believes access tokens, and says whose they are. Clones are the same guard.
#[derive(Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    tokens: Arc<TokenGuard<Arc<Principal>>>,
    checks: Arc<dyn Checks>,
    clock: Clock,
    /// What must live as long as somebody asks.
    #[cfg_attr(not(feature = "connect"), expect(dead_code, reason = "only a connection is looked at again"))]
    source: Box<dyn Any + Send + Sync>,
}

impl Guard {
    /// Of parts, for who has other ways to auth-service than `Guard::connect`. [`TokenGuard::refresh_keys_loop`] must run
    /// beside it, and `tokens` must have been made with [`Guard::prepare`]. `source` is dropped with the guard's last clone.
    pub fn new(
        tokens: Arc<TokenGuard<Arc<Principal>>>,
        checks: Arc<dyn Checks>,
        clock: Clock,
        source: impl Any + Send + Sync,
    ) -> Self {
        Self { inner: Arc::new(Inner { tokens, checks, clock, source: Box::new(source) }) }
    }

    /// What services are told of a principal: everything but the token's roles, which may have changed since it was issued
    /// and say nothing about a resource. What somebody may do is asked ([`Guard::check`]).
    pub fn prepare(principal: &Principal) -> Arc<Principal> {
        Arc::new(Principal { roles: None, ..principal.clone() })
    }

    /// In front of a service. What is behind it finds an `Arc<Principal>` in the request's extensions.
    pub fn layer(&self) -> GuardLayer {
        GuardLayer::new(self.clone())
    }

    /// Who a request acts for, by its `Authorization` header.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>, Denied> {
        Ok(self.verify(bearer(headers)?).await?)
    }

    /// Whose an access token is. From memory, unless it is new, or there is no lease and auth-service must be asked.
    pub async fn verify(&self, token: &str) -> Result<Arc<Principal>, Refusal> {
        let Inner { tokens, clock, .. } = &*self.inner;
        let now = clock();
        let verified = match tokens.remembered(token, now) {
            Some(verified) => verified,
            None => tokens.verify(token, now).await?,
        };
        Ok(Arc::clone(&verified.prepared))
    }

    /// Whether `principal` may do `permission` (`document:read`), on `resource` (kind and id) or, without one, everywhere.
    /// Asks policy-service each time.
    pub async fn check(
        &self,
        principal: &Principal,
        permission: &str,
        resource: Option<(&str, &str)>,
    ) -> Result<bool, CheckFailed> {
        let Principal { kind, id, .. } = principal;
        self.inner.checks.check(Question { kind: *kind, id, permission, resource }).await
    }

    /// The tokens that it remembers, and what it has counted.
    pub fn tokens(&self) -> &TokenGuard<Arc<Principal>> {
        &self.inner.tokens
    }

    #[cfg(feature = "connect")]
    pub(crate) fn source<S: Any>(&self) -> Option<&S> {
        self.inner.source.downcast_ref()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { tokens, checks: _, clock: _, source: _ } = &*self.inner;
        f.debug_struct("Guard").field("counts", &tokens.counts()).finish_non_exhaustive()
    }
}
