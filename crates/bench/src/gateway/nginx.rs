//! nginx: the upstream of every variant, and the plain proxy that all others are compared with.

use std::{fs, net::SocketAddr, path::Path};

use super::Variant;

fn configuration(folder: &Path, http: &str) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1; pid {0}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
{http}
}}
",
        folder.display()
    )
}

fn variant(name: &'static str, folder: &Path, listen: SocketAddr, http: &str) -> anyhow::Result<Variant> {
    fs::create_dir_all(folder)?;
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration(folder, http))?;
    let arguments =
        ["-p", &folder.display().to_string(), "-c", &file.display().to_string()].map(str::to_owned).to_vec();
    Ok(Variant::new(name, "/usr/sbin/nginx", arguments, listen))
}

/// The application: one worker that answers 200 and two bytes.
pub fn upstream(folder: &Path, listen: SocketAddr) -> anyhow::Result<Variant> {
    variant(
        "upstream",
        folder,
        listen,
        &format!(
            "  server {{ listen {listen} reuseport; location / {{ return 200 \"ok\"; }} location = /no {{ return 204; }} }}"
        ),
    )
}

const PROXY: &str = "proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;";

pub fn plain(
    name: &'static str,
    folder: &Path,
    listen: SocketAddr,
    upstream: SocketAddr,
) -> anyhow::Result<Variant> {
    let http = format!(
        "  upstream app {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{ listen {listen}; location / {{ {PROXY} }} }}"
    );
    variant(name, folder, listen, &http)
}

/// With `auth_request` to an endpoint that always agrees: what a question per request costs at the least.
pub fn auth_request(folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<Variant> {
    let http = format!(
        "  upstream app {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{ listen {listen};
    location / {{ auth_request /ask; {PROXY} }}
    location = /ask {{ internal; proxy_pass http://app/no; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }} }}"
    );
    variant("nginx, auth_request (always 204)", folder, listen, &http)
}
