//! What is true about users, clients, passwords, keys and tokens, whoever asks and wherever it is stored.
//!
//! Pure: `now`, ids, salts and nonces are arguments. Nothing here waits, reads a clock, draws randomness or knows
//! a database or a wire format.

pub mod blocklist;
pub mod claims;
pub mod client;
pub mod id;
pub mod page;
pub mod password;
pub mod phc;
pub mod refresh;
pub mod scope;
pub mod sealing;
pub mod secret;
pub mod signing_key;
pub mod throttle;
pub mod user;
pub mod username;
