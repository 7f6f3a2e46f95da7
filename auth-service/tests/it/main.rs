//! auth-service from outside: the whole server on port 0 with a clock that is moved by hand and a fake policy-service over
//! real gRPC; and the conformance suite of stores, run on every adapter.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod access;
mod accounts;
mod audit;
mod authority;
mod clients;
mod clocks;
mod endings;
mod keys;
mod killed;
mod login;
mod passwords;
mod policy;
mod pool;
mod postgres;
mod refresh;
mod stack;
mod start;
mod store;
mod tokens;
