//! Local answers: whether a credential is believed, and who it makes the caller, without asking anybody on the way.
//!
//! [`TokenGuard`] verifies access tokens, plain or encrypted, against the issuer's published keys and remembers those
//! that held. A remembered token costs a digest and a look into a map. Three rules hold everywhere: what cannot be
//! known is `Unavailable`, never `Invalid` and never allowed; a key that the issuer withdrew voids at once what it signed,
//! remembered or not; and whether a token was taken back is looked up with every request, under a lease ([`Endings`]).
//!
//! With the feature `tower` there is [`Guard`], for the front of a service; with `connect` it is made by [`Guard::connect`];
//! with `testing` by [`testing::Issuer`], without a network. `docs/guard.md` begins with how to use it.

#[cfg(feature = "connect")]
pub mod connect;
mod digest;
mod endings;
mod flights;
mod keys;
mod principal;
mod refusal;
mod remembered;
#[cfg(feature = "tower")]
mod service;
mod settings;
mod source;
#[cfg(feature = "testing")]
pub mod testing;
mod token_guard;
mod verified;

pub use endings::Endings;
pub use principal::{Principal, PrincipalKind};
pub use refusal::{Refusal, Unavailable};
#[cfg(feature = "tower")]
pub use service::{
    CheckFailed, Checks, Clock, Denied, Guard, GuardLayer, GuardService, NoBearer, Question, bearer,
};
pub use settings::Settings;
pub use source::{FetchedKeys, KeySource, SourceUnavailable};
pub use token_guard::{Counts, TokenGuard};
pub use verified::Verified;
