//! session-service: sessions, made from a login proof, found by a secret, ended at once.
//!
//! A call comes in through [`rpc`], which parses it and calls one of the [`flows`]; what a session is and when it counts
//! is in [`domain`]; the [`store`] keeps it, and [`peers`] is auth-service as far as it is needed.

pub mod app;
pub mod config;
pub mod domain;
pub mod flows;
pub mod peers;
pub mod rpc;
pub mod store;
mod upkeep;

pub use app::{Args, Injected, Running, StartError, migrate, run, start};
pub use config::{Config, config_from};
