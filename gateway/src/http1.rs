//! Strict HTTP/1: what two readers could understand differently is refused before anybody understands it.
//!
//! hyper forgives much of what request smuggling is made of (a length beside a transfer coding, two `Host` lines,
//! bare line feeds). So every byte of a connection passes a [`scanner`] first, which knows where heads and bodies
//! begin and end. A head that is refused never reaches hyper: in its place hyper reads a fixed request that says
//! why ([`Refused`]), and so the answer comes in its turn, after those to earlier requests on the connection.

mod chunked;
mod head;
mod refused;
pub mod scanner;
mod small;
pub mod stream;

pub use refused::{MARKER, Refused};
pub use small::Small;
pub use stream::{Gate, Strict, Timeouts};

/// What a head may be at most: 32 KiB with the request line, and 100 fields.
pub const HEAD_BYTES: usize = 32 * 1024;
pub const HEAD_FIELDS: usize = 100;
