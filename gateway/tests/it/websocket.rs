//! WebSocket as browsers speak it: a real handshake, frames, and the close.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message, protocol::CloseFrame};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use super::client::{Client, PATIENCE, request};
use super::gateway::{ALICE, Gateway};

/// An application that greets who comes, and sends back what it is sent. "bye" is answered by closing.
async fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

#[allow(clippy::result_large_err, reason = "the library's signature")]
async fn serve(stream: TcpStream) {
    let mut subject = String::new();
    let greet = |request: &Request, mut response: Response| {
        let header = |name: &str| {
            request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned()
        };
        subject = header("x-latchkey-subject");
        assert_eq!(header("sec-websocket-protocol"), "chat");
        response.headers_mut().insert("sec-websocket-protocol", "chat".parse().unwrap());
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, greet).await.unwrap();
    socket.send(Message::text(format!("hello {subject}"))).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text == "bye" => {
                let frame = CloseFrame { code: CloseCode::Away, reason: "as asked".into() };
                socket.close(Some(frame)).await.unwrap();
            }
            Message::Text(_) | Message::Binary(_) => socket.send(message).await.unwrap(),
            _ => {}
        }
    }
}

async fn open(gateway: &Gateway) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let bearer = gateway.bearer();
    let request = http::Request::get("ws://app.example/chat")
        .header("host", "app.example")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "chat")
        .header("authorization", bearer.trim_start_matches("Authorization: "))
        .body(())
        .unwrap();
    // It checks the answer to its key.
    let (socket, answer) = client_async(request, stream).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    socket
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Message {
    tokio::time::timeout(PATIENCE, socket.next()).await.expect("nothing came").unwrap().unwrap()
}

fn routes(address: SocketAddr) -> String {
    format!(
        "[upstream.chat]\nendpoints = [\"http://{address}\"]\ntimeout = \"5s\"\n\
         [[route]]\npath = \"/chat\"\naccept = [\"token\"]\nupstream = \"chat\"\n"
    )
}

#[tokio::test]
async fn frames_both_ways_and_the_close_from_either_side() {
    let gateway = Gateway::with_routes(&routes(application().await)).await;
    let mut socket = open(&gateway).await;
    assert_eq!(next(&mut socket).await, Message::text(format!("hello {ALICE}")));
    let large = Bytes::from(vec![7; 300_000]);
    for message in [Message::text("grüezi"), Message::binary(Bytes::new()), Message::binary(large)] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(next(&mut socket).await, message);
    }
    socket.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::Pong(Bytes::from_static(b"?")));
    socket.send(Message::text("bye")).await.unwrap();
    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("no close") };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Away, "as asked"));
    assert!(socket.next().await.is_none(), "the connection ends with it");

    let mut socket = open(&gateway).await;
    next(&mut socket).await;
    let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    socket.close(Some(frame.clone())).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::Close(Some(frame)), "echoed by the application");
}

#[tokio::test]
async fn silence_is_no_reason_to_close() {
    let gateway = Gateway::patient_for(PATIENCE, std::time::Duration::from_millis(300)).await;
    gateway.rewrite(&routes(application().await));
    super::gateway::eventually("the route is there", async || {
        let answer = super::client::get(gateway.address, "/chat", &[]).await;
        (answer.status == 401).then_some(())
    })
    .await;
    let mut socket = open(&gateway).await;
    next(&mut socket).await;
    // As long as it takes three others to be idle, one after the other.
    for _ in 0..3 {
        let mut idle = Client::connect(gateway.address).await;
        idle.send(request("GET", "/nowhere", &[])).await;
        assert_eq!(idle.answer().await.status, 404);
        idle.closed().await;
    }
    socket.send(Message::text("still here")).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::text("still here"));
}

#[tokio::test]
async fn who_is_refused_never_reaches_the_application() {
    let gateway = Gateway::with_routes(&routes(application().await)).await;
    let headers = &["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    let mut client = Client::connect(gateway.address).await;
    client.send(request("GET", "/chat", headers)).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"));
}
