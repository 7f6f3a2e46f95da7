//! The hostile side: what attackers send, each test named after the requirement that it holds.

mod audit;
mod configuration;
mod cross_site;
mod forge;
mod gateway;
mod interop;
mod limits;
mod oauth;
mod outage;
mod passwords;
mod raw;
mod roles;
pub mod scene;
mod sessions;
mod silence;
mod smuggling;
mod throttle;
mod tokens;
