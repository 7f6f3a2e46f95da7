//! The chassis from outside: real sockets, real TLS, real signals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod authority;
mod client;
mod drain;
mod echo;
mod handshake;
mod names;
mod operations;
#[cfg(feature = "sql")]
mod postgres;
mod process;
mod replicas;
mod server;
#[cfg(feature = "sql")]
mod sqlite;
mod traces;
mod unavailable;
