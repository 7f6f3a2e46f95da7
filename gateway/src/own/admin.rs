//! Administration, on the internal listener: an access token, and of policy-service, asked for each call, the
//! permission that the area needs. The acting principal travels on and is what the services' audit names.

mod access;
mod check;
mod clients;
mod grants;
mod groups;
mod keys;
mod last_administrator;
mod roles;
mod sessions;
mod subject;
mod tokens;
mod users;

use super::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    [
        users::endpoints(),
        clients::endpoints(),
        roles::endpoints(),
        grants::endpoints(),
        groups::endpoints(),
        sessions::endpoints(),
        tokens::endpoints(),
        keys::endpoints(),
        check::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
