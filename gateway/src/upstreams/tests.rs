use super::*;
use crate::routing::{OwnPaths, parse};

fn backend(text: &str) -> Backend {
    Backend::new(&parse(text, OwnPaths::new("")).unwrap().upstreams()[0])
}

fn addresses(backend: &Backend) -> Vec<String> {
    backend.endpoints().iter().map(|endpoint| endpoint.address.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_last_one_that_is_well_is_never_left_out() {
    let backend = backend("[upstream.a]\nendpoints = [\"http://a:1\", \"http://b:1\", \"http://c:1\"]\n");
    let endpoints = backend.endpoints();
    for endpoint in endpoints.iter() {
        for _ in 0..10 {
            backend.failed(endpoint, Failed::Unreachable);
        }
    }
    let well: Vec<bool> = endpoints.iter().map(|endpoint| endpoint.is_well()).collect();
    assert_eq!(well, [false, false, true]);
    backend.recover(Instant::now());
    assert!(!endpoints[0].is_well());
    backend.recover(Instant::now() + std::time::Duration::from_secs(1));
    assert!(endpoints.iter().all(|endpoint| endpoint.is_well()));
}

#[test]
fn a_name_without_addresses_keeps_those_it_had() {
    let backend = backend("[upstream.a]\ndns = \"a.svc:80\"\n");
    assert!(addresses(&backend).is_empty());
    assert!(backend.found(vec!["10.0.0.2:80".into(), "10.0.0.1:80".into(), "10.0.0.2:80".into()]));
    assert_eq!(addresses(&backend), ["10.0.0.1:80", "10.0.0.2:80"]);
    let before = backend.endpoints();
    assert!(!backend.found(vec!["10.0.0.2:80".into(), "10.0.0.1:80".into()]), "another order is no change");
    assert!(!backend.found(Vec::new()));
    assert!(backend.found(vec!["10.0.0.2:80".into(), "10.0.0.3:80".into()]));
    assert_eq!(addresses(&backend), ["10.0.0.2:80", "10.0.0.3:80"]);
    assert!(Arc::ptr_eq(&before[1], &backend.endpoints()[0]), "what is known of it is kept");
}
