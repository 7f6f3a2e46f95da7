//! The whole system, run as its users run it: the real binary, real processes, real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod administrator;
mod asking;
mod away;
mod bad_starts;
mod cable;
mod clocks;
mod command_line;
mod cut_off;
mod demo;
mod deploy;
mod documents;
mod endings;
mod faults;
mod guarded;
mod guessing;
mod hostile;
mod layering;
mod logout;
mod memory;
mod outages;
mod password_change;
mod readme;
mod replicas;
mod routes_change;
mod rpc;
mod schemas;
mod stack;
mod standstill;
mod stories;
mod taken_back;
mod threat_model;
mod traces;
