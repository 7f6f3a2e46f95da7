//! Every RPC has a row in an access table, and the running services obey it: each is called as each of our names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chassis::config::{Shutdown, Tls, TlsMode};
use chassis::grpc::client::{Call, Channel, channel};
use chassis::grpc::{ADMITTED, AccessTable, unlisted};
use chassis::lifecycle::Lifecycle;
use chassis::status::reason;
use chassis::tls::Identity;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::stack::Stack;

const CALLERS: [&str; 5] = ["auth", "session", "policy", "gateway", "operator"];

fn tables() -> [(&'static str, AccessTable); 3] {
    [
        ("auth", auth_service::rpc::access::ACCESS),
        ("session", session_service::rpc::access::ACCESS),
        ("policy", policy_service::rpc::access::ACCESS),
    ]
}

#[test]
fn every_rpc_has_a_row_in_its_services_table_and_every_row_an_rpc() {
    let all = unlisted(proto::DESCRIPTORS, &[]);
    assert!(all.len() > 40, "{all:?}");
    for (service, table) in tables() {
        let own = format!("/latchkey.{service}.v1.");
        let missing: Vec<String> = unlisted(proto::DESCRIPTORS, table)
            .into_iter()
            .filter(|method| method.starts_with(&own))
            .collect();
        assert_eq!(missing, Vec::<String>::new(), "{service}");
        for (method, callers) in table {
            assert!(
                method.starts_with(&own) && all.iter().any(|known| known == method),
                "{service}: {method}"
            );
            assert!(!callers.is_empty(), "{method}");
            for caller in *callers {
                assert!(CALLERS.contains(caller) || *caller == ADMITTED, "{method} lists {caller}");
            }
            assert_eq!(callers.iter().collect::<BTreeSet<_>>().len(), callers.len(), "{method}");
        }
    }
}

#[test]
fn administration_is_for_the_gateway_and_the_operator() {
    for (_, table) in tables() {
        for (method, callers) in table {
            if method.contains("AdminService/") {
                assert!(
                    callers.iter().all(|caller| ["gateway", "operator"].contains(caller)),
                    "{method}: {callers:?}"
                );
            }
        }
    }
}

struct Callers<'a> {
    stack: &'a Stack,
    lifecycle: Lifecycle,
}

impl Callers<'_> {
    /// As `name`, to `service`, with a certificate signed by the authority in `folder`.
    fn channel(&self, service: &str, name: &str, folder: &std::path::Path) -> Channel {
        let tls = Tls {
            mode: TlsMode::Mutual,
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
            // The services' own authority, whoever signed ours: the server is believed.
            authority: self.stack.state_dir().join("certificates/ca.crt"),
            domain: "latchkey.local".into(),
        };
        let identity = Identity::load(&tls).unwrap();
        channel(&self.stack.file.services[service], &identity, service, &self.lifecycle).unwrap()
    }
}

/// Calls a method with an empty message.
async fn call(channel: &Channel, method: &'static str) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await?;
    let request = Call::new("req_table", Duration::from_secs(20)).request(());
    let path = http::uri::PathAndQuery::from_static(method);
    grpc.unary(request, path, ProstCodec::<(), ()>::default()).await.map(|_| ())
}

fn not_listed(answer: &Result<(), Status>) -> bool {
    let Err(status) = answer else { return false };
    status.code() == Code::PermissionDenied && reason(status).as_deref() == Some("CALLER_NOT_LISTED")
}

#[tokio::test]
async fn each_rpc_is_refused_to_each_caller_that_is_not_listed() {
    let stack = Stack::start().await;
    let callers = Callers { stack: &stack, lifecycle: Lifecycle::new(Shutdown::default()) };
    let folder = stack.state_dir().join("certificates");
    let mut refused = BTreeMap::new();
    for (service, table) in tables() {
        for caller in CALLERS {
            let channel = callers.channel(service, caller, &folder);
            for (method, listed) in table {
                let answer = call(&channel, method).await;
                assert_eq!(
                    not_listed(&answer),
                    !listed.contains(&caller),
                    "{method} as {caller}: {answer:?}"
                );
                *refused.entry(not_listed(&answer)).or_insert(0) += 1;
            }
        }
    }
    assert!(refused[&true] > 0 && refused[&false] > 0, "{refused:?}");
}

#[tokio::test]
async fn strangers_are_not_let_in_to_be_refused() {
    let stack = Stack::start().await;
    let callers = Callers { stack: &stack, lifecycle: Lifecycle::new(Shutdown::default()) };
    let own = stack.state_dir().join("certificates");
    let foreign = stack.folder().join("foreign");
    assert!(crate::stack::latchkey(&["certificates", "dev", foreign.to_str().unwrap()]).status.success());
    for (service, table) in tables() {
        let method = table[0].0;
        // Signed by another authority, although it says the right name.
        let answer = call(&callers.channel(service, "gateway", &foreign), method).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unavailable, "{service}: a foreign authority");
        // The right one gets further: it is the certificate that made the difference.
        let answer = call(&callers.channel(service, "operator", &own), "/grpc.health.v1.Health/Check").await;
        assert!(answer.is_ok(), "{service}: {answer:?}");
        // No certificate at all, and no TLS at all.
        let address = stack.file.services[service][0].strip_prefix("https://").unwrap().to_owned();
        assert!(without_certificate(&address, &own).await.is_err(), "{service}: no certificate");
        let plain = crate::stack::client().get(format!("http://{address}/")).send().await;
        assert!(plain.is_err(), "{service}: no TLS");
    }
}

/// A TLS handshake that shows no certificate, then a byte of an answer.
async fn without_certificate(address: &str, folder: &std::path::Path) -> Result<(), reqwest::Error> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(&std::fs::read(folder.join("ca.crt")).unwrap()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
    client.get(format!("https://{address}/")).send().await.map(|_| ())
}
