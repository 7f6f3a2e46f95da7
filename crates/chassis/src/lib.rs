//! How a process starts, is configured, talks, is watched and stops.
//!
//! Nothing here knows what the processes are for: no domain words. What the rest of the workspace may not touch
//! by itself (the clock, randomness, the environment, spawning) has its one home here and is handed out as values,
//! so that a test can run a whole service with a clock it moves by hand.

pub mod audit;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod grpc;
pub mod lifecycle;
pub mod operations;
#[cfg(feature = "sql")]
pub mod postgres;
pub mod process;
pub mod secret;
#[cfg(feature = "sql")]
pub mod sqlite;
pub mod status;
pub mod telemetry;
pub mod tls;
