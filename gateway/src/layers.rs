//! What stands between a request and the application that it is for: who asks, from where, on whose behalf, and
//! which headers may go on.

pub mod address;
pub mod caller;
pub mod cors;
pub mod credential;
pub mod cross_site;
pub mod headers;
pub mod identity;
pub mod origin;
