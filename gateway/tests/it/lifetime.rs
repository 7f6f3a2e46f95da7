//! Starting, and stopping without losing anybody.

use chassis::lifecycle::Exit;

use super::client::{Client, get, request};
use super::gateway::{Gateway, configured, refusal};

#[tokio::test]
async fn draining_finishes_what_is_under_way() {
    let gateway = Gateway::start().await;
    let mut idle = Client::connect(gateway.address).await;
    idle.send(request("GET", "/open/x", &[])).await;
    assert_eq!(idle.answer().await.status, 200);
    let mut busy = Client::connect(gateway.address).await;
    busy.send(request("GET", "/open/slow", &[])).await;
    while gateway.upstream.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    gateway.lifecycle.trigger();
    let lifecycle = gateway.lifecycle.clone();
    let stopping = tokio::spawn(async move { lifecycle.run_until_stopped().await });
    idle.closed().await;
    gateway.upstream.go();
    let answer = busy.answer().await;
    assert_eq!(answer.text(), "slow");
    assert_eq!(answer.header("connection"), Some("close"));
    busy.closed().await;
    assert_eq!(stopping.await.unwrap(), Exit::Clean);
    assert!(tokio::net::TcpStream::connect(gateway.address).await.is_err());
}

#[tokio::test]
async fn it_is_ready_when_it_listens() {
    let gateway = Gateway::start().await;
    assert!(gateway.lifecycle.is_ready());
    assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
    let metrics = gateway.lifecycle.metrics().render();
    assert!(metrics.contains("latchkey_gateway_answers_total"), "{metrics}");
    assert!(metrics.contains("class=\"2xx\""), "{metrics}");
}

#[tokio::test]
async fn several_threads_serve_one_port() {
    let gateway = Gateway::with_workers(3).await;
    for _ in 0..12 {
        assert_eq!(get(gateway.address, "/open/x", &[]).await.status, 200);
    }
    // Each thread has connections of its own.
    assert!(gateway.upstream.connections() > 1);
}

#[tokio::test]
async fn what_is_wrong_is_said_before_anything_opens() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap();

    let (mut config, folder) = configured().await;
    config.server.listen = taken;
    std::fs::write(&config.routes, "[[route]]\npath = \"/v1/x\"\n[[route]]\nhue = 1\n").unwrap();
    let said = refusal(config.clone()).await;
    for expected in
        ["routes.toml:1: route /v1/x: accept is missing", "routes.toml:4: route 2: unknown key \"hue\""]
    {
        assert!(said.contains(expected), "{expected:?} is not in {said}");
    }
    assert!(!said.contains("in use"), "a listener was tried: {said}");
    config.routes = folder.path().join("elsewhere.toml");
    assert!(refusal(config).await.contains("elsewhere.toml cannot be read"));

    let (mut config, _folder) = configured().await;
    config.token.keys[0].set_extension("gone");
    assert!(refusal(config).await.contains("does not exist"));

    let (config, _folder) = configured().await;
    std::fs::write(&config.token.keys[0], "{}").unwrap();
    assert!(refusal(config).await.contains("holds no usable key"));
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_setting() {
    let gateway = Gateway::start().await;
    let (mut config, _folder) = configured().await;
    config.server.listen = gateway.address;
    let said = refusal(config).await;
    assert!(said.contains("server.listen") && said.contains("in use"), "{said}");
    let (mut config, _folder) = configured().await;
    config.internal.listen = Some(gateway.internal);
    let said = refusal(config).await;
    assert!(said.contains("internal.listen") && said.contains("in use"), "{said}");
}
