//! What has ended as a whole and has an id as our services make them: almost everything that is remembered, in some 60 bytes
//! each. It is exact: such an id is 128 bits, and whatever is written in another way is none.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    hash::{BuildHasher, RandomState},
};

use hashbrown::HashTable;

use crate::{change::Position, time::Wall};

/// 128 bits: a prefix, such as `fam_`, and 26 digits of Crockford's base 32, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id([u8; 16]);

const DIGITS: usize = 26;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
impl Id {
    /// `None` for anything that [`Id::write`] would not write.
    pub(super) fn parse(prefix: &str, text: &str) -> Option<Self> {
        let digits = text.strip_prefix(prefix)?.as_bytes();
        // The first has room for two bits more than there are.
        if digits.len() != DIGITS || digits.first().is_none_or(|first| *first > b'7') {
            return None;
        }
        let mut bits = 0_u128;
        for digit in digits {
            bits = bits << 5 | u128::from(value_of(*digit)?);
        }
        Some(Self(bits.to_be_bytes()))
    }

    pub(super) fn write(self, prefix: &str) -> String {
        let bits = u128::from_be_bytes(self.0);
        let digit = |place: usize| ALPHABET.get((bits >> (place * 5)) as usize & 31);
        let digits = (0..DIGITS).rev().filter_map(digit).copied().map(char::from);
        prefix.chars().chain(digits).collect()
    }
}

fn value_of(digit: u8) -> Option<u8> {
    let (first, value) = match digit {
        b'0'..=b'9' => (b'0', 0),
        b'a'..=b'h' => (b'a', 10),
        b'j'..=b'k' => (b'j', 18),
        b'm'..=b'n' => (b'm', 20),
        b'p'..=b't' => (b'p', 22),
        b'v'..=b'z' => (b'v', 27),
        _ => return None,
    };
    Some(value + (digit - first))
}

#[derive(Clone, Debug)]
struct Slot {
    id: Id,
    until: Wall,
    position: Position,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    /// Those that `by_id` leads to are in use.
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_id: HashTable<u32>,
    /// The second after which a slot may be free. One that was to stay longer later is in it again.
    by_age: BinaryHeap<Reverse<(u32, u32)>>,
    hasher: RandomState,
}

impl Named {
    /// Until the later of both, if it was remembered before. `false`: there is no room for it, or it stays for longer than can
    /// be counted here.
    pub(super) fn remember(&mut self, id: Id, until: Wall, position: Position) -> bool {
        let Ok(second) = u32::try_from(until.unix_millis().div_ceil(1000)) else { return false };
        if let Some(at) = self.find(id) {
            if let Some(slot) = self.slots.get_mut(at as usize)
                && slot.until < until
            {
                slot.until = until;
                self.by_age.push(Reverse((second, at)));
            }
            return true;
        }
        let slot = Slot { id, until, position };
        let at = match self.free.pop() {
            Some(at) => at,
            None => match u32::try_from(self.slots.len()) {
                Ok(at) => at,
                Err(_) => return false,
            },
        };
        match self.slots.get_mut(at as usize) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        let Self { slots, by_id, hasher, .. } = self;
        let hash_of = |at: &u32| slots.get(*at as usize).map_or(0, |slot| hasher.hash_one(slot.id));
        by_id.insert_unique(hasher.hash_one(id), at, hash_of);
        self.by_age.push(Reverse((second, at)));
        true
    }

    pub(super) fn has(&self, id: Id) -> bool {
        self.find(id).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Forgets what was to be remembered until then: within the second after.
    pub(super) fn expire(&mut self, wall: Wall) {
        while let Some(Reverse((second, at))) = self.by_age.peek().copied()
            && u64::from(second) * 1000 <= wall.unix_millis()
        {
            self.by_age.pop();
            let Some(slot) = self.slots.get(at as usize) else { continue };
            if slot.until > wall {
                continue;
            }
            let found = self.by_id.find_entry(self.hasher.hash_one(slot.id), |known| *known == at);
            if let Ok(entry) = found {
                entry.remove();
                self.free.push(at);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// What is in a slot; a free one has nothing.
    pub(super) fn get(&self, at: usize) -> Option<(Id, Wall, Position)> {
        let slot = self.slots.get(at)?;
        let in_use = self.find(slot.id).is_some_and(|used| used as usize == at);
        in_use.then_some((slot.id, slot.until, slot.position))
    }

    fn find(&self, id: Id) -> Option<u32> {
        let is = |at: &u32| self.slots.get(*at as usize).is_some_and(|slot| slot.id == id);
        self.by_id.find(self.hasher.hash_one(id), is).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_is_what_it_is_written_as_and_nothing_else_is(bits in any::<[u8; 16]>(), other in "tok_[0-9a-z]{24,28}") {
            let id = Id(bits);
            let text = id.write("tok_");
            prop_assert_eq!(Id::parse("tok_", &text), Some(id));
            prop_assert_eq!(Id::parse("fam_", &text), None);
            prop_assert_eq!(Id::parse("tok_", &text.to_uppercase()), None);
            if let Some(id) = Id::parse("tok_", &other) {
                prop_assert_eq!(id.write("tok_"), other);
            }
        }
    }

    #[test]
    fn a_digit_too_high_is_no_id() {
        assert!(Id::parse("tok_", &format!("tok_7{}", "z".repeat(25))).is_some());
        for text in ["tok_8", "tok_z"] {
            assert_eq!(Id::parse("tok_", &format!("{text}{}", "z".repeat(25))), None);
        }
    }

    #[test]
    fn what_is_forgotten_makes_room() {
        let (mut named, position) = (Named::default(), Position::START);
        let id = |number: u8| Id([number; 16]);
        let wall = Wall::from_unix_millis;
        for number in 0..100 {
            assert!(named.remember(id(number), wall(1_000 * u64::from(number) + 1), position));
        }
        // Longer than at first.
        assert!(named.remember(id(7), wall(200_000), position));
        named.expire(wall(50_000));
        assert_eq!(named.len(), 51);
        assert!(named.has(id(7)) && !named.has(id(49)) && named.has(id(50)));
        for number in 100..149 {
            assert!(named.remember(id(number), wall(300_000), position));
        }
        assert_eq!((named.len(), named.slots.len()), (100, 100));
        named.expire(wall(200_000));
        assert_eq!(named.len(), 49);
        assert!(!named.has(id(7)) && named.has(id(148)));
    }
}
