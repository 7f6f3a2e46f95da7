//! How processes talk: gRPC over mutual TLS, one builder for servers and one for clients.

pub mod access;
pub mod call;
pub mod client;
pub mod context;
pub mod server;

pub(crate) use access::is_taken;
pub use access::{ADMITTED, AccessTable, unlisted};
pub use call::Call;
use context::INCARNATION;
pub use context::{actor, caller, request_id, traceparent};
