//! The real gateway on port 0, with a hand-written application behind it and the services played by fakes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod client;
mod credentials;
mod cross_site;
mod endings;
mod forwarding;
mod frames;
mod gateway;
mod grpc;
mod http2;
mod http2_upstream;
mod identity;
mod lifetime;
mod paths;
mod peers;
mod reload;
mod retries;
mod role_changes;
mod streams;
mod strict;
mod upstream;
mod upstreams;
mod websocket;
