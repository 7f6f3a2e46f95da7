//! One audit line for each administration call, naming who acted, and none for reads.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::File;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::grpc::client::Call;
use proto::policy::v1 as wire;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::killed::start_with;
use crate::process::Service;
use crate::stack::{Client, Stack, call, check, create_grant, group, put_role, user};

type Line = BTreeMap<&'static str, String>;

/// Keeps the lines of the target `audit`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "audit" {
            let mut fields = Fields(Line::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }
}

struct Fields(Line);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl Lines {
    /// The lines since the last time, as event, outcome, reason, subject, detail, actor.
    fn take(&self) -> Vec<[String; 6]> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        lines
            .into_iter()
            .map(|line| {
                assert_eq!(line.get("request_id").map(String::as_str), Some("req_test"), "{line:?}");
                ["event", "outcome", "reason", "subject", "detail", "actor"]
                    .map(|field| line.get(field).cloned().unwrap_or_default())
            })
            .collect()
    }
}

const ADMINISTRATOR: &str = "usr_administrator";

fn line(event: &str, outcome: &str, reason: &str, subject: &str, detail: &str) -> Vec<[String; 6]> {
    vec![[event, outcome, reason, subject, detail, ADMINISTRATOR].map(str::to_owned)]
}

// A current-thread runtime: the server's tasks run on the thread whose subscriber this is.
#[tokio::test]
async fn each_administration_call_leaves_one_line() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    let stack = Stack::start().await;
    let Client { mut checks, mut reads, mut admin } = stack.client("gateway");
    let alice = "usr_00000000000000000000000001";

    admin.put_role(call(put_role("editor", &["document:read", "document:write"]))).await.unwrap();
    assert_eq!(lines.take(), line("role.put", "success", "", "editor", "permissions=2"));
    admin.put_role(call(put_role("editor", &["latchkey:*"]))).await.unwrap_err();
    assert_eq!(lines.take(), line("role.put", "refused", "PERMISSION_INVALID", "editor", "permissions=1"));
    admin.put_role(call(put_role("latchkey-admin", &[]))).await.unwrap_err();
    assert_eq!(lines.take(), line("role.put", "refused", "ROLE_BUILT_IN", "latchkey-admin", "permissions=0"));
    // What does not parse is not repeated.
    admin.put_role(call(put_role("no such\nspelling", &[]))).await.unwrap_err();
    assert_eq!(lines.take(), line("role.put", "refused", "ROLE_INVALID", "", ""));

    let created =
        admin.create_grant(call(create_grant(user(1), "editor", Some("document/42")))).await.unwrap();
    let id = created.into_inner().grant.unwrap().id;
    let detail = format!("grant={id} role=editor within=document/42");
    assert_eq!(lines.take(), line("grant.create", "success", "", alice, &detail));
    admin.create_grant(call(create_grant(user(1), "none", None))).await.unwrap_err();
    assert_eq!(lines.take(), line("grant.create", "refused", "ROLE_NOT_FOUND", alice, "role=none"));
    admin.delete_grant(call(wire::DeleteGrantRequest { id: id.clone() })).await.unwrap();
    assert_eq!(lines.take(), line("grant.delete", "success", "", &id, ""));
    admin.delete_grant(call(wire::DeleteGrantRequest { id: id.clone() })).await.unwrap_err();
    assert_eq!(lines.take(), line("grant.delete", "refused", "GRANT_NOT_FOUND", &id, ""));

    admin.create_group(call(wire::CreateGroupRequest { name: "team".to_owned() })).await.unwrap();
    assert_eq!(lines.take(), line("group.create", "success", "", "team", ""));
    let member = wire::AddGroupMemberRequest { group: "team".to_owned(), member: user(1) };
    admin.add_group_member(call(member)).await.unwrap();
    assert_eq!(lines.take(), line("group.member.add", "success", "", alice, "group=team"));
    let member = wire::AddGroupMemberRequest { group: "team".to_owned(), member: group("team") };
    admin.add_group_member(call(member)).await.unwrap_err();
    assert_eq!(lines.take(), line("group.member.add", "refused", "GROUP_CYCLE", "team", "group=team"));
    let member = wire::RemoveGroupMemberRequest { group: "team".to_owned(), member: user(1) };
    admin.remove_group_member(call(member)).await.unwrap();
    assert_eq!(lines.take(), line("group.member.remove", "success", "", alice, "group=team"));
    admin.delete_group(call(wire::DeleteGroupRequest { name: "team".to_owned() })).await.unwrap();
    assert_eq!(lines.take(), line("group.delete", "success", "", "team", ""));
    admin.forget_subject(call(wire::ForgetSubjectRequest { subject: user(1) })).await.unwrap();
    assert_eq!(lines.take(), line("grant.forget", "success", "", alice, ""));
    admin.delete_role(call(wire::DeleteRoleRequest { name: "editor".to_owned() })).await.unwrap();
    assert_eq!(lines.take(), line("role.delete", "success", "", "editor", ""));

    checks.check(call(check(user(1), "document:read", None))).await.unwrap();
    reads.list_roles(call(wire::ListRolesRequest::default())).await.unwrap();
    assert_eq!(lines.take(), Vec::<[String; 6]>::new());
}

#[tokio::test]
async fn without_an_acting_principal_the_calling_process_is_named() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    let stack = Stack::start().await;
    let mut operator = stack.client("operator");
    let request = Call::new("req_test", Duration::from_secs(60)).request(put_role("editor", &[]));
    operator.admin.put_role(request).await.unwrap();
    let taken = lines.take();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].last().map(String::as_str), Some("operator"));
}

/// A writer elsewhere holds the file; the call's deadline passes while it waits. Whether it would have been done is not
/// known, and that is what the line says.
#[tokio::test]
async fn a_call_that_is_given_up_leaves_its_line_too() {
    use sqlx::Connection as _;
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    let stack = Stack::start().await;
    let mut gateway = stack.client("gateway");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(stack.database());
    let mut elsewhere = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
    let held = elsewhere.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let (mut taken, mut calls) = (Vec::new(), 0..3);
    // One whose deadline passes on the way there reaches nobody and leaves no line: another is made.
    while taken.is_empty() && calls.next().is_some() {
        let call = Call::new("req_test", Duration::from_secs(1)).actor(ADMINISTRATOR);
        gateway.admin.put_role(call.request(put_role("editor", &[]))).await.unwrap_err();
        // The caller's own deadline may pass a moment before the server's.
        for _ in 0..1_000 {
            taken = lines.take();
            if !taken.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    drop(held);
    elsewhere.close().await.unwrap();
    assert_eq!(taken, line("role.put", "failed", "CANCELLED", "editor", "permissions=0"));
}

/// A disk that is full, and a collector that is gone. The control: a file that takes them has them.
#[tokio::test]
async fn a_line_that_cannot_be_written_is_lost_and_the_call_is_answered() {
    for format in ["json", "text"] {
        let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
        let gone = || Stdio::from(std::io::pipe().unwrap().1);
        let kept = tempfile::NamedTempFile::new().unwrap();
        for log in [full(), gone(), Stdio::from(kept.reopen().unwrap())] {
            let service = Service::new();
            let mut running = start_with(&service, &[("LATCHKEY__LOG__FORMAT", format)], log).await;
            let question = || call(check(user(1), "document:read", None));
            while running.client.checks.check(question()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for revision in 2..5 {
                let put = put_role(&format!("role{revision}"), &["document:read"]);
                let put = running.client.admin.put_role(call(put)).await.unwrap().into_inner();
                assert_eq!(put.revision, revision, "{format}");
            }
        }
        let log = std::fs::read_to_string(kept.path()).unwrap();
        for role in ["role2", "role3", "role4"] {
            let is_its = |line: &&str| line.contains("role.put") && line.contains(role);
            assert_eq!(log.lines().filter(is_its).count(), 1, "{format}: {log}");
        }
    }
}
