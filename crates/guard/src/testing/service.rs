//! auth-service and policy-service, as far as a guard sees them.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use feed::{Change, Credential, Entry, Position, Tag, Target, Verdict, Wall, What};
use time::OffsetDateTime;

use crate::{CheckFailed, Checks, Endings, FetchedKeys, KeySource, Question, SourceUnavailable};

/// A key set that never changes.
pub(super) struct Keys(pub(super) String);

#[async_trait]
impl KeySource for Keys {
    async fn fetch(&self) -> Result<FetchedKeys, SourceUnavailable> {
        Ok(FetchedKeys { jwks: self.0.clone(), max_age: Duration::from_secs(300) })
    }
}

pub(super) struct Service {
    state: Mutex<State>,
}

struct State {
    now: OffsetDateTime,
    is_reachable: bool,
    endings: feed::Endings,
    ended: u64,
    allowed: HashSet<Allowed>,
}

/// Principal, permission, resource.
type Allowed = (String, String, Option<(String, String)>);

impl Service {
    pub(super) fn new(now: OffsetDateTime) -> Self {
        let state = State {
            now,
            is_reachable: true,
            endings: feed::Endings::default(),
            ended: 0,
            allowed: HashSet::new(),
        };
        Self { state: Mutex::new(state) }
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        self.state().now
    }

    pub(super) fn advance(&self, by: Duration) {
        self.state().now += by;
    }

    pub(super) fn set_reachable(&self, is_reachable: bool) {
        self.state().is_reachable = is_reachable;
    }

    pub(super) fn end(&self, jti: &str) {
        let mut state = self.state();
        state.ended += 1;
        let change = Change {
            target: Target::new(What::Token, jti),
            min: None,
            except: None,
            until: Wall::from_unix_millis(u64::MAX),
        };
        let position = Position { number: state.ended, tag: Tag(0) };
        state.endings.remember(&Entry { position, change });
    }

    pub(super) fn allow(&self, principal: &str, permission: &str, resource: Option<(&str, &str)>) {
        self.state().allowed.insert(allowed(principal, permission, resource));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Endings for Service {
    fn judge(&self, credential: &Credential) -> Option<Verdict> {
        let state = self.state();
        state.is_reachable.then(|| state.endings.judge(credential))
    }

    async fn ask(&self, credential: &Credential) -> Result<Verdict, SourceUnavailable> {
        self.judge(credential).ok_or_else(|| SourceUnavailable::new("the test cut the guard off"))
    }

    fn judge_stale(&self, _: &Credential, _: Duration) -> Option<Verdict> {
        None
    }
}

#[async_trait]
impl Checks for Service {
    async fn check(&self, question: Question<'_>) -> Result<bool, CheckFailed> {
        let Question { kind: _, id, permission, resource } = question;
        let state = self.state();
        if !state.is_reachable {
            return Err(CheckFailed::Unavailable("the test cut the guard off".to_owned()));
        }
        let everywhere = state.allowed.contains(&allowed(id, permission, None));
        Ok(everywhere || state.allowed.contains(&allowed(id, permission, resource)))
    }
}

fn allowed(principal: &str, permission: &str, resource: Option<(&str, &str)>) -> Allowed {
    let resource = resource.map(|(kind, id)| (kind.to_owned(), id.to_owned()));
    (principal.to_owned(), permission.to_owned(), resource)
}
