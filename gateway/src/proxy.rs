//! The path of a request from a client to an application and back, built for speed.
//!
//! One thread, one runtime, one listener, one pool of upstream connections ([`worker`]); hyper's connection API on
//! both sides; no router, no boxed body and no task switch that could be spared for a request whose token is
//! remembered. What is slower by nature (asking a neighbour, the gateway's own endpoints) is boxed and out of the way.
//!
//! INVARIANT: a request is passed on only with a [`authorize::Permit`], which nothing but the decision makes.

mod alarm;
mod authorize;
mod blocks;
mod body;
mod connection;
pub mod counters;
mod endpoint;
mod forward;
mod last_token;
mod latency;
mod multiplexed;
mod options;
mod patience;
mod plan;
mod pool;
mod reached;
mod service;
mod spans;
mod transfer;
mod tunnel;
pub mod worker;
