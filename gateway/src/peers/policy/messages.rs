//! The messages of policy-service as the gateway's own types, and back.

use super::{Decided, Grant, Group, PEER, Resource, Role, Subject, Unavailable, rpc, wire};
use crate::peers::SubjectKind;

pub(super) fn subject_to(subject: Subject) -> rpc::Subject {
    let kind = match subject.kind {
        SubjectKind::User => rpc::SubjectKind::User,
        SubjectKind::Client => rpc::SubjectKind::Client,
        SubjectKind::Group => rpc::SubjectKind::Group,
    };
    rpc::Subject { kind: kind.into(), id: subject.id }
}

pub(super) fn resource_to(resource: Resource) -> rpc::Resource {
    rpc::Resource { kind: resource.kind, id: resource.id }
}

fn subject_of(subject: Option<rpc::Subject>) -> Result<Subject, Unavailable> {
    let rpc::Subject { kind, id } = wire::set(PEER, "subject", subject)?;
    let kind = wire::known(PEER, "subject.kind", kind, |kind| match kind {
        rpc::SubjectKind::Unspecified => None,
        rpc::SubjectKind::User => Some(SubjectKind::User),
        rpc::SubjectKind::Client => Some(SubjectKind::Client),
        rpc::SubjectKind::Group => Some(SubjectKind::Group),
    })?;
    Ok(Subject { kind, id })
}

pub(super) fn role_of(role: Option<rpc::Role>) -> Result<Role, Unavailable> {
    let rpc::Role { name, permissions, built_in } = wire::set(PEER, "role", role)?;
    Ok(Role { name, permissions, built_in })
}

pub(super) fn grant_of(grant: Option<rpc::Grant>) -> Result<Grant, Unavailable> {
    let rpc::Grant { id, subject, role, within } = wire::set(PEER, "grant", grant)?;
    let within = within.map(|rpc::Resource { kind, id }| Resource { kind, id });
    Ok(Grant { id, subject: subject_of(subject)?, role, within })
}

pub(super) fn group_of(group: Option<rpc::Group>) -> Result<Group, Unavailable> {
    let rpc::Group { name, members } = wire::set(PEER, "group", group)?;
    let members = members.into_iter().map(|member| subject_of(Some(member))).collect::<Result<_, _>>()?;
    Ok(Group { name, members })
}

/// Anything but a plain ALLOW or DENY is no answer (Z01).
pub(super) fn decided(reply: rpc::CheckResponse) -> Result<Decided, Unavailable> {
    let rpc::CheckResponse { decision, revision, grants } = reply;
    let allowed = wire::known(PEER, "decision", decision, |decision| match decision {
        rpc::Decision::Unspecified => None,
        rpc::Decision::Allow => Some(true),
        rpc::Decision::Deny => Some(false),
    })?;
    Ok(Decided { allowed, revision, grants })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z01_only_allow_allows_and_the_unknown_is_no_answer() {
        let reply = |decision| rpc::CheckResponse { decision, revision: 1, grants: Vec::new() };
        assert!(decided(reply(1)).unwrap().allowed);
        assert!(!decided(reply(2)).unwrap().allowed);
        assert!(decided(reply(0)).is_err());
        assert!(decided(reply(7)).is_err());
    }

    #[test]
    fn subjects_survive_the_way_there_and_back() {
        for subject in [Subject::user("usr_1"), Subject::client("cli_1"), Subject::group("team")] {
            assert_eq!(subject_of(Some(subject_to(subject.clone()))).unwrap(), subject);
        }
        assert!(subject_of(Some(rpc::Subject { kind: 9, id: "x".into() })).is_err());
        assert!(subject_of(None).is_err());
    }
}
