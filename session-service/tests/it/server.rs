//! The RPCs, called as a neighbour calls them.

mod access;
mod creating;
mod ending;
mod failing;
mod outage;
mod reading;
mod resolving;
mod restarting;
mod rotating;
