//! policy-service: roles, grants and groups, and the checks that they decide.
//!
//! A call comes in through [`rpc`], which parses it and calls one of the [`flows`]; what is decided is decided in
//! [`domain`], from what the [`store`] read in one snapshot.

pub mod app;
pub mod config;
pub mod domain;
pub mod flows;
pub mod rpc;
pub mod store;

pub use app::{Args, Injected, Listeners, Running, StartError, migrate, run, start};
pub use config::{Config, config_from};
