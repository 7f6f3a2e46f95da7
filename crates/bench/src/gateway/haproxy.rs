//! HAProxy: plain, and verifying an ES256 token on each request.

use std::{fs, net::SocketAddr, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use super::Variant;
use crate::http::string;

fn variant(
    name: &'static str,
    folder: &Path,
    listen: SocketAddr,
    upstream: SocketAddr,
    rules: &str,
) -> anyhow::Result<Variant> {
    fs::create_dir_all(folder)?;
    let file = folder.join("haproxy.cfg");
    fs::write(
        &file,
        format!(
            "global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\nfrontend public\n  bind {listen}\n{rules}  default_backend app\nbackend app\n  server app {upstream}\n"
        ),
    )?;
    Ok(Variant::new(
        name,
        "/usr/sbin/haproxy",
        vec!["-f".into(), file.display().to_string(), "-db".into()],
        listen,
    ))
}

pub fn plain(folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<Variant> {
    variant("HAProxy, plain proxy", folder, listen, upstream, "")
}

pub fn jwt_verify(
    folder: &Path,
    listen: SocketAddr,
    upstream: SocketAddr,
    key: &Value,
) -> anyhow::Result<Variant> {
    fs::create_dir_all(folder)?;
    let pem = folder.join("key.pem");
    fs::write(&pem, public_pem(key)?)?;
    let rules = format!(
        "  http-request set-var(txn.token) http_auth_bearer\n  http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(\"ES256\",\"{}\") 1 }}\n",
        pem.display()
    );
    variant("HAProxy, jwt_verify ES256", folder, listen, upstream, &rules)
}

/// A P-256 JWK as SubjectPublicKeyInfo in PEM (RFC 5480): a fixed prefix, then the uncompressed point.
fn public_pem(key: &Value) -> anyhow::Result<String> {
    const PREFIX: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let mut der = PREFIX.to_vec();
    der.extend(BASE64_URL_SAFE_NO_PAD.decode(string(key, "/x")?)?);
    der.extend(BASE64_URL_SAFE_NO_PAD.decode(string(key, "/y")?)?);
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(der)))
}
