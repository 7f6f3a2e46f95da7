//! What each process of a local stack is told, beyond what its own defaults say.

use std::path::Path;

use toml::{Table, Value};

use super::addresses::{Addresses, Service, loopback};
use super::files::{GATEWAY_KEY, GATEWAY_PUBLIC_KEY, MASTER_KEY};
use super::layout::Layout;
use crate::certificates::LOCAL_DOMAIN;

/// The configuration of `service`'s only replica.
pub fn of(service: &str, layout: &Layout, addresses: &Addresses) -> Table {
    let mut config = match service {
        "auth" => auth(layout, addresses),
        "session" => session(layout, addresses),
        "policy" => backing("policy", layout, &addresses.policy),
        _ => gateway(layout, addresses),
    };
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

fn backing(name: &str, layout: &Layout, service: &Service) -> Table {
    Table::from_iter([
        ("server".to_owned(), table([("listen", address(service.grpc))])),
        ("operations".to_owned(), table([("listen", address(service.operations))])),
        ("store".to_owned(), table([("url", format!("sqlite:{}", layout.database(name).display()).into())])),
    ])
}

fn auth(layout: &Layout, addresses: &Addresses) -> Table {
    let mut config = backing("auth", layout, &addresses.auth);
    config.insert("issuer".into(), addresses.public_url().into());
    config.insert("peers".into(), table([("policy", peer(addresses.policy.grpc))]));
    config.insert("first_party".into(), table([("encrypt_to", path(&layout.secret(GATEWAY_PUBLIC_KEY)))]));
    config.insert("signing".into(), table([("master_key", path(&layout.secret(MASTER_KEY)))]));
    // On one's own machine anybody may try it out.
    config.insert("registration".into(), table([("open", true.into())]));
    config
}

fn session(layout: &Layout, addresses: &Addresses) -> Table {
    let mut config = backing("session", layout, &addresses.session);
    config.insert("issuer".into(), addresses.public_url().into());
    config.insert("peers".into(), table([("auth", peer(addresses.auth.grpc))]));
    config
}

fn gateway(layout: &Layout, addresses: &Addresses) -> Table {
    Table::from_iter([
        ("public_url".to_owned(), addresses.public_url().into()),
        ("routes".to_owned(), path(&layout.routes_file())),
        ("server".to_owned(), table([("listen", address(addresses.gateway_public))])),
        ("internal".to_owned(), table([("listen", address(addresses.gateway_internal))])),
        ("operations".to_owned(), table([("listen", address(addresses.gateway_operations))])),
        ("token".to_owned(), table([("keys", Value::Array(vec![path(&layout.secret(GATEWAY_KEY))]))])),
        (
            "peers".to_owned(),
            table([
                ("auth", peer(addresses.auth.grpc)),
                ("session", peer(addresses.session.grpc)),
                ("policy", peer(addresses.policy.grpc)),
            ]),
        ),
    ])
}

fn peer(port: u16) -> Value {
    table([("endpoints", Value::Array(vec![format!("https://{}", loopback(port)).into()]))])
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
