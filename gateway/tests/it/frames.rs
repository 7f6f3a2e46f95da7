//! HTTP/2 as bytes, for what no client's library would send or show.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a client says first (RFC 9113 §3.4); SETTINGS follow.
pub const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What came.
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A request's fields: literal, not indexed, new names, no Huffman (RFC 7541 §6.2.2).
pub fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)];
    for (name, value) in pseudo.iter().chain(headers) {
        block.extend([0, name.len() as u8]);
        block.extend(name.bytes());
        block.push(value.len() as u8);
        block.extend(value.bytes());
    }
    block
}

/// The next frame, unless the connection ends before. Pings are answered and passed over.
pub async fn next(from: &mut TcpStream) -> Option<Frame> {
    loop {
        let mut head = [0; 9];
        from.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        from.read_exact(&mut payload).await.ok()?;
        if head[3] != 6 || head[4] != 0 {
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            return Some(Frame { kind: head[3], flags: head[4], stream, payload });
        }
        // The gateway may have closed.
        let _ = from.write_all(&frame(6, 1, 0, &payload)).await;
    }
}
