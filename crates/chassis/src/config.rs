//! Configuration: a commented `default.toml` compiled in, then one file, then the environment.
//!
//! The default file is the schema: a key that it does not have is refused, so that a typing error is an error and
//! the reference manual, generated from it, cannot drift. Every problem is reported at once, each with its key and
//! where it came from. Secrets are never values here, only paths of files. A key without a sensible default stands
//! in the default file as `""`, and the section's `problems` says that it must be set.

mod load;
mod overrides;
mod reference;
mod sections;
#[cfg(feature = "sql")]
mod store;

pub use load::{ConfigError, Problem, Resolved, environment, load, resolve};
pub use reference::render_reference;
pub use sections::{
    Access, Log, LogFormat, Operations, Peer, Server, Shutdown, Tls, TlsMode, Validate, judge_endpoint,
    optional, prefixed,
};
#[cfg(feature = "sql")]
pub use store::Store;
