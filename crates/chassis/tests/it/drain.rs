//! Stopping with a call in flight.

use std::time::Duration;

use latchkey_chassis::grpc::server::bind;
use latchkey_chassis::lifecycle::Exit;
use tokio::net::TcpStream;
use tonic::Code;

use crate::authority::Authority;
use crate::echo::{call, own_address, say, send, start, start_with};

#[tokio::test]
async fn a_call_in_flight_is_answered_and_new_connections_are_refused() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let channel = server.channel(&authority.identity("gateway"));
    let waiting = tokio::spawn(send(channel.clone(), "/test.v1.Echo/Wait", call().request(String::new())));
    server.echo.begun.notified().await;

    server.life.trigger();
    assert!(!server.life.is_ready());
    server.life.draining().cancelled().await;
    // The listener closes as soon as its task runs.
    let refused = async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.expect("nobody listens any more");
    assert!(!server.stopped.is_finished(), "it waits for the call");

    server.echo.release.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap(), "released");
    assert_eq!(server.stopped.await.unwrap(), Exit::Clean);
    assert_eq!(say(&channel).await.unwrap_err().code(), Code::Unavailable);
    bind("server.listen", server.address).expect("the port is free again");
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_is_cut_off() {
    let authority = Authority::new();
    let server = start_with(&authority.identity("auth"), own_address(), Duration::from_millis(50), |_| {});
    let channel = server.channel(&authority.identity("gateway"));
    let waiting = tokio::spawn(send(channel, "/test.v1.Echo/Wait", call().request(String::new())));
    server.echo.begun.notified().await;
    let exit = server.stop().await;
    assert!(matches!(exit, Exit::CutOff { tasks } if tasks > 0), "{exit:?}");
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let channel = server.channel(&authority.identity("gateway"));
    say(&channel).await.unwrap();
    let stopped =
        tokio::time::timeout(Duration::from_secs(5), server.stop()).await.expect("long before the drain");
    assert_eq!(stopped, Exit::Clean);
}
