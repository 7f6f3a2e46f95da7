//! Who must be waited for: the members of the moment after a commit, without those that were fenced long ago.

use std::collections::BTreeMap;

use super::{Replica, RequestId, call::Purpose, ending::Left};
use crate::{
    broken::Broken,
    log::LogCall,
    member::{Member, MemberId},
    time::{Moment, Now, waited_out},
};

impl Replica {
    /// Rule E3. Who were members a moment ago are asked at once: what they confirm after the commit counts, whenever it is
    /// known that they are still members.
    pub(super) fn read_members(&mut self, requests: Vec<RequestId>, now: Now) {
        if let Some(members) = self.ender.early_members.clone() {
            return requests.into_iter().for_each(|request| self.members_read(request, members.clone(), now));
        }
        self.call_log(Purpose::Members(requests.clone()), LogCall::Members);
        for member in self.ender.known.clone() {
            for request in &requests {
                self.ask(*request, member.clone(), now.moment);
            }
        }
    }

    /// What they say of the others, whatever they were read for.
    pub(super) fn look_at_members(&mut self, members: &[Member], now: Moment) {
        self.ender.told.retain(|id, _| members.iter().any(|member| member.id == *id));
        self.ender.known = members.iter().filter(|member| !member.fenced).cloned().collect();
        let is_fenced = |id: &MemberId| members.iter().any(|member| member.id == *id && member.fenced);
        self.ender.seen_fenced.retain(|id, _| is_fenced(id));
        for member in members.iter().filter(|member| member.fenced) {
            self.saw_fenced(member.id, now);
            if self.is_waited_out(member, now) {
                self.call_log(Purpose::Cleanup, LogCall::Remove(member.id));
            }
        }
    }

    /// From now on every beat of it fails.
    pub(super) fn saw_fenced(&mut self, member: MemberId, now: Moment) {
        self.ender.seen_fenced.entry(member).or_insert(now);
    }

    /// The log has another history than the one that these were seen in.
    pub(super) fn forget_fences(&mut self) {
        self.ender.seen_fenced.clear();
    }

    /// Rule E4.
    pub(super) fn members_read(&mut self, request: RequestId, members: Vec<Member>, now: Now) {
        let Some(wait) = self.ender.waits.get(&request) else { return };
        let since = wait.since;
        let mut left = BTreeMap::new();
        for member in members {
            if member.fenced && self.is_waited_out(&member, now.moment) {
                continue;
            }
            let own = self.settings.variant.is(Broken::OwnLeaseLength);
            let lease = if own { self.settings.lease } else { member.lease };
            let waited_out = since + waited_out(lease);
            left.insert(member.id, Left { member, waited_out, ask_again: None });
        }
        self.wait_for(request, left, now.moment);
    }

    /// Whether every lease of a fenced member is over, so that its row may go.
    fn is_waited_out(&self, member: &Member, now: Moment) -> bool {
        let seen = self.ender.seen_fenced.get(&member.id);
        seen.is_some_and(|seen| *seen + waited_out(member.lease) <= now)
            || self.settings.variant.is(Broken::SkipFencedAtOnce)
    }
}
