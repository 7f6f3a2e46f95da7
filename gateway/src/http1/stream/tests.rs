use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const PATIENT: Timeouts = Timeouts { head: Duration::from_secs(10), idle: Duration::from_secs(60) };
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn strict(first: &[u8]) -> (DuplexStream, Strict<DuplexStream>, Arc<Gate>) {
    let (client, server) = duplex(64 * 1024);
    let gate = Arc::new(Gate::default());
    (client, Strict::new(server, first, Arc::clone(&gate), PATIENT), gate)
}

async fn read(stream: &mut Strict<DuplexStream>) -> Vec<u8> {
    let mut buffer = vec![0; 8192];
    let read = stream.read(&mut buffer).await.unwrap();
    buffer.truncate(read);
    buffer
}

#[tokio::test(start_paused = true)]
async fn heads_come_whole() {
    let (mut client, mut stream, _) = strict(&GET[..3]);
    for byte in &GET[3..GET.len() - 1] {
        client.write_all(&[*byte]).await.unwrap();
        let mut one = [0; 1];
        let waiting = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut one)).await;
        assert!(waiting.is_err(), "a part of a head was given away");
    }
    client.write_all(&GET[GET.len() - 1..]).await.unwrap();
    assert_eq!(read(&mut stream).await, GET);
}

#[tokio::test(start_paused = true)]
async fn a_small_buffer_gets_it_in_parts() {
    let (mut client, mut stream, _) = strict(b"");
    client.write_all(&[GET, b"GARBAGE\r\n"].concat()).await.unwrap();
    let (mut all, mut buffer) = (Vec::new(), [0; 7]);
    let expected = [GET, Refused::RequestLine.request()].concat();
    while all.len() < expected.len() {
        let read = stream.read(&mut buffer).await.unwrap();
        all.extend_from_slice(&buffer[..read]);
    }
    assert_eq!(all, expected);
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_is_replaced_and_nothing_follows() {
    let (mut client, mut stream, _) = strict(b"");
    client.write_all(GET).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\nHost: a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read(&mut stream).await, GET);
    assert_eq!(read(&mut stream).await, Refused::BareLineFeed.request());
    drop(client);
    // Not even the end: whoever answers must not take the client for gone.
    let after = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 8])).await;
    assert!(after.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_refused_and_an_idle_connection_ends() {
    let (mut client, mut stream, gate) = strict(b"");
    client.write_all(GET).await.unwrap();
    assert_eq!(read(&mut stream).await, GET);
    gate.finished();
    let begun = Instant::now();
    client.write_all(b"GET / HT").await.unwrap();
    assert_eq!(read(&mut stream).await, Refused::TooSlow.request());
    assert_eq!(begun.elapsed().as_secs(), 10);

    let (_client, mut stream, _) = strict(b"");
    let begun = Instant::now();
    assert_eq!(read(&mut stream).await, b"");
    assert!((60..121).contains(&begun.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_idle_while_it_is_being_answered() {
    let (mut client, mut stream, gate) = strict(b"");
    client.write_all(GET).await.unwrap();
    assert_eq!(read(&mut stream).await, GET);
    let long = tokio::time::timeout(Duration::from_secs(3600), stream.read(&mut [0; 8])).await;
    assert!(long.is_err(), "a streaming answer was cut");
    gate.finished();
    let begun = Instant::now();
    assert_eq!(read(&mut stream).await, b"");
    assert!(begun.elapsed().as_secs() <= 120);
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_is_an_error() {
    let (mut client, mut stream, _) = strict(b"");
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(&[&head[..], b"2\r\nab\r\nzz"].concat()).await.unwrap();
    assert_eq!(read(&mut stream).await, [&head[..], b"2\r\nab\r\n"].concat());
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_an_upgrade_wait_for_its_answer() {
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    for (tunnel, expected) in [(true, &b"\x01\x02"[..]), (false, Refused::RequestLine.request())] {
        let (mut client, mut stream, gate) = strict(b"");
        client.write_all(upgrade).await.unwrap();
        assert_eq!(read(&mut stream).await, upgrade);
        let tail: &[u8] = if tunnel { b"\x01\x02" } else { b"\x01\x02\r\n" };
        client.write_all(tail).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 8])).await.is_err());
        gate.crossed(tunnel);
        assert_eq!(read(&mut stream).await, expected);
    }
}

#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods, reason = "a task of the test, which awaits it")]
async fn the_answer_to_an_upgrade_wakes_what_waits_for_it() {
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    for tunnel in [true, false] {
        // All in one segment: nothing more comes that would wake it.
        let (mut client, mut stream, gate) = strict(b"");
        client.write_all(&[&upgrade[..], GET].concat()).await.unwrap();
        assert_eq!(read(&mut stream).await, upgrade);
        let waiting = tokio::spawn(async move { read(&mut stream).await });
        tokio::task::yield_now().await;
        gate.crossed(tunnel);
        let next = tokio::time::timeout(Duration::from_secs(1), waiting).await;
        assert_eq!(next.expect("it was not woken").unwrap(), GET);
    }
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_a_client_still_sends() {
    let (mut client, mut stream, _) = strict(b"");
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome").await.unwrap();
    read(&mut stream).await;
    let begun = Instant::now();
    let closing = stream.shutdown();
    let sending = async {
        client.write_all(&[0; 50_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.shutdown().await.unwrap();
    };
    tokio::join!(async { closing.await.unwrap() }, sending);
    assert_eq!(begun.elapsed().as_millis(), 300);
}
