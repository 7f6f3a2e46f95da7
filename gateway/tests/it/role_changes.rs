//! A role that was given or taken holds with the next request, without a new login.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use feed::watcher::{Fetch, Fetched, FlightId};
use feed::{Credential, Position, Target};
use gateway::layers::identity::Roles;

use super::client::get;
use super::gateway::{ALICE, Gateway};

/// The feed, as the test says; at first there is a lease, and nobody's roles have changed.
#[derive(Default)]
pub struct RoleChanges(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    outdated: bool,
    /// There is no lease: nobody knows whether roles are those of now.
    blind: bool,
    version: u64,
    /// Whether fetches are kept, as under a lease.
    keeps: bool,
    kept: HashMap<String, Roles>,
    flights: HashMap<u64, String>,
    /// So many fetches are overtaken by a change.
    overtaken: usize,
    may_serve_stale: bool,
}

impl gateway::roles::RoleChanges for RoleChanges {
    fn are_current(&self, credential: &Credential) -> bool {
        let roles = credential.roles.as_ref().unwrap();
        assert_eq!((roles.principals.len(), roles.version), (1, 1));
        let heard = self.0.lock().unwrap();
        !heard.blind && !heard.outdated
    }

    fn were_current(&self, _: &Credential, stale_for: Duration) -> bool {
        assert!(!stale_for.is_zero());
        let heard = self.0.lock().unwrap();
        heard.blind && heard.may_serve_stale && !heard.outdated
    }

    fn version(&self) -> u64 {
        self.0.lock().unwrap().version
    }

    fn fetch(&self, principal: &Target) -> Option<Fetch<Roles>> {
        let mut heard = self.0.lock().unwrap();
        if !heard.keeps {
            return None;
        }
        if let Some(roles) = heard.kept.get(&*principal.key) {
            return Some(Fetch::Cached(roles.clone()));
        }
        let flight = heard.flights.len() as u64;
        heard.flights.insert(flight, principal.key.to_string());
        Some(Fetch::Begin { flight: FlightId(flight), at_least: Position::START })
    }

    fn fetched(&self, FlightId(flight): FlightId, roles: Option<Roles>) -> Fetched {
        let mut heard = self.0.lock().unwrap();
        let principal = heard.flights.remove(&flight).unwrap();
        if heard.overtaken > 0 {
            heard.overtaken -= 1;
            return Fetched::Discard;
        }
        if let Some(roles) = roles {
            heard.kept.insert(principal, roles);
        }
        Fetched::Use
    }
}

impl RoleChanges {
    fn set(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.0.lock().unwrap());
    }
}

fn roles_are(gateway: &Gateway, roles: &[&str]) {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    gateway.world.with(|held| held.roles.insert(ALICE.to_owned(), roles));
}

#[tokio::test]
async fn z05_roles_that_changed_since_a_token_was_issued_are_asked_for_and_kept() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    roles_are(&gateway, &["app-admin"]);
    let call = async |path: &'static str| get(gateway.address, path, &[&bearer]).await;
    // The token says editor, and nothing has changed.
    assert_eq!(call("/admin/x").await.status, 403);
    assert_eq!(gateway.asked("roles"), 0);
    gateway.role_changes.set(|heard| (heard.outdated, heard.keeps) = (true, true));
    for _ in 0..3 {
        assert_eq!(call("/admin/x").await.status, 200);
        assert_eq!(call("/token/x").await.status, 200);
        assert_eq!(gateway.upstream.last().header("x-latchkey-roles"), Some("app-admin"));
    }
    assert_eq!(gateway.asked("roles"), 1, "kept until they change again");
    // Who needs no roles asks for none.
    gateway.role_changes.set(|heard| heard.kept.clear());
    assert_eq!(call("/quiet/x").await.status, 200);
    assert_eq!(gateway.asked("roles"), 1);
}

#[tokio::test]
async fn without_a_lease_roles_are_asked_for_with_every_request_and_an_outage_is_503() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    roles_are(&gateway, &["app-admin"]);
    gateway.role_changes.set(|heard| heard.blind = true);
    for _ in 0..3 {
        assert_eq!(get(gateway.address, "/admin/x", &[&bearer]).await.status, 200);
    }
    assert_eq!(gateway.asked("roles"), 3);
    gateway.world.with(|held| held.down.insert("policy"));
    let answer = get(gateway.address, "/admin/x", &[&bearer]).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    // A route that prefers the token's own, as long as it may.
    assert_eq!(get(gateway.address, "/available/x", &[&bearer]).await.status, 503);
    gateway.role_changes.set(|heard| heard.may_serve_stale = true);
    let answer = get(gateway.address, "/available/x", &[&bearer]).await;
    assert_eq!((answer.status, answer.header("x-latchkey-stale")), (200, Some("true")));
    assert_eq!(get(gateway.address, "/admin/x", &[&bearer]).await.status, 503);
    // What changed before the lease ended is known, and is not served.
    gateway.role_changes.set(|heard| heard.outdated = true);
    assert_eq!(get(gateway.address, "/available/x", &[&bearer]).await.status, 503);
}

/// Roles of yesterday are good enough for such a route; a token that was taken back while they were asked for is not.
#[tokio::test]
async fn a_token_with_stale_roles_is_looked_up_again() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    gateway.role_changes.set(|heard| (heard.blind, heard.may_serve_stale) = (true, true));
    gateway.world.with(|held| held.down.insert("policy"));
    assert_eq!(get(gateway.address, "/available/x", &[&bearer]).await.status, 200);
    gateway.endings.ended_after(2);
    assert_eq!(get(gateway.address, "/available/x", &[&bearer]).await.status, 401);
}

/// With a lease, the roles of a token are known to be of yesterday: an outage makes them no better.
#[tokio::test]
async fn roles_that_are_known_to_have_changed_are_never_served_stale() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    gateway.role_changes.set(|heard| (heard.outdated, heard.may_serve_stale) = (true, true));
    gateway.world.with(|held| held.down.insert("policy"));
    assert_eq!(get(gateway.address, "/available/x", &[&bearer]).await.status, 503);
}

/// A replica that has not heard of a change yet, but still has the right to answer.
#[tokio::test]
async fn an_answer_older_than_what_was_heard_is_not_kept() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    roles_are(&gateway, &["app-admin"]);
    gateway.role_changes.set(|heard| (heard.outdated, heard.keeps, heard.version) = (true, true, 7));
    for (revision, asked) in [(6, 2), (7, 3)] {
        gateway.world.with(|held| held.roles_revision = revision);
        for _ in 0..2 {
            assert_eq!(get(gateway.address, "/admin/x", &[&bearer]).await.status, 200);
        }
        assert_eq!(gateway.asked("roles"), asked, "of revision {revision}, and of those before");
    }
}

#[tokio::test]
async fn an_answer_that_a_change_overtook_is_not_used() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    roles_are(&gateway, &["app-admin"]);
    gateway.role_changes.set(|heard| (heard.outdated, heard.keeps, heard.overtaken) = (true, true, 2));
    assert_eq!(get(gateway.address, "/admin/x", &[&bearer]).await.status, 200);
    assert_eq!(gateway.asked("roles"), 3);
    gateway.role_changes.set(|heard| {
        heard.kept.clear();
        heard.overtaken = 1000;
    });
    assert_eq!(get(gateway.address, "/admin/x", &[&bearer]).await.status, 503, "not for ever");
    assert_eq!(gateway.asked("roles"), 6);
}
