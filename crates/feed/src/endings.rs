//! The memory of endings. It is a join: sets unite, the strictest limits stay, and an entry leaves by age alone, so that
//! learning something twice, late, out of order or from two histories of a log never revives anything. It is exact.

mod named;

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use indexmap::IndexMap;

use self::named::{Id, Named};
use crate::{
    change::{Change, Entry, Position, Target, What},
    credential::{Credential, Roles, Stamp, Verdict},
    time::Wall,
};

#[derive(Clone, Debug, Default)]
pub struct Endings {
    tokens: Limits,
    families: Limits,
    sessions: Limits,
    subjects: Limits,
    clients: Limits,
    keys: Limits,
    principals: Limits,
    all: Limits,
    named_tokens: Named,
    named_families: Named,
    named_sessions: Named,
    /// How many signing keys were ever remembered as ended.
    keys_ended: u64,
    /// The newest version that roles were ever outdated by.
    roles_version: u64,
    /// Up to here the memory has forgotten.
    forgotten: Option<Wall>,
    by_age: BinaryHeap<Reverse<(Wall, What, Arc<str>)>>,
}

type Limits = IndexMap<Arc<str>, Vec<Limit>>;

/// So many places are looked at for each entry that a part may have: those of what was forgotten are empty.
const LOOKS: usize = 16;

/// Where [`Endings::part`] goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    what: usize,
    at: usize,
}

/// One change as it is remembered. Two limits of one target differ in what they spare or in how long they stay.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Limit {
    /// Void is what has a lower number; absent, everything.
    min: Option<u64>,
    except: Option<Arc<str>>,
    until: Wall,
    position: Position,
}

impl Endings {
    pub fn remember(&mut self, entry: &Entry) {
        let Entry { position, change: Change { target: Target { what, key }, min, except, until } } = entry;
        let roles_version = entry.roles_version();
        self.roles_version = self.roles_version.max(roles_version.unwrap_or(0));
        let min = roles_version.or(*min);
        let is_whole = min.is_none() && except.is_none();
        if is_whole
            && let Some((named, prefix)) = self.named_mut(*what)
            && let Some(id) = Id::parse(prefix, key)
            && named.remember(id, *until, *position)
        {
            return;
        }
        let limit = Limit { min, except: except.clone(), until: *until, position: *position };
        let limits = self.of_mut(*what).entry(Arc::clone(key)).or_default();
        if limits.iter().any(|known| known.covers(&limit)) {
            return;
        }
        limits.retain(|known| !limit.covers(known));
        limits.push(limit);
        self.keys_ended += u64::from(*what == What::Key);
        self.by_age.push(Reverse((*until, *what, Arc::clone(key))));
    }

    /// Forgets what can concern nothing any more. The only way out of the memory.
    pub fn expire(&mut self, wall: Wall) {
        self.forgotten = self.forgotten.max(Some(wall));
        for what in What::EVERY {
            if let Some((named, _)) = self.named_mut(what) {
                named.expire(wall);
            }
        }
        while let Some(Reverse((until, ..))) = self.by_age.peek()
            && *until <= wall
        {
            let Some(Reverse((_, what, key))) = self.by_age.pop() else { return };
            let of = self.of_mut(what);
            if let Some(limits) = of.get_mut(&key) {
                limits.retain(|limit| limit.until > wall);
                if limits.is_empty() {
                    of.swap_remove(&key);
                }
            }
        }
    }

    /// Rule I3. An ending outweighs outdated roles.
    ///
    /// What expires before the memory's horizon is not judged, even if it had not expired when the request began: between a
    /// look at the clock and the look here a thread may be suspended for longer than its ending is remembered.
    pub fn judge(&self, credential: &Credential) -> Verdict {
        let Credential { token, family, session, key, subject, client, roles, expired_from } = credential;
        if expired_from.is_some_and(|from| Some(from) <= self.forgotten) {
            return Verdict::Forgotten;
        }
        let named =
            [(What::Token, token), (What::Family, family), (What::Session, session), (What::Key, key)];
        for (what, id) in named {
            if let Some(id) = id
                && self.ends(what, id, None, credential)
            {
                return Verdict::Ended(what);
            }
        }
        for (what, stamp) in [(What::Subject, subject), (What::Client, client)] {
            if let Some(Stamp { id, generation }) = stamp
                && self.ends(what, id, Some(*generation), credential)
            {
                return Verdict::Ended(what);
            }
        }
        match roles.as_ref().and_then(|roles| self.outdated(roles)) {
            Some(at_least) => Verdict::RolesOutdated { at_least },
            None => Verdict::Live,
        }
    }

    /// How many signing keys were remembered as ended so far: another number, and there is one to look at.
    pub fn keys_ended(&self) -> u64 {
        self.keys_ended
    }

    /// The newest version of roles that was heard of: who answers for an older one has not heard what is known here.
    pub fn roles_version(&self) -> u64 {
        self.roles_version
    }

    /// Whether the thing itself has ended, whatever its generation.
    pub fn has_ended(&self, target: &Target) -> bool {
        if self.is_named(target.what, &target.key) {
            return true;
        }
        let limits = self.of(target.what).get(&target.key);
        limits.is_some_and(|limits| limits.iter().any(|limit| limit.min.is_none()))
    }

    /// Some `most` of what is remembered, in no order, and from where the rest follows: together everything, for somebody who
    /// starts from nothing. They are fewer, or none, where much was forgotten. A place means something only as long as nothing is
    /// remembered or forgotten.
    pub fn part(&self, mut from: Place, most: usize) -> (Vec<Entry>, Option<Place>) {
        let (mut entries, mut looks) = (Vec::new(), 0);
        while let Some(what) = What::EVERY.get(from.what).copied() {
            if entries.len() >= most || looks >= most * LOOKS {
                return (entries, Some(from));
            }
            looks += 1;
            let named = self.named(what);
            let slots = named.map_or(0, |(named, _)| named.slots());
            if let Some((named, prefix)) = named.filter(|_| from.at < slots) {
                entries.extend(named.get(from.at).map(|(id, until, position)| {
                    let target = Target::new(what, id.write(prefix));
                    Entry { position, change: Change { target, min: None, except: None, until } }
                }));
            } else if let Some((key, limits)) = self.of(what).get_index(from.at - slots) {
                entries.extend(limits.iter().map(|limit| limit.entry(what, key)));
            } else {
                from = Place { what: from.what + 1, at: 0 };
                continue;
            }
            from.at += 1;
        }
        (entries, None)
    }

    /// How many things are remembered.
    pub fn len(&self) -> usize {
        let of = |what| self.of(what).len() + self.named(what).map_or(0, |(named, _)| named.len());
        What::EVERY.into_iter().map(of).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn ends(&self, what: What, id: &str, generation: Option<u64>, credential: &Credential) -> bool {
        if self.is_named(what, id) {
            return true;
        }
        self.of(what).get(id).is_some_and(|limits| {
            limits.iter().any(|limit| limit.voids(generation) && !limit.spares(credential))
        })
    }

    fn outdated(&self, Roles { principals, version }: &Roles) -> Option<u64> {
        let named = principals.iter().filter_map(|id| self.principals.get(id));
        let min = named.chain(self.all.values()).flatten().filter_map(|limit| limit.min).max()?;
        (*version < min).then_some(min)
    }

    fn is_named(&self, what: What, id: &str) -> bool {
        let Some((named, prefix)) = self.named(what) else { return false };
        // Asked with each request, and often nothing has ended: then the id is not even read.
        !named.is_empty() && Id::parse(prefix, id).is_some_and(|id| named.has(id))
    }

    /// Of things that end as a whole, with what their ids begin with.
    fn named(&self, what: What) -> Option<(&Named, &'static str)> {
        match what {
            // A `jti` has no prefix.
            What::Token => Some((&self.named_tokens, "")),
            What::Family => Some((&self.named_families, "fam_")),
            What::Session => Some((&self.named_sessions, "ses_")),
            What::Subject | What::Client | What::Key | What::Principal | What::All => None,
        }
    }

    fn named_mut(&mut self, what: What) -> Option<(&mut Named, &'static str)> {
        match what {
            What::Token => Some((&mut self.named_tokens, "")),
            What::Family => Some((&mut self.named_families, "fam_")),
            What::Session => Some((&mut self.named_sessions, "ses_")),
            What::Subject | What::Client | What::Key | What::Principal | What::All => None,
        }
    }

    fn of(&self, what: What) -> &Limits {
        match what {
            What::Token => &self.tokens,
            What::Family => &self.families,
            What::Session => &self.sessions,
            What::Subject => &self.subjects,
            What::Client => &self.clients,
            What::Key => &self.keys,
            What::Principal => &self.principals,
            What::All => &self.all,
        }
    }

    fn of_mut(&mut self, what: What) -> &mut Limits {
        match what {
            What::Token => &mut self.tokens,
            What::Family => &mut self.families,
            What::Session => &mut self.sessions,
            What::Subject => &mut self.subjects,
            What::Client => &mut self.clients,
            What::Key => &mut self.keys,
            What::Principal => &mut self.principals,
            What::All => &mut self.all,
        }
    }
}

impl Limit {
    /// Whether `other` says nothing that this does not say, for as long.
    fn covers(&self, other: &Self) -> bool {
        let as_strict = match (self.min, other.min) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => own >= others,
        };
        let spares_no_more = self.except.is_none() || self.except == other.except;
        as_strict && spares_no_more && self.until >= other.until
    }

    fn voids(&self, generation: Option<u64>) -> bool {
        self.min.is_none_or(|min| generation.is_none_or(|generation| generation < min))
    }

    fn spares(&self, credential: &Credential) -> bool {
        let Some(except) = &self.except else { return false };
        [&credential.session, &credential.family].into_iter().flatten().any(|id| id == except)
    }

    fn entry(&self, what: What, key: &Arc<str>) -> Entry {
        let Self { min, except, until, position } = self.clone();
        let target = Target { what, key: Arc::clone(key) };
        Entry { position, change: Change { target, min, except, until } }
    }
}

#[cfg(test)]
mod tests;
