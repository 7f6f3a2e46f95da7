//! A certificate authority of one's own, for one machine or a compose file: its root, and a certificate for each of our
//! process names and for other services that stand on the guard. A cluster uses its mesh or cert-manager instead; the names are the same there.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, string::Ia5String,
};
use time::{Duration, OffsetDateTime};

use crate::private_file;

/// The names that exist: `spiffe://<domain>/latchkey/<name>`.
pub const NAMES: [&str; 5] = ["auth", "session", "policy", "gateway", "operator"];

/// The trust domain of a stack on one machine.
pub const LOCAL_DOMAIN: &str = "latchkey.local";

const AUTHORITY_LIFETIME: Duration = Duration::days(3650);
const LEAF_LIFETIME: Duration = Duration::days(365);
/// A certificate with less than this left is made anew at the next start.
const RENEW_BEFORE: Duration = Duration::days(30);
/// Clocks of containers on one machine may differ a little.
const BACKDATED: Duration = Duration::hours(1);

/// The name of a service that is not ours, as a certificate can hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName(String);

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        // What a server reads from a certificate; see `chassis::tls`.
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            return Err("a name is lowercase letters, digits and hyphens".to_owned());
        }
        // `ca` is the authority's own file.
        if NAMES.contains(&name) || name == "mesh" || name == "ca" {
            return Err("that name has a meaning already".to_owned());
        }
        Ok(Self(name.to_owned()))
    }
}

/// Where the files of one authority are.
#[derive(Debug, Clone)]
pub struct CertificateFolder(PathBuf);

impl CertificateFolder {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn authority(&self) -> PathBuf {
        self.0.join("ca.crt")
    }

    fn authority_key(&self) -> PathBuf {
        self.0.join("ca.key")
    }

    pub fn certificate(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.crt"))
    }

    pub fn key(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.key"))
    }

    /// Makes what is missing or about to expire; leaves the rest alone, so that it can be called at every start.
    /// `services` are names beyond ours; `hosts` are further DNS names or addresses for every certificate.
    pub fn complete(
        &self,
        domain: &str,
        services: &[ServiceName],
        hosts: &[String],
        now: OffsetDateTime,
    ) -> Result<()> {
        let names = || NAMES.into_iter().chain(services.iter().map(|service| service.0.as_str()));
        private_file::create_folder(&self.0)?;
        let authority = match self.read_authority(now)? {
            Some(authority) => authority,
            None => {
                // Certificates of a former authority are worth nothing.
                for name in names() {
                    private_file::remove(&self.certificate(name))?;
                }
                self.make_authority(domain, now)?
            }
        };
        for name in names() {
            let (certificate, key) = (self.certificate(name), self.key(name));
            if key.exists() && lasts(&certificate, now)? {
                continue;
            }
            let pair = KeyPair::generate().context("a key cannot be generated")?;
            let signed = leaf(domain, name, hosts, now)?
                .signed_by(&pair, &authority)
                .with_context(|| format!("the certificate of {name} cannot be signed"))?;
            private_file::write(&key, pair.serialize_pem().as_bytes())?;
            fs::write(&certificate, signed.pem())
                .with_context(|| format!("{} cannot be written", certificate.display()))?;
        }
        Ok(())
    }

    fn read_authority(&self, now: OffsetDateTime) -> Result<Option<Issuer<'static, KeyPair>>> {
        if !self.authority_key().exists() || !lasts(&self.authority(), now)? {
            return Ok(None);
        }
        let (key_path, path) = (self.authority_key(), self.authority());
        let key = fs::read_to_string(&key_path)
            .with_context(|| format!("{} cannot be read", key_path.display()))?;
        let key = KeyPair::from_pem(&key)
            .with_context(|| format!("{} holds no private key", key_path.display()))?;
        let certificate =
            fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)
            .with_context(|| format!("{} holds no certificate", path.display()))?;
        Ok(Some(issuer))
    }

    fn make_authority(&self, domain: &str, now: OffsetDateTime) -> Result<Issuer<'static, KeyPair>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = called(&format!("Latchkey authority of {domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now - BACKDATED;
        params.not_after = now + AUTHORITY_LIFETIME;
        let key = KeyPair::generate().context("a key cannot be generated")?;
        let certificate = params.self_signed(&key).context("the authority cannot sign itself")?;
        let path = self.authority();
        private_file::write(&self.authority_key(), key.serialize_pem().as_bytes())?;
        fs::write(&path, certificate.pem())
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Issuer::new(params, key))
    }
}

fn leaf(domain: &str, name: &str, hosts: &[String], now: OffsetDateTime) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = called(&format!("latchkey {name}"));
    params.not_before = now - BACKDATED;
    params.not_after = now + LEAF_LIFETIME;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![
        SanType::URI(text(&format!("spiffe://{domain}/latchkey/{name}"))?),
        SanType::DnsName(text(name)?),
        SanType::DnsName(text("localhost")?),
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ];
    for host in hosts {
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(text(host)?),
        });
    }
    Ok(params)
}

fn called(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn text(value: &str) -> Result<Ia5String> {
    Ia5String::try_from(value).map_err(|_| anyhow!("{value:?} cannot stand in a certificate: ASCII only"))
}

/// Whether the certificate in this file is there and not about to expire.
fn lasts(path: &Path, now: OffsetDateTime) -> Result<bool> {
    let pem = match fs::read(path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let no_certificate =
        || anyhow!("{} holds no certificate: remove it to have it made anew", path.display());
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).map_err(|_| no_certificate())?;
    let certificate = block.parse_x509().map_err(|_| no_certificate())?;
    let until = certificate.validity().not_after.to_datetime();
    Ok(now + RENEW_BEFORE < until)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-23 12:00 UTC);

    fn folder() -> (tempfile::TempDir, CertificateFolder) {
        let temp = tempfile::tempdir().unwrap();
        let folder = CertificateFolder::new(temp.path().join("certificates"));
        (temp, folder)
    }

    #[test]
    fn every_name_gets_a_certificate_with_its_uri_and_host_names() {
        let (_temp, folder) = folder();
        folder.complete("example.test", &[], &["auth.internal".into(), "10.1.2.3".into()], NOW).unwrap();
        for name in NAMES {
            let pem = fs::read(folder.certificate(name)).unwrap();
            let (_, block) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
            let certificate = block.parse_x509().unwrap();
            let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
            let names: Vec<String> = names.iter().map(|name| format!("{name}")).collect();
            let all = names.join(" ");
            assert!(all.contains(&format!("spiffe://example.test/latchkey/{name}")), "{all}");
            for host in [name, "localhost", "auth.internal"] {
                assert!(all.contains(host), "{host} is missing in {all}");
            }
            assert_eq!(names.len(), 6);
        }
    }

    #[test]
    fn another_service_gets_one_too_and_its_name_is_nobody_elses() {
        let (_temp, folder) = folder();
        let reports = "reports".parse().unwrap();
        folder.complete("example.test", &[reports], &[], NOW).unwrap();
        let pem = fs::read(folder.certificate("reports")).unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
        let names = format!("{:?}", block.parse_x509().unwrap().subject_alternative_name().unwrap().unwrap());
        assert!(names.contains("spiffe://example.test/latchkey/reports"), "{names}");
        for bad in ["gateway", "operator", "mesh", "ca", "", "Reports", "a/b", "..", "a.b"] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_private() {
        let (_temp, folder) = folder();
        folder.complete("example.test", &[], &[], NOW).unwrap();
        for path in NAMES.map(|name| folder.key(name)).into_iter().chain([folder.authority_key()]) {
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn a_second_call_changes_nothing_until_a_certificate_is_about_to_expire() {
        let (_temp, folder) = folder();
        folder.complete("example.test", &[], &[], NOW).unwrap();
        let read = || (fs::read(folder.authority()).unwrap(), fs::read(folder.certificate("auth")).unwrap());
        let (authority, certificate) = read();
        folder.complete("example.test", &[], &[], NOW + Duration::days(300)).unwrap();
        assert_eq!(read(), (authority.clone(), certificate.clone()));
        folder.complete("example.test", &[], &[], NOW + Duration::days(336)).unwrap();
        let (same_authority, renewed) = read();
        assert_eq!(same_authority, authority);
        assert_ne!(renewed, certificate);
    }

    #[test]
    fn a_lost_authority_replaces_every_certificate() {
        let (_temp, folder) = folder();
        folder.complete("example.test", &[], &[], NOW).unwrap();
        let before = fs::read(folder.certificate("auth")).unwrap();
        fs::remove_file(folder.authority_key()).unwrap();
        folder.complete("example.test", &[], &[], NOW).unwrap();
        assert_ne!(fs::read(folder.certificate("auth")).unwrap(), before);
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let (_temp, folder) = folder();
        folder.complete("example.test", &[], &[], NOW).unwrap();
        fs::write(folder.certificate("auth"), "nonsense").unwrap();
        let error = folder.complete("example.test", &[], &[], NOW).unwrap_err();
        assert!(error.to_string().contains("auth.crt"), "{error}");
    }
}
