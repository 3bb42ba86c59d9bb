//! Was it here lately?
//!
//! A map that forgets. It holds two generations of at most `len_max` entries each: when the young one is full,
//! the old one is dropped and the young one grows old. So the last `len_max` keys that were touched are always
//! known and never more than twice as many, without a clock and without a list to keep in order.

use std::collections::BTreeMap;

/// The most recently touched entries, `len_max` at least and twice that at most.
#[derive(Clone, Debug)]
pub struct Recent<K, V = ()> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
    len_max: usize,
}

impl<K: Ord, V> Recent<K, V> {
    /// Remembers the last `len_max` keys, at least one.
    pub fn new(len_max: usize) -> Self {
        Self {
            young: BTreeMap::new(),
            old: BTreeMap::new(),
            len_max: len_max.max(1),
        }
    }

    /// Whether `key` is remembered. Does not count as a touch.
    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// What is remembered of `key`. Does not count as a touch.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Remembers `value` under `key`; returns what stood there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = self.remove(&key);
        self.make_room();
        self.young.insert(key, value);
        before
    }

    /// What is remembered of `key`; it is the newest now.
    pub fn touch(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.make_room();
            self.young.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// How many entries are remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.old.iter().chain(&self.young)
    }

    fn make_room(&mut self) {
        if self.young.len() >= self.len_max {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_touched_stays_what_is_not_goes() {
        let mut recent = Recent::new(2);
        recent.insert("kept", 1);
        for other in ["a", "b", "c", "d"] {
            *recent.touch(&"kept").expect("kept") += 1;
            recent.insert(other, 0);
        }
        assert_eq!(recent.get(&"kept"), Some(&5));
        assert!(!recent.contains(&"a"));
    }

    proptest! {
        #[test]
        fn the_last_len_max_keys_are_known_and_never_twice_as_many(
            len_max in 1usize..20, keys in proptest::collection::vec(0u8..60, 0..200),
        ) {
            let mut recent = Recent::new(len_max);
            for (at, key) in keys.iter().enumerate() {
                recent.insert(*key, at);
                prop_assert!(recent.len() <= 2 * len_max);
                let from = (at + 1).saturating_sub(len_max);
                prop_assert!(keys[from..=at].iter().all(|key| recent.contains(key)));
                prop_assert_eq!(recent.get(key), Some(&at));
            }
        }
    }
}
