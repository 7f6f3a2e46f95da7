//! Starting, and stopping without losing anybody.

use chassis::lifecycle::Exit;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::client::{Client, PATIENCE, get, request};
use super::frames::{self, HELLO, frame, head};
use super::gateway::{Gateway, configured, refusal};
use super::http2::{self, ends, h2_client};

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

/// What has come by then, whether or not it was read.
#[tokio::test]
async fn who_connected_before_it_drains_is_answered() {
    let gateway = Gateway::start().await;
    let mut silent = Client::connect(gateway.address).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = Client::connect(gateway.address).await;
        client.send(request("GET", "/open/x", &[])).await;
        clients.push(client);
    }
    gateway.lifecycle.trigger();
    let lifecycle = gateway.lifecycle.clone();
    let stopping = tokio::spawn(async move { lifecycle.run_until_stopped().await });
    for client in &mut clients {
        // Whoever was answered before was not told that it is the last.
        assert_eq!(client.answer().await.status, 200);
    }
    silent.closed().await;
    assert_eq!(stopping.await.unwrap(), Exit::Clean);
}

/// RFC 9113 §6.8. As frames: h2's own client would not begin what must not be accepted.
#[tokio::test]
async fn draining_finishes_what_is_under_way_over_http2_and_accepts_nothing_more() {
    let gateway = Gateway::start().await;
    let (mut sender, idle) = h2_client(&gateway).await;
    let (answer, _) = sender.send_request(http2::get("/open/x").body(()).unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    let mut busy = TcpStream::connect(gateway.address).await.unwrap();
    let slow = frame(1, 5, 1, &head("GET", "/open/slow", &[]));
    busy.write_all(&[HELLO, &frame(4, 0, 0, b""), &slow].concat()).await.unwrap();
    while gateway.upstream.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    gateway.lifecycle.trigger();
    let lifecycle = gateway.lifecycle.clone();
    let stopping = tokio::spawn(async move { lifecycle.run_until_stopped().await });
    ends(idle).await;

    let expect = async |busy: &mut TcpStream| {
        let frame = tokio::time::timeout(PATIENCE, frames::next(busy)).await.expect("nothing comes");
        frame.expect("it was cut off")
    };
    // First that it will go; after a round trip, which request is the last.
    loop {
        let frame = expect(&mut busy).await;
        assert_ne!(frame.kind, 1, "answered before it could be");
        if frame.kind == 7 && frame.payload[..4] == 1_u32.to_be_bytes() {
            assert_eq!(frame.payload[4..8], [0; 4], "no error");
            break;
        }
    }
    // Once the ping behind it is answered, it has been read.
    let late = [frame(1, 5, 3, &head("GET", "/open/x", &[])), frame(6, 0, 0, b"are read")].concat();
    busy.write_all(&late).await.unwrap();
    loop {
        let frame = expect(&mut busy).await;
        assert_eq!(frame.stream, 0, "answered");
        if frame.kind == 6 && frame.payload == b"are read" {
            break;
        }
    }
    gateway.upstream.go();
    let (mut body, mut has_ended) = (Vec::new(), false);
    while let Some(frame) = tokio::time::timeout(PATIENCE, frames::next(&mut busy)).await.expect("it is kept")
    {
        assert!(matches!(frame.stream, 0 | 1), "the late one was answered");
        // `:status 200` is entry 8 of the static table.
        assert!(frame.kind != 1 || frame.payload[0] == 0x88);
        if frame.kind == 0 {
            body.extend(frame.payload);
            has_ended |= frame.flags & 1 == 1;
        }
    }
    assert_eq!((&body[..], has_ended), (&b"slow"[..], true));
    assert_eq!(stopping.await.unwrap(), Exit::Clean);
    assert_eq!(gateway.upstream.requests().len(), 2, "nothing was begun");
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
