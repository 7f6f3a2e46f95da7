//! Users and clients as administrators name them: by id, or by the name that people know.

use crate::own::Own;
use crate::own::view::SubjectView;
use crate::peers::{Asker, Client, Key, Subject, SubjectKind, User};
use crate::problem::Problem;

/// Whether it has the form of an id, so that no name is asked for in vain. Names of this form are refused by
/// auth-service's rule for names or, should one exist, reachable by its id.
fn key(text: String, prefix: &str) -> Key {
    let is_id = text.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == 26 && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    });
    if is_id { Key::Id(text) } else { Key::Name(text) }
}

pub(super) async fn user(own: &Own, asker: Asker<'_>, named: String) -> Result<User, Problem> {
    Ok(own.peers.auth.user(asker, key(named, "usr_")).await?)
}

pub(super) async fn client(own: &Own, asker: Asker<'_>, named: String) -> Result<Client, Problem> {
    Ok(own.peers.auth.client(asker, key(named, "cli_")).await?)
}

/// With the id in place of a name. Ids are believed: a grant may outlive or precede its account, and a question
/// about an unknown one is answered by no.
pub(super) async fn resolve(own: &Own, asker: Asker<'_>, named: SubjectView) -> Result<Subject, Problem> {
    let SubjectView { kind, id } = named;
    match kind.into() {
        SubjectKind::Group => Ok(Subject::group(id)),
        SubjectKind::User => match key(id, "usr_") {
            Key::Id(id) => Ok(Subject::user(id)),
            Key::Name(name) => Ok(Subject::user(user(own, asker, name).await?.id)),
        },
        SubjectKind::Client => match key(id, "cli_") {
            Key::Id(id) => Ok(Subject::client(id)),
            Key::Name(name) => Ok(Subject::client(client(own, asker, name).await?.id)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names() {
        let id = "usr_0123456789abcdefghjkmnpqrs";
        assert_eq!(key(id.into(), "usr_"), Key::Id(id.into()));
        for name in
            ["alice", "usr_", "usr_alice", "USR_0123456789abcdefghjkmnpqrs", "cli_0123456789abcdefghjkmnpqrs"]
        {
            assert_eq!(key(name.into(), "usr_"), Key::Name(name.into()));
        }
    }
}
