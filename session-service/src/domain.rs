//! What a session is and when it counts: pure. The moment, ids and random bytes are arguments.

mod attributes;
mod id;
mod lifetimes;
mod page;
mod proof;
mod secret;
mod session;
mod shard;
mod successor;

pub use attributes::{Attributes, AttributesRefused, MOST_ATTRIBUTE_BYTES};
pub use id::{SessionId, Subject};
pub use lifetimes::{AtLimit, Lifetimes, Limit, to_millisecond};
pub use page::{Cursor, PageSize};
pub use proof::Proof;
pub use secret::{SecretDigest, SessionSecret};
pub use session::{EndReason, Origin, Session};
pub use shard::Shard;
pub use successor::{SealFailed, SealedSuccessor};
