//! One suite for every adapter of the store: what `store.rs` promises, scenario by scenario.

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::SystemClock;
use chassis::config::Shutdown;
use chassis::entropy::TestEntropy;
use chassis::lifecycle::Lifecycle;
use feed::log::{Log, postgres::PostgresLog};
use policy_service::domain::{
    Decision, GrantFilter, Page, PageSize, Principal, Revision, Slice, Subject, decide,
};
use policy_service::store::postgres::{PostgresSettings, PostgresStore};
use policy_service::store::sqlite::{SqliteSettings, SqliteStore};
use policy_service::store::{Entries, GrantCreated, GroupCreated, MemberAdded, RoleDeleted, RolePut, Store};
use servers::{Postgres, Sync};
use tempfile::TempDir;

use crate::names::{client, grant, grant_id, group, group_subject, question, role, role_name, user};

/// A fresh store, and where it lives until the test is over.
pub struct Fresh {
    pub store: Arc<dyn Store>,
    /// The feed's log beside it.
    pub log: Arc<dyn Log>,
    _place: Place,
}

#[expect(dead_code, reason = "held until the test is over")]
enum Place {
    Folder(TempDir),
    Server(Postgres),
}

pub fn settings(folder: &TempDir) -> SqliteSettings {
    SqliteSettings {
        path: folder.path().join("policy.sqlite"),
        readers: 4,
        // Generous: a loaded test machine is not what is tested.
        read_wait: Duration::from_secs(30),
        write_wait: Duration::from_secs(30),
    }
}

pub fn entries() -> Entries {
    let longest_token = Duration::from_secs(300);
    Entries { clock: SystemClock::shared(), entropy: Arc::new(TestEntropy::new(7)), longest_token }
}

pub async fn sqlite() -> Fresh {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(SqliteStore::open(&settings(&folder), entries()).await.unwrap());
    let log = Arc::new(store.log());
    Fresh { store, log, _place: Place::Folder(folder) }
}

pub fn schema_on(server: &Postgres) -> PostgresSettings {
    PostgresSettings {
        server: server.url().parse().unwrap(),
        password_file: None,
        tls_files: Vec::new(),
        schema: "policy".to_owned(),
        connections: 8,
        timeout: Duration::from_secs(30),
    }
}

pub async fn postgres() -> Fresh {
    let server = Postgres::start(Sync::Off);
    let settings = schema_on(&server);
    let store = Arc::new(migrated(&settings).await);
    let log = Arc::new(PostgresLog::new(chassis::postgres::apart(&settings).unwrap()()));
    Fresh { store, log, _place: Place::Server(server) }
}

pub async fn migrated(settings: &PostgresSettings) -> PostgresStore {
    PostgresStore::migrate(settings).await.unwrap();
    let lifecycle = Lifecycle::new(Shutdown::default());
    PostgresStore::open(settings, entries(), &lifecycle.readiness("store")).await.unwrap()
}

/// Runs each scenario on each adapter.
macro_rules! on_every_adapter {
    ($($scenario:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $scenario() {
                let fresh = $crate::conformance::sqlite().await;
                super::$scenario(fresh.store.clone()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $scenario() {
                let fresh = $crate::conformance::postgres().await;
                super::$scenario(fresh.store.clone()).await;
            })*
        }
    };
}
pub(crate) use on_every_adapter;

on_every_adapter! {
    a_new_store_holds_the_built_in_role_at_revision_one
    the_built_in_role_is_neither_changed_nor_deleted
    putting_a_role_creates_it_then_replaces_its_permissions
    a_grant_is_made_once_for_each_subject_role_and_place
    a_grant_needs_its_role_and_its_group
    deleting_a_role_takes_its_grants_with_it
    a_deleted_grant_allows_no_more
    a_batch_is_answered_in_order_under_one_revision
    holdings_name_every_grant_and_every_role
}

pub async fn allowed(store: &dyn Store, principal: Principal, permission: &str, at: Option<&str>) -> bool {
    let question = question(principal, permission, at);
    let held = store.holdings_for(std::slice::from_ref(&question)).await.unwrap();
    decide(&held.value[0], &question.permission, question.resource.as_ref()) != Decision::Deny
}

pub async fn revision(store: &dyn Store) -> Revision {
    store.holdings_for(&[]).await.unwrap().revision
}

pub async fn put(store: &dyn Store, name: &str, permissions: &[&str]) -> Revision {
    match store.put_role(&role(name, permissions)).await.unwrap() {
        RolePut::Put(revision) => revision,
        RolePut::BuiltIn => panic!("{name} is built in"),
    }
}

pub async fn held(
    store: &dyn Store,
    number: u32,
    subject: impl Into<Subject>,
    role: &str,
    within: Option<&str>,
) {
    let created = store.create_grant(&grant(number, subject, role, within)).await.unwrap();
    assert!(matches!(created, GrantCreated::Held(_)), "{created:?}");
}

pub async fn grouped(store: &dyn Store, names: &[&str]) {
    for name in names {
        assert!(matches!(store.create_group(&group(name)).await.unwrap(), GroupCreated::Created(_)));
    }
}

pub async fn joined(store: &dyn Store, name: &str, member: impl Into<Subject>) {
    let added = store.add_group_member(&group(name), &member.into()).await.unwrap();
    assert!(matches!(added, MemberAdded::Member(_)), "{added:?}");
}

pub fn first<K>(size: u32) -> Page<K> {
    Page { after: None, size: PageSize::parse(size).unwrap() }
}

async fn a_new_store_holds_the_built_in_role_at_revision_one(store: Arc<dyn Store>) {
    assert_eq!(revision(&*store).await, Revision(1));
    let admin = store.role(&role_name("latchkey-admin")).await.unwrap().unwrap();
    assert!(admin.built_in);
    assert_eq!(admin.permissions, role("any", &["latchkey:*"]).permissions);
    assert_eq!(store.roles(&first(10)).await.unwrap(), Slice { entries: vec![admin], more: false });
    assert!(!allowed(&*store, user(1), "latchkey:evaluate", None).await);
    held(&*store, 1, user(1), "latchkey-admin", None).await;
    assert!(allowed(&*store, user(1), "latchkey:evaluate", None).await);
}

async fn the_built_in_role_is_neither_changed_nor_deleted(store: Arc<dyn Store>) {
    held(&*store, 1, user(1), "latchkey-admin", None).await;
    let before = revision(&*store).await;
    assert_eq!(store.put_role(&role("latchkey-admin", &["document:read"])).await.unwrap(), RolePut::BuiltIn);
    assert_eq!(store.delete_role(&role_name("latchkey-admin")).await.unwrap(), RoleDeleted::BuiltIn);
    assert_eq!(revision(&*store).await, before);
    assert!(allowed(&*store, user(1), "latchkey:evaluate", None).await);
}

async fn putting_a_role_creates_it_then_replaces_its_permissions(store: Arc<dyn Store>) {
    assert_eq!(store.role(&role_name("editor")).await.unwrap(), None);
    assert_eq!(put(&*store, "editor", &["document:read", "folder:*"]).await, Revision(2));
    held(&*store, 1, user(1), "editor", None).await;
    assert!(allowed(&*store, user(1), "document:read", None).await);
    assert!(allowed(&*store, user(1), "folder:delete", None).await);

    assert_eq!(put(&*store, "editor", &["document:write"]).await, Revision(4));
    assert!(!allowed(&*store, user(1), "document:read", None).await);
    assert!(!allowed(&*store, user(1), "folder:delete", None).await);
    assert!(allowed(&*store, user(1), "document:write", None).await);
    assert_eq!(store.role(&role_name("editor")).await.unwrap(), Some(role("editor", &["document:write"])));

    // Nothing changes, so nothing is later than before.
    assert_eq!(put(&*store, "editor", &["document:write"]).await, Revision(4));
    assert_eq!(put(&*store, "editor", &[]).await, Revision(5));
    assert_eq!(put(&*store, "editor", &[]).await, Revision(5));
}

async fn a_grant_is_made_once_for_each_subject_role_and_place(store: Arc<dyn Store>) {
    put(&*store, "editor", &["document:write"]).await;
    put(&*store, "reader", &["document:read"]).await;
    let made = store.create_grant(&grant(1, user(1), "editor", Some("document/42"))).await.unwrap();
    let GrantCreated::Held(made) = made else { panic!("{made:?}") };
    assert_eq!((made.value.id.clone(), made.revision), (grant_id(1), Revision(4)));

    // The same again is answered with the grant that is there.
    let again = store.create_grant(&grant(2, user(1), "editor", Some("document/42"))).await.unwrap();
    assert_eq!(again, GrantCreated::Held(made));

    // Any difference makes another grant.
    for (number, other) in [
        grant(3, user(1), "editor", None),
        grant(4, user(1), "editor", Some("document/43")),
        grant(5, user(1), "editor", Some("folder/42")),
        grant(6, user(1), "reader", Some("document/42")),
        grant(7, user(2), "editor", Some("document/42")),
        grant(8, client(1), "editor", Some("document/42")),
    ]
    .into_iter()
    .enumerate()
    {
        let made = store.create_grant(&other).await.unwrap();
        let GrantCreated::Held(made) = made else { panic!("{made:?}") };
        assert_eq!((made.value, made.revision), (other, Revision(5 + number as u64)));
    }

    for (permission, at, expected) in [
        ("document:write", Some("document/42"), true),
        ("document:write", Some("document/44"), true),
        ("document:read", Some("document/42"), true),
        ("document:read", Some("document/43"), false),
        ("document:read", None, false),
    ] {
        assert_eq!(allowed(&*store, user(1), permission, at).await, expected, "{permission} {at:?}");
    }
    assert!(!allowed(&*store, user(2), "document:write", None).await);
    assert!(!allowed(&*store, user(2), "document:write", Some("document/43")).await);
    assert!(allowed(&*store, client(1), "document:write", Some("document/42")).await);
    assert!(!allowed(&*store, client(2), "document:write", Some("document/42")).await);
}

async fn a_grant_needs_its_role_and_its_group(store: Arc<dyn Store>) {
    let before = revision(&*store).await;
    let missing = store.create_grant(&grant(1, user(1), "editor", None)).await.unwrap();
    assert_eq!(missing, GrantCreated::RoleNotFound);
    let missing =
        store.create_grant(&grant(1, group_subject("staff"), "latchkey-admin", None)).await.unwrap();
    assert_eq!(missing, GrantCreated::GroupNotFound);
    assert_eq!(revision(&*store).await, before);
}

async fn deleting_a_role_takes_its_grants_with_it(store: Arc<dyn Store>) {
    put(&*store, "editor", &["document:write"]).await;
    put(&*store, "reader", &["document:read"]).await;
    held(&*store, 1, user(1), "editor", None).await;
    held(&*store, 2, user(1), "reader", None).await;
    assert_eq!(store.delete_role(&role_name("editor")).await.unwrap(), RoleDeleted::Deleted(Revision(6)));
    assert_eq!(store.delete_role(&role_name("editor")).await.unwrap(), RoleDeleted::NotFound);
    assert!(!allowed(&*store, user(1), "document:write", None).await);
    assert!(allowed(&*store, user(1), "document:read", None).await);

    // A role of the same name made later is nobody's.
    put(&*store, "editor", &["document:write"]).await;
    assert!(!allowed(&*store, user(1), "document:write", None).await);
    let listed = store.grants(&GrantFilter::default(), &first(10)).await.unwrap();
    assert_eq!(listed.entries, [grant(2, user(1), "reader", None)]);
}

async fn a_deleted_grant_allows_no_more(store: Arc<dyn Store>) {
    put(&*store, "editor", &["document:write"]).await;
    held(&*store, 1, user(1), "editor", None).await;
    assert!(allowed(&*store, user(1), "document:write", None).await);
    assert_eq!(store.delete_grant(&grant_id(1)).await.unwrap(), Some(Revision(4)));
    assert!(!allowed(&*store, user(1), "document:write", None).await);
    assert_eq!(store.delete_grant(&grant_id(1)).await.unwrap(), None);
    assert_eq!(revision(&*store).await, Revision(4));
}

async fn a_batch_is_answered_in_order_under_one_revision(store: Arc<dyn Store>) {
    put(&*store, "reader", &["document:read"]).await;
    put(&*store, "owner", &["document:*", "document:read"]).await;
    held(&*store, 1, user(1), "reader", None).await;
    held(&*store, 2, user(2), "owner", Some("document/42")).await;
    let questions = [
        question(user(1), "document:read", None),
        question(user(1), "document:write", None),
        question(user(2), "document:read", Some("document/42")),
        question(user(2), "document:read", None),
        question(user(3), "document:read", None),
        question(user(1), "document:read", None),
        // Holds it twice, by the permission and by its whole kind: still one grant.
        question(user(2), "document:read", Some("document/42")),
    ];
    let answered = store.holdings_for(&questions).await.unwrap();
    let decisions: Vec<Vec<_>> = questions
        .iter()
        .zip(&answered.value)
        .map(|(question, held)| match decide(held, &question.permission, question.resource.as_ref()) {
            Decision::Allow { grants } => grants,
            Decision::Deny => Vec::new(),
        })
        .collect();
    let (one, two) = (vec![grant_id(1)], vec![grant_id(2)]);
    assert_eq!(decisions, [one.clone(), vec![], two.clone(), vec![], vec![], one, two]);
    assert_eq!(answered.revision, Revision(5));
    assert_eq!(answered.value[6].grants.len(), 1);
}

async fn holdings_name_every_grant_and_every_role(store: Arc<dyn Store>) {
    put(&*store, "reader", &["document:read", "folder:read"]).await;
    put(&*store, "bare", &[]).await;
    grouped(&*store, &["team"]).await;
    joined(&*store, "team", user(1)).await;
    let grants = [
        grant(1, group_subject("team"), "reader", None),
        grant(2, user(1), "bare", None),
        grant(3, user(1), "reader", Some("document/42")),
    ];
    for grant in grants.iter().rev() {
        store.create_grant(grant).await.unwrap();
    }
    let held = store.holdings_of(&user(1)).await.unwrap();
    assert_eq!(held.value.grants, grants);
    assert_eq!(
        held.value.permissions,
        [
            (role_name("bare"), role("bare", &[]).permissions),
            (role_name("reader"), role("reader", &["document:read", "folder:read"]).permissions),
        ]
        .into()
    );
    assert_eq!(held.revision, revision(&*store).await);
    let nobody = store.holdings_of(&user(2)).await.unwrap();
    assert!(nobody.value.grants.is_empty() && nobody.value.permissions.is_empty());
}
