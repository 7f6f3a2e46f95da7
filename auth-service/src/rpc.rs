//! The door: messages are parsed into domain values, a flow is called, and its outcome is put into a reply or a status.

use std::{sync::Arc, time::Duration};

use chassis::grpc::{self, client::Call};
use tonic::Request;

use crate::flows::{Auth, Origin};

pub mod access;
mod clients;
mod keys;
mod login;
mod message;
mod status;
mod tokens;
mod users;

pub use clients::{ClientAdmin, ClientReads};
pub use keys::{KeyAdmin, KeyReads};
pub use login::Logins;
pub use tokens::{TokenAdmin, TokenReads, Tokens};
pub use users::{UserAdmin, UserReads};

/// What every service here answers from.
#[derive(Clone)]
pub struct Behind {
    pub auth: Arc<Auth>,
    /// For how long the key set may be kept.
    pub jwks_max_age: Duration,
}

/// Where a call comes from. Nobody acts in it but its own subject: whoever the metadata names is not believed for that.
fn origin<T>(request: &Request<T>) -> Origin {
    let Call { request_id, actor: _, timeout, traceparent } = Call::continuing(request);
    Origin { request_id, actor: None, timeout, traceparent }
}

/// As [`origin`], for administration: somebody always acts, the calling process itself where it names nobody.
fn administration<T>(request: &Request<T>) -> Origin {
    let actor = grpc::actor(request).unwrap_or_else(|| grpc::caller(request)).to_owned();
    Origin { actor: Some(actor), ..origin(request) }
}
