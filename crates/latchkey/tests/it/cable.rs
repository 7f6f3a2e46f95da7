//! A connection between two processes that a test can cut: bytes then go neither way and nobody is told, which is what a broken
//! network looks like from both sides.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// All that lead through it are cut and mended together.
pub struct Cable {
    is_cut: Arc<watch::Sender<bool>>,
    _tasks: JoinSet<()>,
}

impl Cable {
    pub fn new() -> Self {
        Self { is_cut: Arc::new(watch::Sender::new(false)), _tasks: JoinSet::new() }
    }

    /// The URL at which the one at `url` is reached through this cable.
    pub async fn through(&mut self, url: &str) -> String {
        let (scheme, there) = url.split_once("://").unwrap();
        let (there, is_cut) = (there.to_owned(), Arc::clone(&self.is_cut));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        self._tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (there, is_cut) = (there.clone(), is_cut.subscribe());
                connections.spawn(connection(near, there, is_cut));
                while connections.try_join_next().is_some() {}
            }
        });
        format!("{scheme}://{here}")
    }

    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn connection(near: TcpStream, there: String, mut is_cut: watch::Receiver<bool>) {
    if is_cut.wait_for(|is_cut| !is_cut).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(there).await else { return };
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    // One that ends takes the other along.
    tokio::select! {
        () = carry(from_near, to_far, is_cut.clone()) => {}
        () = carry(from_far, to_near, is_cut) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_cut: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        // What was on its way stays there until the cable is mended.
        if is_cut.wait_for(|is_cut| !is_cut).await.is_err() || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
