//! policy-service from outside: its store's promises on every adapter, what it says when it cannot start, and the whole
//! server on a free port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod access;
mod arguments;
mod audit;
mod changes;
mod conformance;
mod groups;
mod killed;
mod lists;
mod names;
mod opening;
mod postgres;
mod process;
mod races;
mod random;
mod replicas;
mod service;
mod stack;
mod unavailable;
