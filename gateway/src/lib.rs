//! The gateway: routes, cookies, HTTP contracts and the reverse proxy in front of any application.
//!
//! A request comes in through [`http1`], which refuses what two readers could understand differently; finds its
//! rule in [`routing`]; is believed or not by [`layers`]; and is passed on by [`proxy`] to one of the [`upstreams`].
//! The gateway's own endpoints are in [`own`]. It holds no data of its own: what it needs to know it asks its [`peers`].

pub mod app;
pub mod config;
pub mod cookies;
pub mod http1;
pub mod layers;
pub mod own;
pub mod peers;
pub mod problem;
pub mod proxy;
mod reload;
pub mod roles;
pub mod routing;
mod spawner;
pub mod state;
pub mod upstreams;

pub use app::{Args, Changes, Injected, Running, StartError, config_from, run, start};
