//! Certificates made on the spot, as files, the way an operator has them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use latchkey_chassis::config::{Tls, TlsMode};
use latchkey_chassis::tls::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

pub const DOMAIN: &str = "test.example";

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    pub fn new() -> Authority {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Each has its own name, or a verifier would try the wrong key and complain about that.
        let name = directory.path().display().to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.path().join("ca.crt"), issuer.pem()).unwrap();
        Authority { issuer, directory }
    }

    /// The configuration of process `name`, with a certificate as `change` wants it.
    pub fn tls_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Tls {
        let mut params = CertificateParams::new(vec![name.to_owned(), "localhost".to_owned()]).unwrap();
        let uri = format!("spiffe://{DOMAIN}/latchkey/{name}");
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().unwrap()));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Tls {
            mode: TlsMode::Mutual,
            certificate: self.write(&format!("{name}.crt"), &certificate.pem()),
            key: self.write(&format!("{name}.key"), &key.serialize_pem()),
            authority: self.directory.path().join("ca.crt"),
            domain: DOMAIN.to_owned(),
        }
    }

    pub fn tls(&self, name: &str) -> Tls {
        self.tls_with(name, |_| {})
    }

    pub fn identity(&self, name: &str) -> Identity {
        Identity::load(&self.tls(name)).unwrap()
    }

    pub fn identity_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        Identity::load(&self.tls_with(name, change)).unwrap()
    }

    /// A client configuration of somebody else's making: any versions, with or without a certificate.
    pub fn foreign_client(
        &self,
        certificate: Option<&Tls>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(tls) => {
                let chain =
                    CertificateDer::pem_file_iter(&tls.certificate).unwrap().map(Result::unwrap).collect();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&tls.key).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}
