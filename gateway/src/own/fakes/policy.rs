//! policy-service.

use async_trait::async_trait;

use super::World;
use crate::peers::*;

#[async_trait]
impl Policy for World {
    async fn check(&self, _: Asker<'_>, question: Question) -> Result<Decided, Failure> {
        self.ask("policy", "check", &question.permission)?;
        let held = self.0.lock().unwrap();
        let allowed = held.permissions.contains(&(question.subject.id, question.permission));
        Ok(Decided { allowed, revision: 7, grants: Vec::new() })
    }

    async fn subject_roles(&self, _: Asker<'_>, subject: Subject) -> Result<SubjectRoles, Unavailable> {
        match self.ask("policy", "subject_roles", subject.kind.name()) {
            Err(Failure::Unavailable(unavailable)) => Err(unavailable),
            _ => Ok(SubjectRoles {
                roles: vec!["editor".into()],
                permissions: vec!["document:read".into()],
                within: Vec::new(),
                revision: 7,
            }),
        }
    }

    async fn role(&self, _: Asker<'_>, name: &str) -> Result<Role, Failure> {
        self.ask("policy", "role", name)?;
        Ok(Role { name: name.into(), permissions: Vec::new(), built_in: false })
    }

    async fn roles(&self, _: Asker<'_>, _: PageRequest) -> Result<Page<Role>, Failure> {
        self.ask("policy", "roles", "")?;
        Ok(Page { items: Vec::new(), next: String::new() })
    }

    async fn put_role(
        &self,
        _: Asker<'_>,
        name: String,
        permissions: Vec<String>,
    ) -> Result<(Role, u64), Failure> {
        self.ask("policy", "put_role", &format!("{name} {}", permissions.join(" ")))?;
        Ok((Role { name, permissions, built_in: false }, 8))
    }

    async fn delete_role(&self, _: Asker<'_>, name: &str) -> Result<u64, Failure> {
        self.ask("policy", "delete_role", name).map(|()| 8)
    }

    async fn grants(
        &self,
        _: Asker<'_>,
        subject: Option<Subject>,
        role: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<Grant>, Failure> {
        self.ask("policy", "grants", &format!("{subject:?} {role:?}"))?;
        let held = self.0.lock().unwrap();
        let asked = held.grants.iter().filter(|grant| {
            subject.as_ref().is_none_or(|subject| *subject == grant.subject)
                && role.is_none_or(|role| role == grant.role)
        });
        Ok(one_a_page(asked, &page))
    }

    async fn create_grant(
        &self,
        _: Asker<'_>,
        subject: Subject,
        role: String,
        within: Option<Resource>,
    ) -> Result<(Grant, u64), Failure> {
        self.ask("policy", "create_grant", &format!("{} {role}", subject.id))?;
        Ok((Grant { id: "grt_1".into(), subject, role, within }, 8))
    }

    async fn delete_grant(&self, _: Asker<'_>, id: &str) -> Result<u64, Failure> {
        self.ask("policy", "delete_grant", id).map(|()| 8)
    }

    async fn groups(&self, _: Asker<'_>, page: PageRequest) -> Result<Page<Group>, Failure> {
        self.ask("policy", "groups", "")?;
        Ok(one_a_page(self.0.lock().unwrap().groups.iter(), &page))
    }

    async fn create_group(&self, _: Asker<'_>, name: String) -> Result<(Group, u64), Failure> {
        self.ask("policy", "create_group", &name)?;
        Ok((Group { name, members: Vec::new() }, 8))
    }

    async fn delete_group(&self, _: Asker<'_>, name: &str) -> Result<u64, Failure> {
        self.ask("policy", "delete_group", name).map(|()| 8)
    }

    async fn add_member(&self, _: Asker<'_>, group: &str, member: Subject) -> Result<u64, Failure> {
        self.ask("policy", "add_member", &format!("{group} {}", member.id)).map(|()| 8)
    }

    async fn remove_member(&self, _: Asker<'_>, group: &str, member: Subject) -> Result<u64, Failure> {
        self.ask("policy", "remove_member", &format!("{group} {}", member.id)).map(|()| 8)
    }

    async fn forget_subject(&self, _: Asker<'_>, subject: Subject) -> Result<u64, Failure> {
        self.ask("policy", "forget_subject", &subject.id).map(|()| 8)
    }
}

/// The smallest pages that there can be: who does not turn them misses something.
fn one_a_page<'a, T: Clone + 'a>(all: impl Iterator<Item = &'a T>, page: &PageRequest) -> Page<T> {
    let at: usize = page.token.parse().unwrap_or(0);
    let mut rest = all.skip(at);
    let items = rest.next().cloned().into_iter().collect();
    Page { items, next: rest.next().map_or(String::new(), |_| (at + 1).to_string()) }
}
