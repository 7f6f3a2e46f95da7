//! Nobody locks the last administrator out, neither others nor themselves: what would leave nobody with the role is refused.
//!
//! A guard against mistakes, looked at before the change and not in one transaction with it: two administrators who remove
//! each other at the same moment both succeed, and an operator's certificate is not asked (docs/operations.md).

use std::collections::{BTreeMap, BTreeSet};

use crate::own::Own;
use crate::peers::{
    Asker, Failure, Grant, Key, Page, PageRequest, Reason, Refused, Standing, Subject, SubjectKind,
};
use crate::problem::{Problem, catalogue};

/// The built-in role of Latchkey's own administrators.
const ROLE: &str = "latchkey-admin";
const PAGE_SIZE: u32 = 1_000;

/// What is about to be gone.
pub(super) enum Without<'a> {
    /// Removed, or let in no more.
    Subject(&'a Subject),
    Grant(&'a str),
    Member {
        group: &'a str,
        member: &'a Subject,
    },
}

/// Refuses a change after which there is no administrator, where there is one now.
pub(super) async fn leave_an_administrator(
    own: &Own,
    asker: Asker<'_>,
    without: &Without<'_>,
) -> Result<(), Problem> {
    let grants = everywhere(own, asker).await?;
    let holders = |without: Option<&Without<'_>>| -> Vec<Subject> {
        let gone = |grant: &&Grant| matches!(without, Some(Without::Grant(id)) if *id == grant.id);
        grants.iter().filter(|grant| !gone(grant)).map(|grant| grant.subject.clone()).collect()
    };
    let mut look = Look { own, asker, groups: None };
    if look.anybody(holders(Some(without)), Some(without)).await?
        || !look.anybody(holders(None), None).await?
    {
        return Ok(());
    }
    let problem = Problem::new(catalogue::LAST_ADMINISTRATOR)
        .detail("give `latchkey-admin` to another user, client or group first");
    Err(asker.actor.into_iter().fold(problem, Problem::principal))
}

/// The grants of the role that hold everywhere: within a resource it administers nothing.
async fn everywhere(own: &Own, asker: Asker<'_>) -> Result<Vec<Grant>, Failure> {
    let mut grants = Vec::new();
    let mut token = String::new();
    loop {
        let page = PageRequest { size: PAGE_SIZE, token };
        let Page { items, next } = own.peers.policy.grants(asker, None, Some(ROLE), page).await?;
        grants.extend(items.into_iter().filter(|grant| grant.within.is_none()));
        if next.is_empty() {
            return Ok(grants);
        }
        token = next;
    }
}

struct Look<'a> {
    own: &'a Own,
    asker: Asker<'a>,
    /// Members by name; read when a group is met.
    groups: Option<BTreeMap<String, Vec<Subject>>>,
}

impl Look<'_> {
    /// Whether one of them, or of those in them, can log in.
    async fn anybody(
        &mut self,
        mut holders: Vec<Subject>,
        without: Option<&Without<'_>>,
    ) -> Result<bool, Failure> {
        let mut seen = BTreeSet::new();
        while let Some(holder) = holders.pop() {
            if matches!(without, Some(Without::Subject(gone)) if **gone == holder) {
                continue;
            }
            let can_log_in = match holder.kind {
                SubjectKind::User => {
                    let user = self.own.peers.auth.user(self.asker, Key::Id(holder.id)).await;
                    known(user.map(|user| user.status))?
                }
                SubjectKind::Client => {
                    let client = self.own.peers.auth.client(self.asker, Key::Id(holder.id)).await;
                    known(client.map(|client| client.status))?
                }
                SubjectKind::Group => {
                    if seen.insert(holder.id.clone()) {
                        let members = self.members(&holder.id).await?;
                        holders.extend(members.into_iter().filter(|member| {
                            !matches!(without, Some(Without::Member { group, member: gone })
                                if *group == holder.id && *gone == member)
                        }));
                    }
                    None
                }
            };
            if can_log_in == Some(Standing::Active) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn members(&mut self, group: &str) -> Result<Vec<Subject>, Failure> {
        if self.groups.is_none() {
            let mut groups = BTreeMap::new();
            let mut token = String::new();
            loop {
                let page = PageRequest { size: PAGE_SIZE, token };
                let Page { items, next } = self.own.peers.policy.groups(self.asker, page).await?;
                groups.extend(items.into_iter().map(|group| (group.name, group.members)));
                if next.is_empty() {
                    break;
                }
                token = next;
            }
            self.groups = Some(groups);
        }
        Ok(self.groups.as_ref().and_then(|groups| groups.get(group)).cloned().unwrap_or_default())
    }
}

/// A grant may outlive its account.
fn known(standing: Result<Standing, Failure>) -> Result<Option<Standing>, Failure> {
    match standing {
        Ok(standing) => Ok(Some(standing)),
        Err(Failure::Refused(Refused { reason: Reason::UserNotFound | Reason::ClientNotFound, .. })) => {
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}
