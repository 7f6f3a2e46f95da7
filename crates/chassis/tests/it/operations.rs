//! Probes and metrics over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use latchkey_chassis::grpc::server::bind;
use latchkey_chassis::lifecycle::Lifecycle;
use latchkey_chassis::operations;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::echo::{life, own_address};

fn serve(life: &Lifecycle) -> SocketAddr {
    let listener = bind("operations.listen", own_address()).unwrap();
    let address = listener.local_addr().unwrap();
    operations::serve(listener, life);
    address
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn probes_say_what_is_missing_until_the_end() {
    let life = life(Duration::from_secs(60));
    let (store, policy) = (life.readiness("store"), life.dependency("policy"));
    let address = serve(&life);
    assert_eq!(get(address, "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(get(address, "/readyz").await, (503, "not ready\nnot ok: store: starting\n".to_owned()));

    store.ready();
    policy.not_ready("no connection");
    assert_eq!(get(address, "/readyz").await, (200, "ready\n".to_owned()));
    let (status, text) = get(address, "/readyz?verbose").await;
    assert_eq!(status, 200);
    assert_eq!(text, "ready\nok: store\nnot ok: policy (neighbour): no connection\n");
    let (_, metrics) = get(address, "/metrics").await;
    assert!(metrics.contains("\nlatchkey_process_ready 1\n"), "{metrics}");
    assert!(metrics.contains("latchkey_process_condition{condition=\"policy\"} 0"), "{metrics}");

    let held = life.draining();
    life.spawn("server", async move {
        held.cancelled().await;
        std::future::pending::<()>().await;
    });
    life.trigger();
    let stopping = life.clone();
    let stopped = tokio::spawn(async move { stopping.run_until_stopped().await });
    life.draining().cancelled().await;
    let (status, text) = get(address, "/readyz").await;
    assert_eq!((status, text.lines().next()), (503, Some("stopping")), "it answers while draining");
    assert_eq!(get(address, "/livez").await.0, 200);
    life.end();
    stopped.await.unwrap();
    // A test beside this one may be starting a child, which holds every socket for a moment.
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.expect("nobody listens any more");
}

#[tokio::test(start_paused = true)]
async fn slow_headers_are_given_up() {
    let life = life(Duration::ZERO);
    let address = serve(&life);
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nhost: ").await.unwrap();
    let began = tokio::time::Instant::now();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
