//! `kill -9` of the binary while it is answering, on SQLite: what it acknowledged is there when it runs again, and what was
//! taken back stays so. What PostgreSQL's own kill does is in `postgres`.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chassis::config::Shutdown;
use chassis::grpc::client::channel;
use chassis::lifecycle::Lifecycle;
use chassis::tls::Identity;
use proto::policy::v1 as wire;
use proto::policy::v1::check_service_client::CheckServiceClient;
use proto::policy::v1::policy_admin_service_client::PolicyAdminServiceClient;
use proto::policy::v1::policy_read_service_client::PolicyReadServiceClient;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::process::Service;
use crate::stack::{Client, call, check, create_grant, group, put_role, user};

const WRITERS: u32 = 4;
/// Acknowledged when the process is killed.
const ENOUGH: usize = 200;

/// What one writer was told before the process died: who may, who may no more, and as of when.
#[derive(Default)]
struct Ledger {
    granted: Vec<u32>,
    taken: Vec<u32>,
    revision: u64,
}

/// The binary, ended when dropped.
pub struct Running {
    child: Child,
    pub client: Client,
    life: Lifecycle,
}

async fn start(service: &Service) -> Running {
    start_with(service, &[], Stdio::null()).await
}

/// What it says goes to `log`.
pub async fn start_with(service: &Service, settings: &[(&str, &str)], log: Stdio) -> Running {
    let address = format!("127.0.0.1:{}", servers::free_port());
    let mut command = service.command();
    command.envs(settings.iter().copied());
    command.env("LATCHKEY__SERVER__LISTEN", &address).stdout(log).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    while TcpStream::connect(&address).await.is_err() {
        assert!(child.try_wait().unwrap().is_none(), "it did not start");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let life = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::ZERO });
    let identity = Identity::load(&service.tls("gateway")).unwrap();
    let channel = channel(&[format!("https://{address}")], &identity, "policy", &life).unwrap();
    let client = Client {
        checks: CheckServiceClient::new(channel.clone()),
        reads: PolicyReadServiceClient::new(channel.clone()),
        admin: PolicyAdminServiceClient::new(channel),
    };
    Running { child, client, life }
}

impl Drop for Running {
    /// SIGKILL: no drain, no flush, no close.
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.life.end();
    }
}

/// A role, a group that holds it and a member of the group; of four, one stays, and of the others each loses the role in
/// another way.
async fn step(client: &mut Client, number: u32, ledger: &mut Ledger) -> Result<(), Status> {
    let name = format!("name{number}");
    let admin = &mut client.admin;
    admin.put_role(call(put_role(&name, &["document:read"]))).await?;
    admin.create_group(call(wire::CreateGroupRequest { name: name.clone() })).await?;
    let grant = admin.create_grant(call(create_grant(group(&name), &name, None))).await?.into_inner();
    let member = wire::AddGroupMemberRequest { group: name.clone(), member: user(number) };
    let added = admin.add_group_member(call(member)).await?.into_inner();
    ledger.revision = match number % 4 {
        0 => added.revision,
        1 => {
            let id = grant.grant.unwrap().id;
            admin.delete_grant(call(wire::DeleteGrantRequest { id })).await?.into_inner().revision
        }
        2 => admin.delete_role(call(wire::DeleteRoleRequest { name })).await?.into_inner().revision,
        _ => {
            let member = wire::RemoveGroupMemberRequest { group: name, member: user(number) };
            admin.remove_group_member(call(member)).await?.into_inner().revision
        }
    };
    if number.is_multiple_of(4) {
        ledger.granted.push(number)
    } else {
        ledger.taken.push(number)
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_the_kill_of_the_process() {
    let service = Service::new();
    let first = start(&service).await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let Client { checks, reads, admin } = &first.client;
        let mut client = Client { checks: checks.clone(), reads: reads.clone(), admin: admin.clone() };
        let acknowledged = Arc::clone(&acknowledged);
        writers.spawn(async move {
            let mut ledger = Ledger::default();
            // Each begins with another kind of ending.
            for round in 0.. {
                let number = round * WRITERS + (writer + round) % WRITERS;
                if step(&mut client, number, &mut ledger).await.is_err() {
                    break;
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            ledger
        });
    }
    while acknowledged.load(Ordering::Relaxed) < ENOUGH {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(first);
    let ledgers = writers.join_all().await;

    let mut second = start(&service).await;
    for ledger in &ledgers {
        let decided = ledger.granted.iter().map(|number| (number, wire::Decision::Allow));
        for (number, decision) in decided.chain(ledger.taken.iter().map(|one| (one, wire::Decision::Deny))) {
            let answer = loop {
                match second.client.checks.check(call(check(user(*number), "document:read", None))).await {
                    Ok(answer) => break answer.into_inner(),
                    // Until the lease of its former self is over it may not answer.
                    Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
                }
            };
            assert!(answer.revision >= ledger.revision, "{} is lost", ledger.revision);
            assert_eq!(answer.decision, decision as i32, "{number}");
        }
    }
    let counted = |of: fn(&Ledger) -> usize| ledgers.iter().map(of).sum::<usize>();
    assert!(counted(|one| one.granted.len()) >= ENOUGH / 5 && counted(|one| one.taken.len()) >= ENOUGH / 2);
}
