//! `rediss://`: who the server is, is looked at.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use servers::free_port;
use session_service::store::redis::{RedisSettings, RedisStore};

use super::*;
use crate::authority::Authority;

/// Where the server may read it, whoever it runs as.
fn lend(from: &Path, to: &Path) -> String {
    fs::copy(from, to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o644)).unwrap();
    to.display().to_string()
}

#[tokio::test]
async fn a_server_is_believed_by_its_authority_only() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (tls, foreign) = (authority.tls("redis"), stranger.tls("redis"));
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let port = free_port();
    let settings = [
        format!("tls-port {port}"),
        format!("tls-cert-file {}", lend(&tls.certificate, &folder.path().join("crt"))),
        format!("tls-key-file {}", lend(&tls.key, &folder.path().join("key"))),
        format!("tls-ca-cert-file {}", lend(&tls.authority, &folder.path().join("ca"))),
        "tls-auth-clients no".to_owned(),
    ];
    let _server = Redis::start_with(&settings.each_ref().map(String::as_str));
    let to = |host: &str, authority: &Path| {
        let url = format!("rediss://{host}:{port}/0?sslrootcert={}", authority.display());
        RedisSettings::new(&url, None, PATIENT).unwrap()
    };

    let kept = life();
    let store: Store = Arc::new(RedisStore::open(&to("localhost", &tls.authority), &kept).await.unwrap());
    create(&store, login(1, "usr_1", START)).await;
    assert_eq!(found(&store, 1, START).await, Some(id(1)));

    // Another authority's server, and this one's under a name that is not in its certificate.
    for settings in [to("localhost", &foreign.authority), to("127.0.0.1", &tls.authority)] {
        let life = life();
        let reason = tokio::select! {
            opened = RedisStore::open(&settings, &life) => panic!("{:?}", opened.err()),
            reason = told(&life) => reason,
        };
        assert!(reason.contains("certificate"), "{reason}");
    }
}

async fn told(life: &Lifecycle) -> String {
    loop {
        let reasons = life.conditions().into_iter().filter_map(|one| one.state.err());
        if let Some(reason) = reasons.into_iter().find(|reason| reason.contains("waiting")) {
            return reason;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
