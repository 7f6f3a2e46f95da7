//! Free ports.

use std::net::{Ipv4Addr, TcpListener};

/// A port of loopback that nobody listened on a moment ago. Somebody else may take it before its server does: whoever starts
/// one tries again with another.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
