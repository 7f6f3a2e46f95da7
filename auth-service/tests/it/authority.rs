//! Certificates made on the spot, as files, the way an operator has them.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use chassis::{
    config::{Tls, TlsMode},
    tls::Identity,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};

pub const DOMAIN: &str = "test.example";

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    pub fn new(directory: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.join("ca.crt"), issuer.pem()).unwrap();
        Self { issuer, directory: directory.to_owned() }
    }

    pub fn tls(&self, name: &str) -> Tls {
        let mut params = CertificateParams::new(vec![name.to_owned(), "localhost".to_owned()]).unwrap();
        let uri = format!("spiffe://{DOMAIN}/latchkey/{name}");
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Tls {
            mode: TlsMode::Mutual,
            certificate: private(&self.directory.join(format!("{name}.crt")), &certificate.pem()),
            key: private(&self.directory.join(format!("{name}.key")), &key.serialize_pem()),
            authority: self.directory.join("ca.crt"),
            domain: DOMAIN.to_owned(),
        }
    }

    pub fn identity(&self, name: &str) -> Identity {
        Identity::load(&self.tls(name)).unwrap()
    }
}

/// Writes a file that its owner alone can read.
pub fn private(path: &Path, text: &str) -> PathBuf {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_owned()
}
