//! An application that writes down what it is sent, byte for byte, and does what the path asks for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Request>>,
    connections: watch::Sender<usize>,
    /// Connections that the gateway closed.
    closed: watch::Sender<usize>,
    go: Notify,
    /// Done whatever the path asks for.
    always: Mutex<Option<&'static str>>,
}

/// What came.
#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    /// Names as sent, in order.
    pub headers: Vec<(String, String)>,
    /// Once it is there in full.
    pub body: Vec<u8>,
    /// What has come of it so far.
    pub arrived: Vec<u8>,
}

impl Request {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there twice: {all:?}");
        all.first().copied()
    }

    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

impl Upstream {
    pub async fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let own = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                own.connections.send_modify(|count| *count += 1);
                let seen = Arc::clone(&own);
                connections.spawn(async move {
                    serve(stream, &seen).await;
                    seen.closed.send_modify(|count| *count += 1);
                });
            }
        });
        Self { address, seen, accepting: accepting.abort_handle() }
    }

    /// Ends it and its connections, as if it were killed.
    pub fn kill(&self) {
        self.accepting.abort();
    }

    /// From now on, whatever the path asks for.
    pub fn always(&self, what: Option<&'static str>) {
        *self.seen.always.lock().unwrap() = what;
    }

    pub fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub fn last(&self) -> Request {
        self.requests().pop().expect("nothing came")
    }

    pub fn connections(&self) -> usize {
        *self.seen.connections.borrow()
    }

    pub async fn until_closed(&self, count: usize) {
        let mut closed = self.seen.closed.subscribe();
        tokio::time::timeout(super::client::PATIENCE, closed.wait_for(|closed| *closed >= count))
            .await
            .expect("the gateway kept its connection")
            .unwrap();
    }

    /// Lets what waits go on.
    pub fn go(&self) {
        self.seen.go.notify_one();
    }
}

struct Reader {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Reader {
    async fn more(&mut self) -> Option<()> {
        (self.stream.read_buf(&mut self.unread).await.ok()? > 0).then_some(())
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            self.more().await?;
        }
        Some(self.unread.drain(..count).collect())
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.take(end + 2).await?;
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more().await?;
        }
    }

    async fn request(&mut self, seen: &Seen) -> Option<Request> {
        let line = self.line().await?;
        let mut headers = Vec::new();
        loop {
            let field = self.line().await?;
            if field.is_empty() {
                break;
            }
            let (name, value) = field.split_once(':').unwrap();
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut request = Request { line, headers, body: Vec::new(), arrived: Vec::new() };
        // Written down when the head is there: a body may never come.
        let index = {
            let mut requests = seen.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        if let Some(length) = request.header("content-length").map(|length| length.parse().unwrap()) {
            while request.body.len() < length {
                if self.unread.is_empty() {
                    self.more().await?;
                }
                let part = self.unread.len().min(length - request.body.len());
                request.body.extend(self.unread.drain(..part));
                seen.requests.lock().unwrap()[index].arrived.clone_from(&request.body);
            }
        } else if request.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(&self.line().await?, 16).unwrap();
                let chunk = self.take(size + 2).await?;
                request.body.extend(&chunk[..size]);
                seen.requests.lock().unwrap()[index].arrived.clone_from(&request.body);
                if size == 0 {
                    break;
                }
            }
        }
        seen.requests.lock().unwrap()[index].body.clone_from(&request.body);
        Some(request)
    }
}

async fn serve(stream: TcpStream, seen: &Seen) {
    let mut reader = Reader { stream, unread: Vec::new() };
    while let Some(request) = reader.request(seen).await {
        if answer(&mut reader, &request, seen).await.is_none() {
            return;
        }
    }
}

/// None: the connection ends.
async fn answer(reader: &mut Reader, request: &Request, seen: &Seen) -> Option<()> {
    let path = request.target().split('?').next().unwrap().to_owned();
    let mut write = async |bytes: &[u8]| reader.stream.write_all(bytes).await.ok();
    let always = *seen.always.lock().unwrap();
    match always.unwrap_or(path.rsplit('/').next().unwrap_or_default()) {
        "slow" => {
            seen.go.notified().await;
            write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await
        }
        "failing" => write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n").await,
        "events" => {
            write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\r\n").await?;
            for number in 1..=3 {
                seen.go.notified().await;
                write(format!("id: {number}\ndata: event {number}\n\n").as_bytes()).await?;
            }
            None
        }
        "drip" => {
            write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n").await?;
            for byte in b"drip" {
                seen.go.notified().await;
                write(&[*byte]).await?;
            }
            Some(())
        }
        "never" => {
            let mut nothing = [0; 1];
            let _ = reader.stream.read(&mut nothing).await;
            None
        }
        "stream" => {
            write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await?;
            seen.go.notified().await;
            write(b"6\r\nsecond\r\n0\r\n\r\n").await
        }
        "broken" => {
            write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart").await?;
            None
        }
        "garbage" => {
            write(b"I am no HTTP\r\n\r\n").await?;
            None
        }
        "gone" => None,
        "late" => {
            seen.go.notified().await;
            None
        }
        "closing" => {
            write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
            None
        }
        "headers" => {
            write(
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
                x-latchkey-roles: admin\r\nset-cookie: a=1\r\nset-cookie: latchkey-session=stolen\r\nx-kept: 1\r\n\
                x-request-id: theirs\r\naccess-control-allow-origin: *\r\n\r\nok",
            )
            .await
        }
        "nothing" => write(b"HTTP/1.1 204 No Content\r\n\r\n").await,
        "switch" => {
            write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-own: 1\r\n\r\nhello").await?;
            loop {
                let got = reader.take(1).await?;
                reader.stream.write_all(&got).await.ok()?;
            }
        }
        _ if request.line.starts_with("HEAD ") => write(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n").await,
        _ => {
            let body = format!("{} {}", request.target(), request.body.len());
            write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
        }
    }
}
