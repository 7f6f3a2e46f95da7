//! The application behind routes that only hostile requests use: whatever reaches it was let in without a right.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Path, credentials, and what those who hold one must hold besides.
const ROUTES: [(&str, &str, &str); 4] = [
    ("/trap/token/*", "[\"token\"]", ""),
    ("/trap/session/*", "[\"session\"]", ""),
    ("/trap/role/*", "[\"token\", \"session\"]", "{ role = \"app-admin\" }"),
    (
        "/trap/permission/{id}",
        "[\"token\", \"session\"]",
        "{ permission = \"document:read\", resource = \"document/{id}\" }",
    ),
];

pub struct Trap {
    pub url: String,
    hits: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Trap {
    pub async fn set() -> anyhow::Result<Trap> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let hits = Arc::new(AtomicU64::new(0));
        let (counted, mut tasks) = (Arc::clone(&hits), JoinSet::new());
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                // A connection without a byte is a probe, not a request.
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                        .await;
                }
            }
        });
        Ok(Trap { url, hits, _tasks: tasks })
    }

    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// The routes that lead here, to be added to a stack's own. Those of a control that `is_open` forget what they require.
    pub fn routes(&self, is_open: bool) -> String {
        let mut routes = format!("\n[upstream.trap]\nendpoints = [\"{}\"]\n", self.url);
        for (path, accept, require) in ROUTES {
            let _ =
                write!(routes, "\n[[route]]\npath = \"{path}\"\naccept = {accept}\nupstream = \"trap\"\n");
            if !require.is_empty() && !is_open {
                let _ = writeln!(routes, "require = {require}");
            }
        }
        routes
    }
}
