use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;

fn der(uris: &[&str]) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec!["auth".to_owned()]).unwrap();
    for uri in uris {
        params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
    }
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

#[test]
fn the_name_is_the_one_uri_of_our_domain() {
    let name = |uris: &[&str]| spiffe_name("corp.example", &der(uris));
    assert_eq!(name(&["spiffe://corp.example/latchkey/gateway"]).as_deref(), Some("gateway"));
    for none in [
        &[][..],
        &["spiffe://other.example/latchkey/gateway"],
        &["spiffe://corp.example.evil/latchkey/gateway"],
        &["spiffe://corp.example/other/gateway"],
        &["spiffe://corp.example/latchkey/"],
        &["spiffe://corp.example/latchkey/gateway/x"],
        &["spiffe://corp.example/latchkey/Gateway"],
        &["https://corp.example/latchkey/gateway"],
        &["spiffe://corp.example/latchkey/gateway", "spiffe://corp.example/latchkey/operator"],
    ] {
        assert_eq!(name(none), None, "{none:?}");
    }
}

#[test]
fn what_is_wrong_with_the_files_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = CertificateParams::new(vec!["auth".to_owned()]).unwrap().self_signed(&key).unwrap();
    let good = Tls {
        mode: TlsMode::Mutual,
        certificate: write("auth.crt", &certificate.pem(), 0o644),
        key: write("auth.key", &key.serialize_pem(), 0o600),
        authority: write("ca.crt", &certificate.pem(), 0o644),
        domain: "corp.example".to_owned(),
    };
    assert!(Identity::load(&good).is_ok());

    let message = |tls: Tls| Identity::load(&tls).unwrap_err().to_string();
    let missing = directory.path().join("none");
    let error = message(Tls { certificate: missing.clone(), ..good.clone() });
    assert!(error.contains("tls.certificate") && error.contains("none"), "{error}");
    let error = message(Tls { authority: write("empty.crt", "", 0o644), ..good.clone() });
    assert!(error.contains("tls.authority") && error.contains("holds no certificate"), "{error}");
    let error = message(Tls { key: write("exposed.key", &key.serialize_pem(), 0o644), ..good.clone() });
    assert!(error.contains("tls.key") && error.contains("chmod 600"), "{error}");
    let error = message(Tls { key: write("other.key", &other.serialize_pem(), 0o600), ..good.clone() });
    assert!(error.contains("cannot be used together"), "{error}");
    let error = message(Tls { key: write("not.key", "hello", 0o600), ..good.clone() });
    assert!(error.contains("no private key"), "{error}");

    let external = Tls { mode: TlsMode::External, certificate: missing, ..good };
    let identity = Identity::load(&external).unwrap();
    assert!(identity.server_config().is_none() && identity.client_config().is_none());
}
