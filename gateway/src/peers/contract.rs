//! What the gateway asks of each service, and the types that it asks and is answered in: one file a service.

pub mod auth;
pub mod policy;
pub mod sessions;
