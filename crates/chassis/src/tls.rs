//! Who this process is to others, and whom it believes.
//!
//! Between our processes there is TLS 1.3 and nothing else, with a certificate on both sides. A server knows its
//! callers by the URI in their certificates, `spiffe://<domain>/latchkey/<name>`; a caller knows a server by its DNS
//! name `<name>`. Where a mesh secures connections (`tls.mode = "external"`) they are plain, and there is no name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::config::{Tls, TlsMode};
use crate::secret::{self, SecretError};

/// This process's certificate and the authorities it trusts, read once at start. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity {
    mutual: Option<Mutual>,
}

#[derive(Debug, Clone)]
struct Mutual {
    domain: Arc<str>,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// Why there is no identity. Each names the setting and the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{setting}: {} cannot be read: {source}", .path.display())]
    Unreadable {
        setting: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{setting}: {} is not PEM: {source}", .path.display())]
    NotPem {
        setting: &'static str,
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("{setting}: {} holds no certificate", .path.display())]
    NoCertificate { setting: &'static str, path: PathBuf },
    #[error("tls.key: {0}")]
    Key(#[from] SecretError),
    #[error("tls.key: {} holds no private key that can be used", .0.display())]
    NoKey(PathBuf),
    #[error("tls.authority: {} holds a certificate that cannot be trusted: {source}", .path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("tls.certificate: {} and its key cannot be used together: {source}", .path.display())]
    Mismatch {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("tls: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("tls: {0}")]
    Rustls(#[from] rustls::Error),
}

impl Identity {
    /// Reads the files that `tls` names. In external mode it reads nothing, and says so in the log.
    pub fn load(tls: &Tls) -> Result<Identity, TlsError> {
        if tls.mode == TlsMode::External {
            tracing::warn!(
                "tls.mode is \"external\": connections between processes are plain, and every caller counts as \
                 `mesh`, which may do whatever any caller may; a mesh has to secure them"
            );
            return Ok(Identity { mutual: None });
        }
        let chain = certificates("tls.certificate", &tls.certificate)?;
        let key = private_key(&tls.key)?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates("tls.authority", &tls.authority)? {
            roots
                .add(certificate)
                .map_err(|source| TlsError::Authority { path: tls.authority.clone(), source })?;
        }
        let roots = Arc::new(roots);
        // Named, not taken from the process: what secures a connection does not depend on what ran before.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mismatch = |source| TlsError::Mismatch { path: tls.certificate.clone(), source };
        let server = server_config(&provider, roots.clone())?
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(mismatch)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(mismatch)?;
        Ok(Identity {
            mutual: Some(Mutual {
                domain: tls.domain.as_str().into(),
                server: Arc::new(finish_server(server)),
                client: Arc::new(finish_client(client)),
            }),
        })
    }

    /// For listeners: TLS 1.3, a client certificate required, HTTP/2. `None` where a mesh secures connections.
    pub fn server_config(&self) -> Option<Arc<ServerConfig>> {
        self.mutual.as_ref().map(|mutual| mutual.server.clone())
    }

    /// For connections to neighbours: TLS 1.3, our certificate shown, HTTP/2. `None` where a mesh secures connections.
    pub fn client_config(&self) -> Option<Arc<ClientConfig>> {
        self.mutual.as_ref().map(|mutual| mutual.client.clone())
    }

    /// The `<name>` of a peer that showed this certificate, if it is one of our domain's. The chain has been verified
    /// by the handshake; this reads the name only.
    pub fn name_in(&self, certificate: &CertificateDer<'_>) -> Option<String> {
        spiffe_name(&self.mutual.as_ref()?.domain, certificate)
    }
}

type ServerBuilder = rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>;

fn server_config(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
) -> Result<ServerBuilder, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
    Ok(ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier))
}

/// No resumption on either side: a resumed session would carry on with a certificate that may have expired since.
/// Connections are few and long, so full handshakes cost nothing that matters.
fn finish_server(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

fn finish_client(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    config
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = std::fs::read(path).map_err(|source| TlsError::Unreadable {
        setting,
        path: path.to_owned(),
        source,
    })?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::NotPem { setting, path: path.to_owned(), source })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { setting, path: path.to_owned() });
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let secret = secret::read(path)?;
    PrivateKeyDer::from_pem_slice(secret.bytes()).map_err(|_| TlsError::NoKey(path.to_owned()))
}

/// SPIFFE X.509-SVID section 2: exactly one URI, and that is the name.
fn spiffe_name(domain: &str, certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (uri, None) = (uris.next()?, uris.next()) else { return None };
    let name = uri.strip_prefix("spiffe://")?.strip_prefix(domain)?.strip_prefix("/latchkey/")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests;
