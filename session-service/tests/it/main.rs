//! session-service from the outside: its stores against one contract, the whole server on a port of its own, and the
//! process that is killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod authority;
mod issuer;
mod process;
mod server;
mod stack;
mod start;
mod store;
mod waiting;
