//! What each process of a local stack is told, beyond what its own defaults say.

use std::path::Path;

use toml::{Table, Value};

use super::addresses::{Addresses, Gateway, Service, loopback};
use super::files::{GATEWAY_KEY, GATEWAY_PUBLIC_KEY, MASTER_KEY};
use super::layout::Layout;
use super::stores::Stores;
use crate::certificates::LOCAL_DOMAIN;

/// The configuration of one replica of `service`.
pub fn of(service: &str, replica: usize, layout: &Layout, addresses: &Addresses, stores: &Stores) -> Table {
    let mut config = match service {
        "gateway" => addresses.gateways.get(replica).map(|gateway| self::gateway(gateway, layout, addresses)),
        backing => addresses.of(backing).get(replica).map(|listens| {
            let mut config = Table::from_iter([
                ("server".to_owned(), table([("listen", address(listens.grpc))])),
                ("operations".to_owned(), table([("listen", address(listens.operations))])),
                ("store".to_owned(), stores.of(backing, layout)),
            ]);
            if matches!(backing, "auth" | "policy") {
                config.insert("feed".into(), table([("listen", address(listens.feed))]));
            }
            match backing {
                "auth" => auth(&mut config, layout, addresses),
                "session" => session(&mut config, addresses),
                _ => {}
            }
            config
        }),
    }
    .unwrap_or_default();
    let certificates = layout.certificates();
    config.insert(
        "tls".into(),
        table([
            ("mode", "mutual".into()),
            ("domain", LOCAL_DOMAIN.into()),
            ("certificate", path(&certificates.certificate(service))),
            ("key", path(&certificates.key(service))),
            ("authority", path(&certificates.authority())),
        ]),
    );
    // No balancer watches this stack: nothing is gained by waiting before the listeners close.
    config.insert("shutdown".into(), table([("settle", "0s".into()), ("drain", "10s".into())]));
    config
}

fn auth(config: &mut Table, layout: &Layout, addresses: &Addresses) {
    config.insert("issuer".into(), addresses.public_url().into());
    config.insert("peers".into(), table([("policy", peer(&addresses.policy))]));
    config.insert("first_party".into(), table([("encrypt_to", path(&layout.secret(GATEWAY_PUBLIC_KEY)))]));
    config.insert("signing".into(), table([("master_key", path(&layout.secret(MASTER_KEY)))]));
    // On one's own machine anybody may try it out.
    config.insert("registration".into(), table([("open", true.into())]));
}

fn session(config: &mut Table, addresses: &Addresses) {
    config.insert("issuer".into(), addresses.public_url().into());
    config.insert("peers".into(), table([("auth", peer(&addresses.auth))]));
}

fn gateway(gateway: &Gateway, layout: &Layout, addresses: &Addresses) -> Table {
    // To a browser each gateway's port is a site of its own, where elsewhere a balancer makes them one.
    let others = addresses.public_urls().into_iter().skip(1).map(Value::from).collect();
    Table::from_iter([
        ("public_url".to_owned(), addresses.public_url().into()),
        ("origins".to_owned(), Value::Array(others)),
        ("routes".to_owned(), path(&layout.routes_file())),
        ("server".to_owned(), table([("listen", address(gateway.public))])),
        ("internal".to_owned(), table([("listen", address(gateway.internal))])),
        ("operations".to_owned(), table([("listen", address(gateway.operations))])),
        ("token".to_owned(), table([("keys", Value::Array(vec![path(&layout.secret(GATEWAY_KEY))]))])),
        (
            "peers".to_owned(),
            table([
                ("auth", peer(&addresses.auth)),
                ("session", peer(&addresses.session)),
                ("policy", peer(&addresses.policy)),
            ]),
        ),
        ("feeds".to_owned(), table([("auth", feed(&addresses.auth)), ("policy", feed(&addresses.policy))])),
    ])
}

fn peer(replicas: &[Service]) -> Value {
    let urls = replicas.iter().map(|replica| format!("https://{}", loopback(replica.grpc)).into());
    table([("endpoints", Value::Array(urls.collect()))])
}

fn feed(replicas: &[Service]) -> Value {
    let urls = replicas.iter().map(|replica| format!("https://{}", loopback(replica.feed)).into());
    table([("endpoints", Value::Array(urls.collect()))])
}

fn address(port: u16) -> Value {
    loopback(port).to_string().into()
}

fn path(path: &Path) -> Value {
    path.to_string_lossy().into_owned().into()
}

fn table<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Table(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
