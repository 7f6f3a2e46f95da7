//! Opening listeners, with errors that say which setting to change.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{setting}: {address} is in use by another process")]
    InUse { setting: String, address: SocketAddr },
    #[error("{setting}: this process may not listen on {address}")]
    NotAllowed { setting: String, address: SocketAddr },
    #[error("{setting}: {address} is not an address of this machine")]
    NotOurs { setting: String, address: SocketAddr },
    #[error("{setting}: cannot listen on {address}: {source}")]
    Other {
        setting: String,
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

/// Listens on `address`. `setting` is the key that the address came from, for the error. Must be called inside a
/// runtime.
pub fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address).map_err(|source| {
        let setting = setting.to_owned();
        match source.kind() {
            std::io::ErrorKind::AddrInUse => BindError::InUse { setting, address },
            std::io::ErrorKind::PermissionDenied => BindError::NotAllowed { setting, address },
            std::io::ErrorKind::AddrNotAvailable => BindError::NotOurs { setting, address },
            _ => BindError::Other { setting, address, source },
        }
    })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    // Not `std`'s bind: its backlog of 128 is short for a herd that reconnects.
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    // A restart must not wait for the former process's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// A connection that broke before it was accepted is nothing. When descriptors have run out, trying again at once
/// would only burn the processor.
pub(crate) async fn after_accept_error(error: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        tracing::error!(%error, "a connection cannot be accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_names_the_setting_and_the_address() {
        let first = bind("server.listen", SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind("server.listen", address).unwrap_err();
        assert_eq!(error.to_string(), format!("server.listen: {address} is in use by another process"));

        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 7001));
        let error = bind("operations.listen", elsewhere).unwrap_err().to_string();
        assert_eq!(error, "operations.listen: 192.0.2.1:7001 is not an address of this machine");
    }
}
