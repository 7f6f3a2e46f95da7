//! The door: messages are parsed into domain values, a flow is called, and its outcome is put into a reply or a status.

pub mod access;
mod admin;
mod attributes;
mod audit;
mod by_id;
mod by_secret;
mod figures;
mod message;
mod status;

pub use admin::Admin;
pub use attributes::Attributes;
pub use by_id::ByPublicId;
pub use by_secret::BySecret;
pub use figures::show_figures;
