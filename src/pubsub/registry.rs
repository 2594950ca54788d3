//! The names that have subscriptions, with the number of subscriptions of each shard.

use super::patterns::Patterns;
use super::published::Sort;
use ahash::RandomState;
use bytes::Bytes;
use std::collections::HashMap;

/// The shards that have subscriptions to a name, each with their number, at least 1.
pub(super) type Homes = Vec<(u16, u32)>;

type Names = HashMap<Bytes, Homes, RandomState>;

/// All subscriptions of the process, counted by name and shard.
#[derive(Debug)]
pub(super) struct Registry {
    names: [Names; Sort::COUNT],
    patterns: Patterns,
    /// Number of changes so far.
    pub(super) version: u64,
}

impl Registry {
    pub(super) fn new(hasher: &RandomState) -> Registry {
        let names = [(); Sort::COUNT].map(|()| Names::with_hasher(hasher.clone()));
        Registry { names, patterns: Patterns::default(), version: 0 }
    }

    /// Adds a subscription of a shard.
    pub(super) fn add(&mut self, home: u16, sort: Sort, name: &Bytes) {
        self.version += 1;
        let homes = self.names[sort as usize].entry(name.clone()).or_default();
        if homes.is_empty() && sort == Sort::Pattern {
            self.patterns.add(name.clone());
        }
        match homes.iter_mut().find(|(other, _)| *other == home) {
            Some((_, count)) => *count += 1,
            None => homes.push((home, 1)),
        }
    }

    /// Removes a subscription of a shard.
    pub(super) fn remove(&mut self, home: u16, sort: Sort, name: &[u8]) {
        self.version += 1;
        let names = &mut self.names[sort as usize];
        let homes = names.get_mut(name).expect("only a subscription that is there is removed");
        let at = homes.iter().position(|(other, _)| *other == home);
        let at = at.expect("the shard has a subscription");
        homes[at].1 -= 1;
        if homes[at].1 > 0 {
            return;
        }
        homes.swap_remove(at);
        if homes.is_empty() {
            names.remove(name);
            if sort == Sort::Pattern {
                self.patterns.remove(name);
            }
        }
    }

    /// Returns the shards with subscriptions to a name.
    pub(super) fn homes(&self, sort: Sort, name: &[u8]) -> &[(u16, u32)] {
        self.names[sort as usize].get(name).map_or(&[], |homes| homes)
    }

    /// Iterates over the names of a sort.
    pub(super) fn names(&self, sort: Sort) -> impl ExactSizeIterator<Item = &Bytes> {
        self.names[sort as usize].keys()
    }

    /// Calls `visit` with each pattern that matches a channel, and its shards.
    pub(super) fn for_each_match(
        &self,
        channel: &[u8],
        mut visit: impl FnMut(&Bytes, &[(u16, u32)]),
    ) {
        self.patterns.for_each_match(channel, &mut |pattern| {
            visit(pattern, self.homes(Sort::Pattern, pattern));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_subscriptions_is_forgotten() {
        let mut registry = Registry::new(&RandomState::with_seeds(1, 2, 3, 4));
        let (name, pattern) = (Bytes::from_static(b"a"), Bytes::from_static(b"a*"));
        for home in [0, 2, 2] {
            registry.add(home, Sort::Channel, &name);
            registry.add(home, Sort::Pattern, &pattern);
        }
        assert_eq!(registry.homes(Sort::Channel, b"a"), [(0, 1), (2, 2)]);
        assert_eq!(registry.homes(Sort::ShardChannel, b"a"), []);
        let mut matches = 0;
        registry.for_each_match(b"ab", |found, homes| {
            assert_eq!((found, homes.len()), (&pattern, 2));
            matches += 1;
        });
        assert_eq!((matches, registry.version), (1, 6));
        for home in [2, 0, 2] {
            registry.remove(home, Sort::Channel, &name);
            registry.remove(home, Sort::Pattern, &pattern);
        }
        assert_eq!(registry.names(Sort::Channel).len() + registry.names(Sort::Pattern).len(), 0);
        registry.for_each_match(b"ab", |_, _| panic!("the pattern is gone"));
    }
}
