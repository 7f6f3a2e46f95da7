//! auth-service: users, clients, credentials, signing keys and refresh families; it issues, introspects and revokes tokens.
//!
//! A call comes in through [`rpc`], which parses it and calls one of the [`flows`]; what is true about users, keys and
//! tokens is in [`domain`]; the [`store`] keeps it, [`hashing`] rations the dear work, and [`peers`] is policy-service as
//! far as issuing needs it. [`app`] puts it together and is the only file that names adapters.

pub mod app;
pub mod config;
pub mod domain;
pub mod flows;
pub mod hashing;
pub mod metrics;
pub mod peers;
pub mod rpc;
pub mod store;
mod upkeep;

pub use app::{Args, Injected, Listeners, Running, StartError, migrate, run, start};
pub use config::{Config, config_from};
