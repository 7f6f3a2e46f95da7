//! Real PostgreSQL and Redis servers for tests, benchmarks and `latchkey demo`, and a collector of traces. Each is its
//! user's own: on a free port of loopback, in a
//! temporary folder, gone when the value is dropped or the test's thread dies, and free to be killed, stopped and resumed.
//!
//! A server that is not installed fails the test that wants it: `cargo xtask setup` installs both. The demo goes on without
//! one, and says why it did not start.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "for tests and the demo: what goes wrong here stops them, and says why"
)]

mod collector;
mod failure;
mod port;
mod postgres;
mod process;
mod redis;

pub use collector::{Collected, Collector};
pub use port::free_port;
pub use postgres::{Held, Postgres, Sync};
pub use redis::Redis;
