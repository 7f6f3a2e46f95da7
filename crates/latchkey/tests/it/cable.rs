//! A connection between two processes that a test can cut: bytes then go neither way and nobody is told, which is what a broken
//! network looks like from both sides. It can also be slow, or narrow, one way.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// All that lead through it are cut and mended together, and are as slow as it is.
pub struct Cable {
    state: Arc<watch::Sender<State>>,
    tasks: JoinSet<()>,
}

#[derive(Clone, Copy, Default)]
struct State {
    is_cut: bool,
    /// What comes back stays there; what is sent arrives.
    is_mute: bool,
    /// What is sent towards the far end arrives so much later.
    late: Duration,
    /// So many bytes a second come back on each connection.
    width: Option<u32>,
}

/// What is let through at once where a cable is narrow.
const DROP: usize = 64;

impl Cable {
    pub fn new() -> Self {
        Self { state: Arc::default(), tasks: JoinSet::new() }
    }

    /// The URL at which the one at `url` is reached through this cable.
    pub async fn through(&mut self, url: &str) -> String {
        let (scheme, there) = url.split_once("://").unwrap();
        let (there, state) = (there.to_owned(), Arc::clone(&self.state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(connection(near, there.clone(), state.subscribe()));
                while connections.try_join_next().is_some() {}
            }
        });
        format!("{scheme}://{here}")
    }

    pub fn cut(&self) {
        self.state.send_modify(|state| state.is_cut = true);
    }

    /// The far end hears, and is not heard.
    pub fn mute(&self) {
        self.state.send_modify(|state| state.is_mute = true);
    }

    pub fn mend(&self) {
        self.state.send_replace(State::default());
    }

    /// Whatever is sent to the far end arrives so much later; what comes back is not delayed.
    pub fn delay(&self, late: Duration) {
        self.state.send_modify(|state| state.late = late);
    }

    /// What comes back is held up to so many bytes a second, on each connection.
    pub fn throttle(&self, width: u32) {
        self.state.send_modify(|state| state.width = Some(width));
    }
}

async fn connection(near: TcpStream, there: String, mut state: watch::Receiver<State>) {
    if state.wait_for(|state| !state.is_cut).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(there).await else { return };
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    let (sent, arrives) = mpsc::unbounded_channel();
    // What was sent before the end arrives before it.
    let carry = async {
        tokio::join!(take_in(from_near, sent, state.clone()), hand_on(arrives, to_far, state.clone()));
    };
    // One way that ends takes the other along.
    tokio::select! {
        () = carry => {}
        () = carry_back(from_far, to_near, state.clone()) => {}
    }
}

type Piece = (Instant, Vec<u8>);

/// Each piece, with when it is to arrive.
async fn take_in(mut from: OwnedReadHalf, to: mpsc::UnboundedSender<Piece>, state: watch::Receiver<State>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let late = state.borrow().late;
        if to.send((Instant::now() + late, bytes[..read].to_vec())).is_err() {
            return;
        }
    }
}

async fn hand_on(
    mut pieces: mpsc::UnboundedReceiver<Piece>,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) {
    while let Some((at, bytes)) = pieces.recv().await {
        sleep_until(at).await;
        // What was on its way stays there until the cable is mended.
        if state.wait_for(|state| !state.is_cut).await.is_err() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn carry_back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        for drop in bytes[..read].chunks(DROP) {
            let Ok(width) =
                state.wait_for(|state| !state.is_cut && !state.is_mute).await.map(|state| state.width)
            else {
                return;
            };
            if let Some(width) = width {
                sleep(Duration::from_secs(1) * u32::try_from(drop.len()).unwrap() / width).await;
            }
            if to.write_all(drop).await.is_err() {
                return;
            }
        }
    }
}
