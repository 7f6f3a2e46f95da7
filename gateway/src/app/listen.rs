//! Listening sockets. Each thread has its own on the same port, and the kernel spreads connections over them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use chassis::grpc::server::{BindError, bind};
use socket2::{Domain, Protocol, Socket, Type};

/// Completed connections that wait to be accepted, each socket.
const BACKLOG: i32 = 1024;

/// Sockets of one address.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) sockets: Vec<TcpListener>,
}

/// `count` sockets on the public address.
pub(super) fn public(address: SocketAddr, count: usize) -> Result<Listening, BindError> {
    open("server.listen", address, count)
}

/// One socket.
pub(super) fn one(setting: &str, address: SocketAddr) -> Result<Listening, BindError> {
    open(setting, address, 1)
}

fn open(setting: &str, wanted: SocketAddr, count: usize) -> Result<Listening, BindError> {
    if wanted.port() != 0 {
        // Sockets that share a port share it with whoever else shares it. A plain one does not, and so finds out
        // whether another process is there already.
        drop(bind(setting, wanted)?);
    }
    let failed =
        |source: io::Error| BindError::Other { setting: setting.to_owned(), address: wanted, source };
    let mut address = wanted;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let socket = shared(address).map_err(failed)?;
        address = socket.local_addr().map_err(failed)?;
        sockets.push(socket);
    }
    Ok(Listening { address, sockets })
}

fn shared(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn threads_share_a_port_and_processes_do_not() {
        let listening = public("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_eq!(listening.sockets.len(), 3);
        let again = public(listening.address, 1).unwrap_err().to_string();
        assert!(again.contains("server.listen") && again.contains("in use"), "{again}");
    }
}
